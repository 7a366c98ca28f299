"""AUROC, AUPRO and the best F1 of the methods that give a value for each pixel."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from realitycheck.core.schemas import PIXEL_SCORES
from realitycheck.core.tables import BOOLEAN, INTEGER, REAL, TEXT, Schema
from realitycheck.report.results import KEYS, Notes, Results
from realitycheck.report.tables.base import Section, dataset_name, method_name, typed_table
from realitycheck.report.text import TableText, score_text, split_notes, table_by_run

PIXEL_TABLE = Schema(
    "pixel score table",
    (
        ("dataset", TEXT),
        ("method", TEXT),
        ("prompt", TEXT),
        ("n_images", INTEGER),
        ("auroc", REAL),
        ("aupro", REAL),
        ("f1_max", REAL),
        ("uses_test_truth", BOOLEAN),
        ("n_defective", INTEGER),
        ("n_categories", INTEGER),  # that the scores are averaged over
        ("dataset_name", TEXT),
        ("method_name", TEXT),
        ("note", TEXT),
    ),
    ("dataset", "method", "prompt"),
    unit_interval=("auroc", "aupro", "f1_max"),
)
SCHEMAS = {"pixel_scores": PIXEL_TABLE}
SETTINGS = ()


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Make the table of a run; see `pixel_table`."""
    pixels = results.read("pixels", PIXEL_SCORES)
    table = pixel_table(pixels, datasets=results.datasets, methods=results.methods)
    return {"pixel_scores": table}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words."""
    return {"pixel_scores": [pixel_text(tables["pixel_scores"])]}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show the scores of maps, where a method gives one and somebody drew a truth."""
    rows = tables["pixel_scores"]
    rows = rows[rows[["auroc", "aupro", "f1_max"]].notna().any(axis=1)]
    return Section([pixel_text(rows)] if len(rows) else [], heading="Score maps")


def pixel_table(pixels: pd.DataFrame, *, datasets: Notes, methods: Notes) -> pd.DataFrame:
    """Average pixel scores over the categories of a data set, as is usual for MVTec AD.

    Args:
        pixels: Pixel scores tables of the runs, as one.
        datasets: Description of each data set.
        methods: Description of each method.

    Returns:
        The table, columns of `PIXEL_TABLE`; a category without truth takes no part.
    """
    ranks = ({name: i for i, name in enumerate(names)} for names in (datasets, methods))
    of_dataset, of_method = ranks
    groups = sorted(
        pixels.groupby(KEYS, sort=False),
        key=lambda item: (of_dataset[item[0][0]], of_method[item[0][1]], item[0][2]),
    )
    rows = []
    for key, own in groups:
        scored = own[own["auroc"].notna()]
        about = methods[key[1]]
        notes = [about["note"]] if about.get("note") else []
        if scored.empty:
            notes.append("no image with ground truth")
        rows.append(
            dict(zip(KEYS, key, strict=True))
            | {"n_images": int(own["n_images"].sum()), "n_categories": len(scored)}
            | {"n_defective": int(own["n_defective"].sum())}
            | {name: scored[name].mean() for name in ("auroc", "aupro", "f1_max")}
            | {
                "uses_test_truth": True,
                "dataset_name": dataset_name(key[0], datasets),
                "method_name": method_name(key[1], methods),
                "note": "; ".join(notes),
            }
        )
    return typed_table(rows, PIXEL_TABLE)


def pixel_text(table: pd.DataFrame) -> TableText:
    """Pixel scores of methods that give a value for each pixel."""
    header = [
        *("Data set", "Method", "Prompt", "Images", "Defective", "AUROC", "AUPRO", "Best F1"),
    ]

    def cells(row: pd.Series) -> list[str]:
        counts = [str(row["n_images"]), str(row["n_defective"])]
        return [*counts, *(score_text(row[name]) for name in ("auroc", "aupro", "f1_max"))]

    return table_by_run(
        "Pixel scores of score maps",
        header,
        table,
        cells,
        n_text_columns=3,
        notes=lambda row: split_notes(row["note"]),
        legend=[
            "Mean over the categories with ground truth. AUROC: 0.5 is chance. AUPRO: up to a "
            "false positive rate of 0.3. Best F1: its threshold is taken from the truth of the "
            "same images (uses_test_truth), so it is better than on new parts."
        ],
    )
