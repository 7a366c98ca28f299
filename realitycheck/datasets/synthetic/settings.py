"""Settings of the generated data sets."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.core.settings import Category, FilePath
from realitycheck.datasets.settings import SplitSettings, _DatasetSettings


class SyntheticPetsDataset(_DatasetSettings):
    """Drawn pets on everyday backgrounds: cats are NOK, dogs are OK."""

    format: Literal["synthetic_pets"]
    split: SplitSettings = SplitSettings(kind="official")
    reference: FilePath | dict[Category, FilePath] = "none"
    n_ok: int = Field(60, ge=1, description="dogs that are scored")
    n_nok: int = Field(60, ge=1, description="cats, which are to be found")
    n_train: int = Field(20, ge=0, description="further dogs, for thresholds")
    image_size_px: int = Field(256, ge=96, le=1024, description="width and height")
    seed: int = Field(0, ge=0)
    generated: ClassVar[bool] = True


class SyntheticSatDataset(_DatasetSettings):
    """Generated scanning-acoustic images with exact truth."""

    format: Literal["synthetic_sat"]
    split: SplitSettings = SplitSettings(kind="official")
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
    generated: ClassVar[bool] = True


class SyntheticTexturesDataset(_DatasetSettings):
    """Drawn textures with defects: carpet, grid, leather, tile, wood."""

    format: Literal["synthetic_textures"]
    split: SplitSettings = SplitSettings(kind="official")
    categories: tuple[Literal["carpet", "grid", "leather", "tile", "wood"], ...] = Field(
        ("carpet", "grid", "leather", "tile", "wood"), min_length=1, description="surfaces"
    )
    n_ok: int = Field(12, ge=1, description="good images of each surface that are scored")
    n_nok: int = Field(12, ge=1, description="defective images of each surface that are scored")
    n_train: int = Field(8, ge=0, description="further good images of each surface")
    image_size_px: int = Field(256, ge=96, le=1024, description="width and height")
    seed: int = Field(0, ge=0)
    generated: ClassVar[bool] = True
