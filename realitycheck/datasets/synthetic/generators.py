"""From a synthetic data set's settings to its files: the one place that knows every generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from realitycheck.datasets.synthetic import pets as synthetic_pets
from realitycheck.datasets.synthetic import sat as synthetic_sat
from realitycheck.datasets.synthetic import textures as synthetic_textures


def generate(
    folder: str | Path,
    settings: Mapping[str, Any],
    *,
    format: str,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw a data set and write it in the `folder` layout, with `truth.csv`.

    Args:
        folder: Where it goes.
        settings: Counts, seed, and how the images are drawn.
        format: `synthetic_sat`, `synthetic_pets` or `synthetic_textures`.
        progress: Called with the number of images done and of all.
    """
    if format == "synthetic_sat":
        drawn = {field.name for field in fields(synthetic_sat.SatSettings)}
        look = synthetic_sat.SatSettings(**{k: v for k, v in settings.items() if k in drawn})
        counts = {k: v for k, v in settings.items() if k not in drawn}
        synthetic_sat.generate(folder, settings=look, progress=progress, **counts)
        return
    module = {"synthetic_pets": synthetic_pets, "synthetic_textures": synthetic_textures}[format]
    module.generate(folder, progress=progress, **settings)
