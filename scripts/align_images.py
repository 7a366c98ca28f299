"""Register the images of a shard to the reference of their category."""

from pathlib import Path

from realitycheck.core.job import job_log, progress, run_facts
from realitycheck.core.row_cache import finished_rows
from realitycheck.core.schemas import TRANSFORMS
from realitycheck.core.tables import write_table
from realitycheck.stages.align import align_shard

with job_log(snakemake.log[0]):
    settings, code = snakemake.params.settings, snakemake.params.code
    folder = Path(snakemake.output.transforms).parents[1]
    total, rows = align_shard(
        snakemake.input.manifest,
        snakemake.input.references,
        shard=snakemake.wildcards.shard,
        settings=settings,
        folder=folder,
        n_workers=snakemake.threads,
        finished=finished_rows("align_images", folder, params={**settings, "code": code}),
    )
    what = f"{snakemake.wildcards.dataset}: images aligned"
    write_table(
        list(progress(rows, total=total, what=what)),
        snakemake.output.transforms,
        schema=TRANSFORMS,
        facts=run_facts({**settings, "code": code}),
    )
