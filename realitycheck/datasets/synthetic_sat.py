"""The format `synthetic_sat`: drawn scanning-acoustic images; see `synthetic.sat`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from realitycheck.datasets.settings import DRAWN_LICENCE, DrawnDataset

LICENCE = DRAWN_LICENCE


class SyntheticSatDataset(DrawnDataset):
    """Generated scanning-acoustic images with exact truth."""

    format: Literal["synthetic_sat"]
    n_ok: int = Field(231, ge=1, description="good parts that are scored")
    n_nok: int = Field(32, ge=1, description="defective parts that are scored")
    n_train: int = Field(
        60, ge=0, description="further good parts, for thresholds and the reference"
    )
    image_size_px: int = Field(512, ge=96, le=4096, description="width and height")
    seed: int = Field(0, ge=0)
    bit_depth: Literal[8, 16] = 8
    max_rotation_deg: float = Field(8.0, ge=0, le=45)
    max_shift_fraction: float = Field(0.05, ge=0, le=0.3, description="of the width")
    max_scale_fraction: float = Field(0.03, ge=0, le=0.2)
    max_brightness_fraction: float = Field(0.30, ge=0, le=0.8)
    quarter_turns: bool = Field(False, description="parts also lie turned by 90, 180, 270 degrees")


Settings = SyntheticSatDataset


def generate(
    folder: Path, settings: Mapping[str, Any], *, progress: Callable[[int, int], None] | None = None
) -> None:
    """Draw the images into a folder, in the layout of the format `folder`."""
    from realitycheck.datasets.synthetic import sat

    look = {field.name for field in fields(sat.SatSettings)}
    sat.generate(
        folder,
        settings=sat.SatSettings(**{k: v for k, v in settings.items() if k in look}),
        progress=progress,
        **{k: v for k, v in settings.items() if k not in look},
    )
