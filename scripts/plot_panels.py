"""Draw what a method saw on some images, or on all, and list the pictures."""

from pathlib import Path

from realitycheck.core.job import job_log, progress, run_facts
from realitycheck.core.schemas import PANELS
from realitycheck.core.tables import write_table
from realitycheck.methods.base import Run
from realitycheck.stages.panels import draw_panels, panel_head, panel_images

with job_log(snakemake.log[0]):
    params, inputs, run = snakemake.params, snakemake.input, Run(**snakemake.params.run)
    table = Path(snakemake.output.table)
    image_ids = panel_images(run.dataset, inputs.scores, shown=inputs.shown, **params.shown)
    rows = draw_panels(
        {name: files for name, files in inputs.items() if name != "shown"},
        run,
        kind=params.kind,
        image_ids=image_ids,
        folder=table.with_suffix(""),
        results_folder=table.parents[4],
        **panel_head(
            run.dataset, run.method, run.prompt, methods=params.methods, datasets=params.datasets
        ),
    )
    what = f"{run.dataset}, {run.method}, {run.prompt}: panels"
    write_table(
        list(progress(rows, total=len(image_ids), what=what)),
        table,
        schema=PANELS,
        facts=run_facts({**run.settings, "code": params.code}, weights=run.weights),
    )
