"""Compute an encoding of the images of a shard, and write which entries of the store are theirs."""

from realitycheck.core.job import batch_size, device_lease, job_log, progress, run_facts
from realitycheck.core.schemas import ENCODINGS
from realitycheck.core.tables import write_table
from realitycheck.models.registry import network
from realitycheck.stages.encode import open_encoding, seconds_of_source

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params, resources = snakemake.params, snakemake.resources
    inputs = dict(snakemake.input.items())
    encoding = open_encoding(
        params.encoder,
        inputs,
        snakemake.output.index,
        settings=params.settings,
        network=params.network,
        weights=params.weights,
        colour=snakemake.wildcards.get("colour"),
        device=device,
        batch_size=batch_size(resources.batch_size, device=device, attempt=resources.attempt),
    )
    what = f"{snakemake.wildcards.dataset}: {encoding.encoder.counted}"
    write_table(
        list(progress(encoding.rows(), total=len(encoding.transforms), what=what)),
        snakemake.output.index,
        schema=ENCODINGS,
        facts=run_facts(
            {**params.network, **params.settings, "code": params.code},
            weights=params.weights,
            device=device,
            distributions=(*network(encoding.encoder.network).packages, "torch"),
        )
        | seconds_of_source(params.encoder, inputs),
    )
