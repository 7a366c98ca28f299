"""Settings of `pixel_difference`, and the facts about it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.core.settings import (
    Fraction,
)
from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Fit, MethodBlock


class PixelDifferenceMethod(MethodBlock):
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
    judges_in_folds: ClassVar[bool] = True
    label: ClassVar[str] = "Pixel difference"
    fits: ClassVar[Fit | None] = Fit()

    @property
    def learns_from(self) -> dict[str, Any]:
        """Good parts, those shown in the reference apart."""
        return {"parts": "good", "compares_with_reference": True}

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """References and thresholds; the images lie beside their transforms."""
        return {
            "manifest": paths.manifest,
            "references": paths.references,
            "thresholds": paths.prediction("thresholds.parquet"),
        }

    def fit_inputs(self, paths: Paths) -> dict[str, Any]:
        """References, and the images that set the threshold."""
        return {
            "references": paths.references,
            "transforms": paths.calibration_shards(paths.aligned),
        }


Settings = PixelDifferenceMethod
