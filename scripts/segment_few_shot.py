"""Mark what looks like nothing that the memory bank of good images holds."""

from pathlib import Path

from realitycheck.core.job import job_log, progress, run_facts
from realitycheck.core.schemas import ENCODINGS, MANIFEST, MASKS, THRESHOLDS, TRANSFORMS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.base import keys_of
from realitycheck.methods.few_shot.segmenter import (
    few_shot_maps,
    few_shot_segmenter,
    read_banks,
    stored_patches,
)
from realitycheck.stages.segment import segment_shard
from realitycheck.stages.timing import seconds_before

with job_log(snakemake.log[0]):
    params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    transforms = read_table(inputs.transforms, schema=TRANSFORMS)
    map_of = few_shot_maps(
        read_table(inputs.manifest, schema=MANIFEST),
        read_banks(inputs.bank),
        stored_patches(
            EncodingStore(Path(inputs.features).parent),
            keys_of(read_table(inputs.features, schema=ENCODINGS)),
        ),
        settings=params.settings,
    )
    segment_one = few_shot_segmenter(
        map_of,
        read_table(inputs.thresholds, schema=THRESHOLDS),
        min_area_px=params.settings["min_area_px"],
    )
    rows = segment_shard(transforms, segment_one, method=wildcards.method, prompt=wildcards.prompt)
    what = f"{wildcards.dataset}, {wildcards.method}: images segmented"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.masks,
        schema=MASKS,
        facts=run_facts(
            {**params.settings, "code": params.code},
            weights=params.weights,
            distributions=("scikit-learn",),
        )
        | seconds_before(image_features=inputs.features),
    )
