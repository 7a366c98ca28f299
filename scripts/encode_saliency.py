"""Compute the saliency maps of SAA+."""

from functools import partial
from pathlib import Path

from realitycheck.core.job import device_lease, job_log, progress, run_facts
from realitycheck.core.schemas import ENCODINGS, TRANSFORMS
from realitycheck.core.tables import read_table, write_table
from realitycheck.encoders.base import Lazily
from realitycheck.encoders.saliency import saliency_encoder, saliency_store
from realitycheck.models.saliency import load_saliency
from realitycheck.stages.encode import encode_shard, image_reader
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    settings, weights = snakemake.params.settings, snakemake.params.weights
    transforms = read_table(snakemake.input.transforms, schema=TRANSFORMS)
    colour = snakemake.wildcards.colour
    compute = saliency_encoder(
        Lazily(
            partial(
                load_saliency,
                weights_path(snakemake.input.weights),
                variant=settings["variant"],
                device=device,
            )
        ),
        colour=colour,
    )
    store = saliency_store(
        Path(snakemake.output.index).parent, settings=settings, weights=weights, colour=colour
    )
    rows = encode_shard(
        transforms, store, compute, read=image_reader(Path(snakemake.input.transforms).parents[1])
    )
    what = f"{snakemake.wildcards.dataset}: saliency maps ({colour})"
    write_table(
        list(progress(rows, total=len(transforms), what=what)),
        snakemake.output.index,
        schema=ENCODINGS,
        facts=run_facts(
            {**settings, "code": snakemake.params.code},
            weights=weights,
            device=device,
            distributions=("timm", "torch"),
        ),
    )
