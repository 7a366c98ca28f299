"""The format `synthetic_pets`: drawn pets on everyday backgrounds; see `synthetic.pets`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from realitycheck.core.settings import Category, FilePath
from realitycheck.datasets.settings import DRAWN_LICENCE, DrawnDataset

LICENCE = DRAWN_LICENCE


class SyntheticPetsDataset(DrawnDataset):
    """Drawn pets on everyday backgrounds: cats are NOK, dogs are OK."""

    format: Literal["synthetic_pets"]
    reference: FilePath | dict[Category, FilePath] = "none"
    n_ok: int = Field(60, ge=1, description="dogs that are scored")
    n_nok: int = Field(60, ge=1, description="cats, which are to be found")
    n_train: int = Field(20, ge=0, description="further dogs, for thresholds")
    image_size_px: int = Field(256, ge=96, le=1024, description="width and height")
    seed: int = Field(0, ge=0)

    is_easy: ClassVar[bool] = True


Settings = SyntheticPetsDataset


def generate(
    folder: Path, settings: Mapping[str, Any], *, progress: Callable[[int, int], None] | None = None
) -> None:
    """Draw the images into a folder, in the layout of the format `folder`."""
    from realitycheck.datasets.synthetic import pets

    pets.generate(folder, progress=progress, **settings)
