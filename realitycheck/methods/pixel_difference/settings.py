"""Settings."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.core.settings import (
    Fraction,
)
from realitycheck.methods.settings import _MethodSettings


class PixelDifferenceMethod(_MethodSettings):
    """Absolute difference to the aligned reference, thresholded on good images."""

    kind: Literal["pixel_difference"]
    smoothing_sigma_px: float = Field(2.0, ge=0, description="Gaussian smoothing of the difference")
    max_overkill_rate: Fraction = Field(
        0.05, description="share of good images that the threshold may reject"
    )
    min_area_px: int = Field(20, ge=1, description="smaller regions are dust")
    n_folds: int = Field(5, ge=2, description="folds where no training images exist")
    seed: int = Field(0, ge=0)
    prompt_key: ClassVar[str | None] = None
    gives_score_map: ClassVar[bool] = True
    needs_reference: ClassVar[bool] = True
