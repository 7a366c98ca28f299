"""What a run left, as tables and figures read it: files by kind, and facts of the settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from realitycheck.core.parquet import read_frame
from realitycheck.core.schemas import SCORES
from realitycheck.core.tables import Schema, read_table

Run = tuple[str, str, str]
Notes = Mapping[str, Mapping[str, Any]]

KEYS = ["dataset", "method", "prompt"]


@dataclass(frozen=True)
class Results:
    """Files and facts of a run; tables are read when they are asked for, and not kept.

    Attributes:
        folder: Folder of all results.
        files: Files by kind: `scores`, `masks`, `verdicts`, `defects` and `pixels` have one per
            run, `manifests`, `truth`, `transforms` and `findings` one per data set.
        facts: What the settings say, by name, as `Plan.table_facts` and `Plan.figure_facts`
            give them: `datasets` and `methods` (descriptions), `runs` (by name), `evaluation`,
            `requirements`, …
        handed: What only the stage can find out, by name; called when it is asked for.
    """

    folder: Path
    files: Mapping[str, Sequence[str | Path]]
    facts: Mapping[str, Any]
    handed: Mapping[str, Callable[[], Any]] = field(default_factory=dict)

    @property
    def datasets(self) -> Notes:
        """What is said of each data set."""
        return self.facts["datasets"]

    @property
    def methods(self) -> Notes:
        """What is said of each method."""
        return self.facts["methods"]

    def runs(self, name: str) -> list[Run]:
        """Data set, method and prompt of every run of a kind, such as `masks` or `area`."""
        return [tuple(run) for run in self.facts["runs"][name]]

    def files_of(self, kind: str, runs: Sequence[Run]) -> list[Path]:
        """Files of some runs, in their order; a file's folders name its run."""
        known = {path.parts[-4:-1]: path for path in map(Path, self.files[kind])}
        return [known[run] for run in runs]

    def scores(self, runs: Sequence[Run]) -> pd.DataFrame:
        """Scores of some runs as one table."""
        return read_tables(self.files_of("scores", runs), schema=SCORES)

    def read(self, kind: str, schema: Schema) -> pd.DataFrame:
        """All tables of a kind as one."""
        return read_tables(self.files[kind], schema=schema)

    def by_dataset(self, kind: str, schema: Schema) -> dict[str, pd.DataFrame]:
        """Tables of a kind that has one per data set."""
        paths = zip(self.datasets, self.files[kind], strict=True)
        return {dataset: read_table(path, schema=schema) for dataset, path in paths}

    def table(self, name: str) -> pd.DataFrame:
        """One of the result tables, once it is written."""
        return read_frame(self.folder / "tables" / f"{name}.parquet")


def read_tables(paths: Sequence[str | Path], *, schema: Schema) -> pd.DataFrame:
    """Tables of several runs as one; with the schema's columns where there is none."""
    read = [read_table(path, schema=schema) for path in paths]
    filled = [table for table in read if len(table)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=schema.columns)
