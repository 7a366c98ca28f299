"""How far each data set lies from what the small networks were trained on."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from realitycheck.core.tables import INTEGER, REAL, TEXT, Schema
from realitycheck.metrics.domain_gap import BANK_SIZE
from realitycheck.report.results import Results
from realitycheck.report.tables.base import Section, dataset_name
from realitycheck.report.text import MISSING, TableText, plain_table, score_text

_MEASURED = (
    ("dataset", TEXT),
    ("n_images", INTEGER),
    ("frechet_distance", REAL),  # of image features to the bank's; null for a single image
    ("nearest_neighbour_ratio", REAL),  # 1: as near as everyday scenes to each other
    ("masks_per_image", REAL),  # that SAM cuts out by itself; null where nobody asked it to
    ("median_predicted_iou", REAL),  # quality that SAM expects of them
)
#: What a network measures; the names of the data sets are given only later.
MEASURED_GAP = Schema("measured domain gap", _MEASURED, ("dataset",))
DOMAIN_GAP = Schema("domain gap", (*_MEASURED, ("dataset_name", TEXT)), ("dataset",))
SCHEMAS = {"domain_gap": DOMAIN_GAP}
SETTINGS = ()


def compute(results: Results) -> dict[str, pd.DataFrame]:
    """Put names to what was measured, in the order of the settings."""
    table = results.read("domain_gap", MEASURED_GAP).set_index("dataset", drop=False)
    table = table.loc[list(results.datasets)].reset_index(drop=True)
    names = [dataset_name(dataset, results.datasets) for dataset in table["dataset"]]
    return {"domain_gap": table.assign(dataset_name=names)}


def texts(tables: Mapping[str, pd.DataFrame]) -> dict[str, list[TableText]]:
    """Put the table into words."""
    return {"domain_gap": [domain_gap_text(tables["domain_gap"])]}


def section(tables: Mapping[str, pd.DataFrame]) -> Section:
    """Show the table."""
    shown = [domain_gap_text(tables["domain_gap"])]
    return Section(shown, heading="How far each data set lies from what the networks know")


def domain_gap_text(table: pd.DataFrame) -> TableText:
    """Put the domain gap into words.

    Args:
        table: One row per data set, columns of `DOMAIN_GAP`.
    """
    rows = [
        [
            row.dataset_name,
            str(row.n_images),
            _number(row.nearest_neighbour_ratio, 2),
            _number(row.frechet_distance, 1),
            _number(row.masks_per_image, 1),
            score_text(row.median_predicted_iou),
        ]
        for row in table.itertuples(index=False)
    ]
    return plain_table(
        "Domain gap",
        [
            *("Data set", "Images", "Nearest neighbour", "Fréchet distance"),
            *("Masks per image", "Expected IoU"),
        ],
        rows,
        n_text_columns=1,
        legend=[
            f"Distances of image features from those of {BANK_SIZE} drawn everyday scenes, the "
            "domain that the networks were trained on. Nearest neighbour: 1 is the distance of "
            "such scenes from each other. Masks: what SAM cuts out by itself, and the median IoU "
            "that it expects of them."
        ],
    )


def _number(value: float | None, digits: int) -> str:
    return MISSING if pd.isna(value) else f"{value:.{digits}f}"
