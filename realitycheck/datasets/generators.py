"""From a synthetic data set's settings to its files: the one place that knows every generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from realitycheck.datasets import synthetic_sat


def generate(
    folder: str | Path,
    settings: Mapping[str, Any],
    *,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw a data set and write it in the `folder` layout, with `truth.csv`.

    Args:
        folder: Where it goes.
        settings: Counts, seed, and how the scans are drawn.
        progress: Called with the number of images done and of all.
    """
    drawn = {field.name for field in fields(synthetic_sat.SatSettings)}
    synthetic_sat.generate(
        folder,
        settings=synthetic_sat.SatSettings(**{k: v for k, v in settings.items() if k in drawn}),
        progress=progress,
        **{k: v for k, v in settings.items() if k not in drawn},
    )
