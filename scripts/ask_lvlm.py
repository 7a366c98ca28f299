"""Ask a vision language model about each image; what was ever answered is not asked again."""

from pathlib import Path

from realitycheck.core.job import job_log, run_facts
from realitycheck.core.schemas import REFERENCES, TRANSFORMS, VERDICTS
from realitycheck.core.tables import read_table, write_table
from realitycheck.core.terminal import say
from realitycheck.lvlm.progress import progress_bar
from realitycheck.lvlm.runner import ask, quote
from realitycheck.stages.lvlm import (
    backend_of,
    destination_of,
    known_rows,
    pace_of,
    prices_of,
    questions_of,
)

with job_log(snakemake.log[0]):
    params, settings = snakemake.params, snakemake.params.settings
    transforms = read_table(snakemake.input.transforms, schema=TRANSFORMS)
    keys = {name: snakemake.wildcards[name] for name in ("dataset", "method", "prompt")}
    questions = questions_of(
        transforms,
        read_table(snakemake.input.references, schema=REFERENCES),
        images_folder=Path(snakemake.input.transforms).parent,
        asked=params.asked,
        settings=settings,
        intensity=params.intensity,
    )
    clients = ()
    if not params.has_key:
        rows = known_rows(questions, keys, settings=settings)
    else:
        prices = prices_of(settings)
        say(quote(questions, settings["ledger"], prices=prices).text())
        say(destination_of(settings)[2])
        with progress_bar(" ".join(keys.values())) as show:
            rows, bill = ask(
                questions,
                settings["ledger"],
                backend=backend_of(settings),
                prices=prices,
                may_leave_site=params.may_leave_site,
                max_cost_usd=settings["max_cost_usd"],
                accepted_models=settings["accepted_models"],
                cloud_models=settings["cloud_models"],
                pace=pace_of(settings),
                progress=show,
                **keys,
            )
        say(bill.text())
        clients = bill.clients
    write_table(
        rows,
        snakemake.output.labels,
        schema=VERDICTS,
        facts=run_facts({**params.asked, "model": settings["model"], "code": params.code})
        | ({"clients": list(clients)} if clients else {}),
    )
