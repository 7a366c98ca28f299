"""Every table of the report by name, and what the workflow must know to plan it.

A table is the module of its name. It gives

- `SCHEMAS`: schema of each Parquet file it writes, by the file's name, the table itself first;
- `SETTINGS`: facts of the settings that its numbers depend on, by their names in `Results.facts`;
- `compute(results)`: the tables by those names, from a `realitycheck.report.results.Results`;
- `texts(tables)`: what people read, by the names of the Markdown and LaTeX files;
- `section(tables)`: the `realitycheck.report.tables.base.Section` of the page, if it has one.

Tables are made, and shown, in the order that they have here. The workflow plans from this module,
so it imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from realitycheck.core.registry import Registry


@dataclass(frozen=True)
class Table:
    """One table of the report.

    Attributes:
        title: What Snakemake's report lists it as.
        more_tables: Further Parquet files, by name without ending.
        more_texts: Further texts, by name without ending.
        needs: What a run must have for it: a kind of files or a fact; nothing if every run has it.
    """

    title: str
    more_tables: tuple[str, ...] = ()
    more_texts: tuple[str, ...] = ()
    needs: str = ""


TABLES = {
    "segmentation": Table("Table 1, segmentation", more_texts=("segmentation_study",)),
    "classification": Table("Table 2, classification", more_texts=("classification_study",)),
    "confusion": Table("Confusion counts"),
    "readiness": Table("Readiness"),
    "best_of": Table("Best of several"),
    "line": Table("On the line"),
    "agreement": Table("People and repeats", needs="agreement"),
    "labels": Table("Wrong labels", more_tables=("label_images",)),
    "domain_gap": Table("Domain gap", needs="domain_gap"),
    "self_test": Table("Self-test", needs="self_test"),
    "detection_probability": Table(
        "Detection probability",
        more_tables=("detection_curve", "detection_bins"),
    ),
    "breakdown": Table("Breakdown"),
    "comparison": Table("Differences on the same parts"),
    "pixel_scores": Table("Pixel scores"),
    "audit": Table("Audit"),
}
TABLE_MODULES = Registry(
    "table", shipped={name: f"realitycheck.report.tables.{name}" for name in TABLES}
)


def wanted_tables(present: Container[str]) -> list[str]:
    """Names of the tables of a run.

    Args:
        present: Kinds of files and facts that the run has.
    """
    return [name for name, table in TABLES.items() if not table.needs or table.needs in present]


def table_files(name: str) -> dict[str, str]:
    """Form of each file of a table, by the file's name in the folder of tables."""
    table = TABLES[name]
    files = {f"{each}.parquet": "Parquet" for each in (name, *table.more_tables)}
    files[f"{name}.csv"] = "CSV"
    for each in (name, *table.more_texts):
        shape = ", in the study's shape" if each.endswith("_study") else ""
        files[f"{each}.md"], files[f"{each}.tex"] = f"Markdown{shape}", f"LaTeX{shape}"
    return files
