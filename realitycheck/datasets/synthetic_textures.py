"""The format `synthetic_textures`: drawn textures with defects; see `synthetic.textures`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from realitycheck.datasets.settings import DRAWN_LICENCE, DrawnDataset

LICENCE = DRAWN_LICENCE


class SyntheticTexturesDataset(DrawnDataset):
    """Drawn textures with defects: carpet, grid, leather, tile, wood."""

    format: Literal["synthetic_textures"]
    categories: tuple[Literal["carpet", "grid", "leather", "tile", "wood"], ...] = Field(
        ("carpet", "grid", "leather", "tile", "wood"), min_length=1, description="surfaces"
    )
    n_ok: int = Field(12, ge=1, description="good images of each surface that are scored")
    n_nok: int = Field(12, ge=1, description="defective images of each surface that are scored")
    n_train: int = Field(8, ge=0, description="further good images of each surface")
    image_size_px: int = Field(256, ge=96, le=1024, description="width and height")
    seed: int = Field(0, ge=0)

    def category_names(self) -> list[str]:
        """The surfaces that are drawn."""
        return list(self.categories)


Settings = SyntheticTexturesDataset


def generate(
    folder: Path, settings: Mapping[str, Any], *, progress: Callable[[int, int], None] | None = None
) -> None:
    """Draw the images into a folder, in the layout of the format `folder`."""
    from realitycheck.datasets.synthetic import textures

    textures.generate(folder, progress=progress, **settings)
