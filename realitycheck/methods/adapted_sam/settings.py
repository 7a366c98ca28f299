"""Settings."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.settings import _MethodSettings


class AdaptedSamMethod(_MethodSettings):
    """SAM's mask decoder learns from the labelled images of the other folds."""

    kind: Literal["adapted_sam"]
    n_folds: int = Field(5, ge=2, description="stratified; views of one part stay together")
    n_steps: int = Field(200, ge=1, description="steps of the optimiser in each fold")
    batch_size: int = Field(4, ge=1, description="images a step; half of them show defects")
    learning_rate: float = Field(
        1e-3, gt=0, description="the highest one; chosen on the everyday network"
    )
    min_area_px: int = Field(20, ge=1, description="smaller regions are dust")
    seed: int = Field(0, ge=0, description="of folds and draws; that of resnet_mlp: same folds")
    prompt_key: ClassVar[str | None] = None
    gives_score_map: ClassVar[bool] = True
    learns_in_folds: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("sam",)
