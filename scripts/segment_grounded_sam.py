"""Turn GroundingDINO's boxes into masks with SAM's mask decoder."""

from pathlib import Path

from realitycheck.core.job import device_lease, job_log, progress, run_facts
from realitycheck.core.row_cache import finished_rows
from realitycheck.core.schemas import BOXES, ENCODINGS, MASKS, TRANSFORMS
from realitycheck.core.store import EncodingStore
from realitycheck.core.tables import read_facts, read_table, write_table
from realitycheck.encoders.base import keys_of
from realitycheck.methods.grounded_sam.segmenter import grounded_sam_segmenter
from realitycheck.models.sam.load import load_sam
from realitycheck.stages.segment import segment_shard
from realitycheck.stages.timing import seconds_before
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params, wildcards = snakemake.params, snakemake.wildcards
    transforms = read_table(snakemake.input.transforms, schema=TRANSFORMS)
    index = read_table(snakemake.input.embeddings, schema=ENCODINGS)
    segment_one = grounded_sam_segmenter(
        read_table(snakemake.input.boxes, schema=BOXES),
        load_sam(
            weights_path(snakemake.input.weights),
            variant=params.sam["variant"],
            precision=params.sam["precision"],
            device=device,
            parts=("prompt_encoder", "mask_decoder"),
        ),
        EncodingStore(Path(snakemake.input.embeddings).parent),
        captions=params.prompts,
        keys=keys_of(index),
        settings=params.settings,
        floor=params.floor,
    )
    rows = segment_shard(
        transforms,
        segment_one,
        method=wildcards.method,
        prompt=wildcards.prompt,
        finished=finished_rows(
            "segment_grounded_sam",
            Path(snakemake.input.transforms).parents[1],
            params=dict(params.items()),
            tables=(snakemake.input.boxes, snakemake.input.embeddings),
            device=device,
        ),
    )
    what = f"{wildcards.dataset}, {wildcards.method}, {wildcards.prompt}: images segmented"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.masks,
        schema=MASKS,
        facts=run_facts(
            {
                **params.settings,
                "precision": params.sam["precision"],
                "prompts": list(params.prompts),
                "code": params.code,
            },
            weights={**read_facts(snakemake.input.boxes)["weights"], **params.weights},
            device=device,
            distributions=("segment-anything", "torch"),
        )
        | seconds_before(image_encoder=snakemake.input.embeddings, detector=snakemake.input.boxes),
    )
