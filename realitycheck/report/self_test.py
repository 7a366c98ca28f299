"""The self-test: an easy data set must be easy.

The drawn pets come from the domain that the everyday networks were trained on. A method that fails
there fails for another reason than a domain gap: settings, versions, files or hardware.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

COLUMNS = ("dataset", "method", "prompt", "iou", "least_iou", "passed")


@cache
def stored_bands() -> dict[str, float]:
    """Read the least mean IoU of each kind of method."""
    text = Path(__file__).with_name("self_test.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)


def self_test(
    segmentation: pd.DataFrame,
    *,
    datasets: Sequence[str],
    kinds: Mapping[str, str],
    bands: Mapping[str, float] | None = None,
) -> pd.DataFrame:
    """Hold the scores on easy data sets against their bands.

    Args:
        segmentation: Table 1, with `dataset`, `method`, `prompt`, `iou`.
        datasets: The easy data sets.
        kinds: Kind of each method that runs on everyday networks; others are not tested.
        bands: Least mean IoU by kind; default: the stored ones.

    Returns:
        One row a tested run, columns `COLUMNS`. A run without a mean IoU has not passed.
    """
    bands = stored_bands() if bands is None else bands
    rows: list[dict[str, Any]] = []
    for row in segmentation.itertuples(index=False):
        least = bands.get(kinds.get(row.method, ""))
        if row.dataset in datasets and least is not None:
            rows.append(
                {
                    "dataset": row.dataset,
                    "method": row.method,
                    "prompt": row.prompt,
                    "iou": row.iou,
                    "least_iou": least,
                    "passed": bool(row.iou >= least),
                }
            )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def verdict(tested: pd.DataFrame) -> str:
    """Say in a sentence what the self-test found."""
    failed = tested[~tested["passed"].astype(bool)]
    if failed.empty:
        return f"Self-test passed: {len(tested)} of {len(tested)} runs reach their band."
    found = "; ".join(
        f"{row.method} on {row.dataset} has a mean IoU of {row.iou:.2f}, expected at least "
        f"{row.least_iou:.2f}"
        for row in failed.itertuples(index=False)
    )
    return (
        f"SELF-TEST FAILED: the set-up is broken, not the model, and no score of this run can be "
        f"trusted: {found}. These images are easy for these networks; look for a changed setting, "
        "an altered weights file, or other versions than those of constraints.txt."
    )


def markdown(tested: pd.DataFrame) -> str:
    """Write the self-test for people."""
    lines = ["| Data set | Method | mean IoU | at least | |", "| --- | --- | ---: | ---: | --- |"]
    lines += [
        f"| {row.dataset} | {row.method} | {row.iou:.3f} | {row.least_iou:.3f} | "
        f"{'passed' if row.passed else 'FAILED'} |"
        for row in tested.itertuples(index=False)
    ]
    return "\n".join([verdict(tested), "", *lines, ""])
