"""Settings of `few_shot`, and the facts about it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.core.settings import (
    Fraction,
)
from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Fit, Job, MethodBlock


class FewShotMethod(MethodBlock):
    """A few good training images are remembered; what looks like none of them is marked."""

    kind: Literal["few_shot"]
    n_good: int = Field(16, ge=2, description="good training images of a category remembered")
    input_size_px: int = Field(512, ge=64, le=2048, multiple_of=16, description="of the network")
    position_weight: Literal["auto"] | Annotated[float, Field(ge=0)] = Field(
        "auto", description="how far a patch's place counts; auto: 1 if parts are aligned, else 0"
    )
    max_patches: int = Field(20_000, ge=100, description="of a memory bank; more are thinned out")
    smoothing_sigma_px: float = Field(2.0, ge=0, description="Gaussian smoothing of the score map")
    max_overkill_rate: Fraction = Field(
        0.05, description="share of good training images that the threshold may reject"
    )
    min_area_px: int = Field(20, ge=1, description="smaller regions are dust")
    seed: int = Field(0, ge=0, description="of what is remembered")
    prompt_key: ClassVar[str | None] = None
    gives_score_map: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("resnet",)
    keeps_score_grid: ClassVar[bool] = True
    label: ClassVar[str] = "PatchCore-style few-shot"
    job: ClassVar[Job] = Job(
        memory_mb=4_000, seconds_per_image=2, steps={"image features": "features"}
    )
    fits: ClassVar[Fit | None] = Fit(
        memory_mb=4_000, seconds_per_image=2, outputs={"bank": "bank.safetensors"}
    )

    @property
    def learns_from(self) -> dict[str, Any]:
        """Good training parts, of which one at a time is left out."""
        return {"parts": "good training"}

    def plain_for(self, *, is_aligned: bool) -> dict[str, Any]:
        """The block, with the weight that `auto` means."""
        block = self.plain()
        if block["position_weight"] == "auto":
            block["position_weight"] = float(is_aligned)
        return block

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """Thresholds, and bank and features, or, once they are stored, the scores of patches."""
        files = {"thresholds": paths.prediction("thresholds.parquet")}
        if paths.is_later:
            return {**files, "score_grids": paths.predictions("score_grids")}
        return {
            **files,
            "manifest": paths.manifest,
            "bank": paths.prediction("bank.safetensors"),
            "features": paths.encodings(f"resnet_features_{self.input_size_px}"),
        }

    def fit_inputs(self, paths: Paths) -> dict[str, Any]:
        """Training images and their features."""
        return {
            "transforms": paths.training_shards(paths.aligned),
            "features": paths.training_shards(
                f"encodings/{paths.dataset}/resnet_features_{self.input_size_px}"
            ),
        }


Settings = FewShotMethod
