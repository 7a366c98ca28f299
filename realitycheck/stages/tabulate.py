"""Stage 7: everything that a run found becomes tables, one after the other."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.core.constants import AREA_SUFFIX
from realitycheck.core.job import run_facts
from realitycheck.core.parquet import read_frame
from realitycheck.core.schemas import MANIFEST
from realitycheck.core.tries_file import NOTE_NAME, Tried
from realitycheck.methods.registry import detector_captions
from realitycheck.report.results import KEYS, Results, Run
from realitycheck.report.tables.base import weights_notes
from realitycheck.report.tables.registry import TABLE_MODULES
from realitycheck.report.text import write_report_table
from realitycheck.stages.timing import part_time
from realitycheck.stages.tries import tried_so_far

log = logging.getLogger("realitycheck")


def write_tables(results: Results, names: Sequence[str], *, code: str) -> None:
    """Make tables in their order; each is written before the next is begun.

    Args:
        results: What the run left.
        names: Names of the tables.
        code: Digest of the code that makes them.

    Raises:
        RuntimeError: If a table cannot be made; names it, and says why.
    """
    for name in names:
        try:
            _write_table(results, name, code=code)
        except Exception as error:
            raise RuntimeError(f"table {name}: {error}") from error
        log.info("table %s", name)


def _write_table(results: Results, name: str, *, code: str) -> None:
    module = TABLE_MODULES.open(name)
    tables = module.compute(results)
    settings: dict[str, Any] = {}
    for fact in module.SETTINGS:
        settings |= results.facts[fact]
    write_report_table(
        {stem: (tables[stem], schema) for stem, schema in module.SCHEMAS.items()},
        module.texts(tables),
        results.folder / "tables",
        facts=run_facts({**settings, "code": code}),
        notes=weights_notes(results.methods),
    )


def results_of(
    folder: Path,
    files: Mapping[str, Sequence[str | Path]],
    facts: Mapping[str, Any],
    *,
    tries: Mapping[str, Sequence[Mapping[str, Any]]],
    locked: Mapping[str, Mapping[str, Any]],
) -> Results:
    """Give tables what a run left, with what only this stage finds out: times and captions.

    Args:
        folder: Folder of all results.
        files: Files by kind.
        facts: What the settings say; see `Results`.
        tries: Runs of each data set, as `realitycheck.planning.tries.tries_of` gives them.
        locked: Locked parts of data sets that have some; see `tried_so_far`.
    """
    results = Results(folder, files, facts)

    def times() -> pd.DataFrame:
        masks = results.files_of("masks", results.runs("shown_masks"))
        return part_times([*masks, *files["verdicts"]], results.runs("area"))

    def audited() -> list[dict[str, Any]]:
        return with_captions(facts["audited_runs"], results.by_dataset("manifests", MANIFEST))

    def tried() -> dict[str, Tried]:
        table = results.table("classification")
        judged = table.loc[table["n_answered"] > 0, KEYS].itertuples(index=False, name=None)
        return tried_so_far(
            tries,
            dict(zip(results.datasets, files["manifests"], strict=True)),
            dict(zip(results.datasets, files["references"], strict=True)),
            judged=set(judged),
            note=folder / NOTE_NAME,
            locked=locked,
            **facts["tries"],
        )

    return replace(results, handed={"part_times": times, "audited_runs": audited, "tried": tried})


def part_times(paths: Sequence[str | Path], area_runs: Sequence[Run]) -> pd.DataFrame:
    """Seconds of one part of each run, that of a verdict by area being its masks'.

    Args:
        paths: Masks and verdicts tables, one per run.
        area_runs: Runs with verdicts by area.

    Returns:
        Columns `KEYS`, `seconds_per_part` and `seconds_note`.
    """
    rows = []
    for path in paths:
        keys = read_frame(path, KEYS)[:1].to_dict("records")
        if keys:
            found = part_time(path)
            rows.append({**keys[0], "seconds_per_part": found.seconds, "seconds_note": found.note})
    of_run = {tuple(row[key] for key in KEYS): row for row in rows}
    for dataset, method, prompt in area_runs:
        own = of_run.get((dataset, method.removesuffix(AREA_SUFFIX), prompt))
        if own is not None:
            rows.append({**own, "method": method})
    return pd.DataFrame(rows, columns=[*KEYS, "seconds_per_part", "seconds_note"])


def with_captions(
    runs: Sequence[Mapping[str, Any]], manifests: Mapping[str, pd.DataFrame]
) -> list[dict[str, Any]]:
    """Fill in what the plan cannot know of a run: words that depend on the categories."""
    filled = []
    for run in runs:
        told = run["told"]
        if run["composed"] is not None:
            categories = sorted(set(manifests[run["dataset"]]["category"]))
            captions = [text for c in categories for text in detector_captions(run["composed"], c)]
            told = ". ".join(dict.fromkeys(captions))
        filled.append({**run, "told": told})
    return filled
