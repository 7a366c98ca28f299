"""Ask a vision language model about each image; what was ever answered is not asked again."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import REFERENCES, TRANSFORMS, VERDICTS
from realitycheck.core.tables import read_table, write_table
from realitycheck.methods.registry import open_part
from realitycheck.stages.lvlm import ask_dataset, known_rows

with job_log(snakemake.log[0]):
    params, settings, clients = snakemake.params, snakemake.params.settings, ()
    keys = {name: snakemake.wildcards[name] for name in ("dataset", "method", "prompt")}
    questions = open_part(settings["kind"], "classifier").questions_of(
        read_table(snakemake.input.transforms, schema=TRANSFORMS),
        read_table(snakemake.input.references, schema=REFERENCES),
        images_folder=Path(snakemake.input.transforms).parent,
        asked=params.asked,
        settings=settings,
        intensity=params.intensity,
    )
    if params.has_key:
        may = params.may_leave_site
        rows, cost = ask_dataset(questions, keys, settings=settings, may_leave_site=may)
        clients = cost.clients
    else:
        rows = known_rows(questions, keys, settings=settings)
    write_table(
        rows,
        snakemake.output.labels,
        schema=VERDICTS,
        facts=run_facts({**params.asked, "model": settings["model"], "code": params.code})
        | ({"clients": list(clients)} if clients else {}),
    )
