"""Draw the IoU of every defective part, its mean with its interval, and the study's mean."""

from pathlib import Path

import numpy as np

from realitycheck.core.job import job_log
from realitycheck.core.parquet import read_frame
from realitycheck.report.figures.iou_distribution import plot_iou_distribution
from realitycheck.report.figures.style import save_figure
from realitycheck.report.page.words import FIGURE_WORDS
from realitycheck.stages.report import read_scores, untrained_banner

with job_log(snakemake.log[0]):
    figure = plot_iou_distribution(
        read_scores(snakemake.input.scores),
        read_frame(snakemake.input.segmentation),
        rng=np.random.default_rng(snakemake.params.seed),
        title=FIGURE_WORDS["iou_distribution"]["title"],
        banner=untrained_banner(snakemake.params.methods),
    )
    png = Path(snakemake.output.png)
    save_figure(figure, png.parent, stem=png.stem)
