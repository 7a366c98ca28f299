"""Settings."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.settings import _MethodSettings


class ClipZeroShotMethod(_MethodSettings):
    """CLIP compares each image with texts of flawless and of defective parts."""

    kind: Literal["clip_zero_shot"]
    threshold: float = Field(
        0.5, ge=0, le=1, description="probability of NOK above which it is NOK"
    )
    prompt_key: ClassVar[str | None] = None
    gives_masks: ClassVar[bool] = False
    names_object: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("clip",)
