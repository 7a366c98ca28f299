"""Run SAM's image encoder, once for each image and colour order."""

from functools import partial
from pathlib import Path

from realitycheck.core.job import batch_size, device_lease, job_log, progress, run_facts
from realitycheck.core.schemas import ENCODINGS, TRANSFORMS
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.base import Lazily
from realitycheck.encoders.sam_embeddings import sam_embedder, sam_store
from realitycheck.models.sam.load import load_sam
from realitycheck.stages.encode import encode_shard, image_reader
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    settings, weights = snakemake.params.settings, snakemake.params.weights
    transforms = read_table(snakemake.input.transforms, schema=TRANSFORMS)
    colour = snakemake.wildcards.colour
    size = batch_size(
        snakemake.resources.batch_size, device=device, attempt=snakemake.resources.attempt
    )
    store = sam_store(
        Path(snakemake.output.index).parent, settings=settings, weights=weights, colour=colour
    )
    compute = sam_embedder(
        Lazily(
            partial(
                load_sam,
                weights_path(snakemake.input.weights),
                variant=settings["variant"],
                precision=settings["precision"],
                is_compiled=settings["compile"],
                device=device,
                parts=("image_encoder",),
            )
        ),
        colour=colour,
        dtype=settings["dtype"],
        batch_size=size,
    )
    rows = encode_shard(
        transforms,
        store,
        compute,
        read=image_reader(Path(snakemake.input.transforms).parents[1]),
        batch_size=size,
    )
    what = f"{snakemake.wildcards.dataset}: images encoded ({colour})"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.index,
        schema=ENCODINGS,
        facts=run_facts(
            {**settings, "code": snakemake.params.code},
            weights=weights,
            device=device,
            distributions=("segment-anything", "torch"),
        ),
    )
