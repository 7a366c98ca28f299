"""Measure how far each data set lies from the everyday scenes that small networks know."""

from pathlib import Path

from realitycheck.core.job import device_lease, job_log, run_facts
from realitycheck.core.tables import write_table
from realitycheck.models.saliency import load_saliency
from realitycheck.report.tables.domain_gap import MEASURED_GAP
from realitycheck.stages.domain_gap import measured_gap
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params, inputs = snakemake.params, snakemake.input
    rows = measured_gap(
        load_saliency(weights_path(inputs.weights), variant=params.variant, device=device),
        manifests=dict(zip(params.masks, inputs.manifests, strict=True)),
        image_folders={
            dataset: Path(path).parent
            for dataset, path in zip(params.masks, inputs.transforms, strict=True)
        },
        masks=params.masks,
    )
    write_table(
        rows,
        snakemake.output.gap,
        schema=MEASURED_GAP,
        facts=run_facts({"code": params.code}, weights=params.weights, device=device),
    )
