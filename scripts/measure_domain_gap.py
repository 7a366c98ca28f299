"""Measure how far each data set lies from the everyday scenes, and draw scores against it."""

from pathlib import Path

import pandas as pd

from realitycheck.job import device_lease, job_log
from realitycheck.models.saliency import load_saliency
from realitycheck.report.figures import save_figure
from realitycheck.stages.domain_gap import domain_gap_table, gap_figure, markdown
from realitycheck.stages.weights import weights_path

with (
    job_log(snakemake.log[0]),
    device_lease(snakemake.resources.device, threads=snakemake.threads) as device,
):
    params = snakemake.params
    model = load_saliency(
        weights_path(snakemake.input.weights), variant=params.variant, device=device
    )
    names = list(params.datasets)
    table = domain_gap_table(
        model,
        params.datasets,
        manifests=dict(zip(names, snakemake.input.manifests, strict=True)),
        image_folders={
            name: Path(path).parent
            for name, path in zip(names, snakemake.input.transforms, strict=True)
        },
        masks=params.masks,
    )
    table.to_parquet(snakemake.output.parquet, index=False)
    table.to_csv(snakemake.output.csv, index=False)
    Path(snakemake.output.md).write_text(markdown(table), encoding="utf-8")
    figure = gap_figure(table, pd.read_parquet(snakemake.input.segmentation))
    save_figure(figure, Path(snakemake.output.png).parent, stem=Path(snakemake.output.png).stem)
