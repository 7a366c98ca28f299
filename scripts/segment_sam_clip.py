"""Pick SAM's automatic masks that CLIP finds like the text."""

from functools import partial
from pathlib import Path

from realitycheck.core.job import device_lease, job_log, progress, run_facts
from realitycheck.core.row_cache import finished_rows
from realitycheck.core.schemas import ENCODINGS, MASKS, TRANSFORMS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.base import Lazily, keys_of
from realitycheck.encoders.clip import TextFeatures, text_store
from realitycheck.methods.sam_clip.segmenter import sam_clip_segmenter
from realitycheck.models.clip.model import load_clip
from realitycheck.stages.segment import segment_shard
from realitycheck.stages.timing import seconds_before
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params, wildcards, inputs = snakemake.params, snakemake.wildcards, snakemake.input
    transforms = read_table(inputs.transforms, schema=TRANSFORMS)
    texts = TextFeatures(
        text_store(
            Path(snakemake.input.transforms).parents[3] / "encodings" / "texts",
            settings=params.clip,
            weights={"clip": params.weights["clip"]},
        ),
        Lazily(
            partial(
                load_clip,
                weights_path(inputs.clip),
                variant=params.clip["variant"],
                device=device,
            )
        ),
    )
    segment_one = sam_clip_segmenter(
        EncodingStore(Path(inputs.masks).parents[1]),
        EncodingStore(Path(inputs.crops).parents[1]),
        texts,
        mask_keys=keys_of(read_table(inputs.masks, schema=ENCODINGS)),
        crop_keys=keys_of(read_table(inputs.crops, schema=ENCODINGS)),
        prompts=params.prompts,
        settings=params.settings,
    )
    rows = segment_shard(
        transforms,
        segment_one,
        method=wildcards.method,
        prompt=wildcards.prompt,
        finished=finished_rows(
            "segment_sam_clip",
            Path(snakemake.input.transforms).parents[1],
            params=dict(params.items()),
            tables=(inputs.masks, inputs.crops),
            device=device,
        ),
    )
    what = f"{wildcards.dataset}, {wildcards.method}, {wildcards.prompt}: images segmented"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.masks,
        schema=MASKS,
        facts=run_facts(
            {**params.settings, "prompts": list(params.prompts), "code": params.code},
            weights=params.weights,
            device=device,
            distributions=("open_clip_torch", "segment-anything", "torch"),
        )
        | seconds_before(automatic_masks=inputs.masks, crops=inputs.crops),
    )
