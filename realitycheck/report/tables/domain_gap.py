"""Domain gap."""

from __future__ import annotations

import pandas as pd

from realitycheck.core.tables import INTEGER, REAL, TEXT, Schema
from realitycheck.metrics.domain_gap import BANK_SIZE
from realitycheck.report.text import MISSING, TableText, score_text, simple_table

DOMAIN_GAP = Schema(
    "domain gap",
    (
        ("dataset", TEXT),
        ("n_images", INTEGER),
        ("frechet_distance", REAL),  # of image features to the bank's; null for a single image
        ("nearest_neighbour_ratio", REAL),  # 1: as near as everyday scenes to each other
        ("masks_per_image", REAL),  # that SAM cuts out by itself; null where nobody asked it to
        ("median_predicted_iou", REAL),  # quality that SAM expects of them
        ("dataset_name", TEXT),
    ),
    ("dataset",),
)


def domain_gap_text(table: pd.DataFrame) -> TableText:
    """Put the domain gap into words.

    Args:
        table: One row a data set, columns of `DOMAIN_GAP`.
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
    return simple_table(
        "Domain gap",
        [
            *("Data set", "Images", "Nearest neighbour", "Fréchet distance"),
            *("Masks an image", "Expected IoU"),
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
