"""Let the decoder that saw no image of a fold draw the defects of its images."""

from pathlib import Path

from realitycheck.core.job import device_lease, job_log, progress, run_facts
from realitycheck.core.schemas import ENCODINGS, MASKS, THRESHOLDS, TRANSFORMS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.base import keys_of
from realitycheck.methods.adapted_sam.algorithm import read_adapted
from realitycheck.methods.adapted_sam.segmenter import (
    adapted_sam_maps,
    adapted_sam_segmenter,
    stored_embeddings,
)
from realitycheck.stages.segment import segment_shard
from realitycheck.stages.timing import seconds_before

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params, inputs, wildcards = snakemake.params, snakemake.input, snakemake.wildcards
    transforms = read_table(inputs.transforms, schema=TRANSFORMS)
    map_of = adapted_sam_maps(
        read_adapted(inputs.decoders, device=device),
        read_table(inputs.thresholds, schema=THRESHOLDS),
        stored_embeddings(
            EncodingStore(Path(inputs.embeddings).parent),
            keys_of(read_table(inputs.embeddings, schema=ENCODINGS)),
        ),
    )
    segment_one = adapted_sam_segmenter(map_of, min_area_px=params.settings["min_area_px"])
    rows = segment_shard(transforms, segment_one, method=wildcards.method, prompt=wildcards.prompt)
    what = f"{wildcards.dataset}, {wildcards.method}: images segmented"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.masks,
        schema=MASKS,
        facts=run_facts(
            {**params.settings, "code": params.code},
            weights=params.weights,
            device=device,
            distributions=("segment-anything", "torch"),
        )
        | seconds_before(image_encoder=inputs.embeddings),
    )
