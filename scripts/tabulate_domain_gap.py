"""Measure how far each data set lies from the everyday scenes that small networks know."""

from pathlib import Path

from realitycheck.core.job import device_lease, job_log, run_facts
from realitycheck.models.saliency import load_saliency
from realitycheck.report.tables.domain_gap import DOMAIN_GAP, domain_gap_text
from realitycheck.report.text import write_evidence
from realitycheck.stages.domain_gap import domain_gap_table
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params, inputs = snakemake.params, snakemake.input
    table = domain_gap_table(
        load_saliency(weights_path(inputs.weights), variant=params.variant, device=device),
        params.datasets,
        manifests=dict(zip(params.datasets, inputs.manifests, strict=True)),
        image_folders={
            dataset: Path(path).parent
            for dataset, path in zip(params.datasets, inputs.transforms, strict=True)
        },
        masks=params.masks,
    )
    write_evidence(
        {"domain_gap": (table, DOMAIN_GAP)},
        [domain_gap_text(table)],
        Path(snakemake.output.parquet).parent,
        stem="domain_gap",
        facts=run_facts({"code": params.code}, weights=params.weights, device=device),
    )
