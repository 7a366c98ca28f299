"""Judge by the area of a method's masks, with a threshold from good images of other folds."""

from realitycheck.core.constants import AREA_SUFFIX
from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import SCORES
from realitycheck.core.tables import read_table, write_table
from realitycheck.stages.evaluate import score_areas

with job_log(snakemake.log[0]):
    settings = {name: snakemake.params[name] for name in ("max_overkill_rate", "seed")}
    rows = score_areas(
        read_table(snakemake.input.scores, schema=SCORES),
        f"{snakemake.wildcards.method}{AREA_SUFFIX}",
        **settings,
    )
    write_table(
        list(rows),
        snakemake.output.scores,
        schema=SCORES,
        facts=run_facts({**settings, "code": snakemake.params.code}),
    )
