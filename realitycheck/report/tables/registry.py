"""Every table of the report: its module, by name, and what the workflow must know to plan it.

A table is one module. It gives

- `SCHEMAS`: schema of each Parquet file it writes, by the file's name, the table itself first;
- `SETTINGS`: facts of the settings that its numbers depend on, by their names in `Results.facts`;
- `compute(results)`: the tables by those names, from a `realitycheck.report.results.Results`;
- `texts(tables)`: what people read, by the names of the Markdown and LaTeX files;
- `section(tables)`: the `realitycheck.report.tables.base.Section` of the page, if it has one.

Tables are made, and shown, in the order that they have here. The workflow plans from this module,
so it imports nothing heavy.
"""

from __future__ import annotations

import importlib
from collections.abc import Container
from dataclasses import dataclass
from types import ModuleType


@dataclass(frozen=True)
class Table:
    """One table of the report.

    Attributes:
        module: Name of its module.
        title: What Snakemake's report lists it as.
        more_tables: Further Parquet files, by name without ending.
        more_texts: Further texts, by name without ending.
        needs: What a run must have for it: a kind of files or a fact; nothing if every run has it.
    """

    module: str
    title: str
    more_tables: tuple[str, ...] = ()
    more_texts: tuple[str, ...] = ()
    needs: str = ""


_HERE = "realitycheck.report.tables"

TABLES = {
    "segmentation": Table(
        f"{_HERE}.segmentation", "Table 1, segmentation", more_texts=("segmentation_study",)
    ),
    "classification": Table(
        f"{_HERE}.classification", "Table 2, classification", more_texts=("classification_study",)
    ),
    "confusion": Table(f"{_HERE}.confusion", "Confusion counts"),
    "readiness": Table(f"{_HERE}.readiness", "Readiness"),
    "best_of": Table(f"{_HERE}.best_of", "Best of several"),
    "line": Table(f"{_HERE}.line", "On the line"),
    "agreement": Table(f"{_HERE}.agreement", "People and repeats", needs="agreement"),
    "labels": Table(f"{_HERE}.labels", "Wrong labels", more_tables=("label_images",)),
    "domain_gap": Table(f"{_HERE}.domain_gap", "Domain gap", needs="domain_gap"),
    "self_test": Table(f"{_HERE}.self_test", "Self-test", needs="self_test"),
    "detection_probability": Table(
        f"{_HERE}.detection_probability",
        "Detection probability",
        more_tables=("detection_curve", "detection_bins"),
    ),
    "breakdown": Table(f"{_HERE}.breakdown", "Breakdown"),
    "comparison": Table(f"{_HERE}.comparison", "Differences on the same parts"),
    "pixel_scores": Table(f"{_HERE}.pixel_scores", "Pixel scores"),
    "audit": Table(f"{_HERE}.audit", "Audit"),
}


def wanted_tables(present: Container[str]) -> list[str]:
    """Names of the tables of a run.

    Args:
        present: Kinds of files and facts that the run has.
    """
    return [name for name, table in TABLES.items() if not table.needs or table.needs in present]


def open_table(name: str) -> ModuleType:
    """Import a table's module.

    Raises:
        ValueError: If there is no such table; names those that there are.
    """
    if name not in TABLES:
        raise ValueError(f"there is no table {name!r}; known are {', '.join(TABLES)}")
    return importlib.import_module(TABLES[name].module)


def table_files(name: str) -> dict[str, str]:
    """Form of each file of a table, by the file's name in the folder of tables."""
    table = TABLES[name]
    files = {f"{each}.parquet": "Parquet" for each in (name, *table.more_tables)}
    files[f"{name}.csv"] = "CSV"
    for each in (name, *table.more_texts):
        shape = ", in the study's shape" if each.endswith("_study") else ""
        files[f"{each}.md"], files[f"{each}.tex"] = f"Markdown{shape}", f"LaTeX{shape}"
    return files
