"""Settings."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.settings import _MethodSettings


class TunedClipMethod(_MethodSettings):
    """CLIP zero-shot with the first words of its texts learned (CoOp), out of fold."""

    kind: Literal["tuned_clip"]
    n_folds: int = Field(5, ge=2, description="stratified; views of one part stay together")
    n_context: int = Field(4, ge=1, le=32, description="vectors that are learned")
    n_steps: int = Field(100, ge=1, description="of the optimiser, over all training images")
    learning_rate: float = Field(2e-3, gt=0)
    threshold: float = Field(
        0.5, ge=0, le=1, description="probability of NOK above which it is NOK"
    )
    seed: int = Field(0, ge=0, description="of the folds; that of resnet_mlp: same folds")
    prompt_key: ClassVar[str | None] = None
    gives_masks: ClassVar[bool] = False
    names_object: ClassVar[bool] = True
    learns_in_folds: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("clip",)
