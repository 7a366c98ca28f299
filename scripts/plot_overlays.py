"""Draw truth and every method's mask in yellow, a row an image, in the study's form."""

from pathlib import Path

from realitycheck.core.job import job_log
from realitycheck.report.figures.style import save_figure
from realitycheck.stages.overlays import overlay_figure
from realitycheck.stages.report import read_scores

with job_log(snakemake.log[0]):
    params, dataset = snakemake.params, snakemake.wildcards.dataset
    figure = overlay_figure(
        dataset,
        read_scores(snakemake.input.scores),
        mask_tables=dict(zip([run[1:] for run in params.runs], snakemake.input.masks, strict=True)),
        images_folder=Path(snakemake.input.transforms).parent,
        truth_folder=Path(snakemake.input.truth).parent,
        methods=params.methods,
        title=params.datasets[dataset]["name"],
        n_images=params.settings["n_overlays"],
        seed=params.settings["seed"],
    )
    png = Path(snakemake.output.png)
    save_figure(figure, png.parent, stem=png.stem)
