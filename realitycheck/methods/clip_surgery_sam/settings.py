"""Settings."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.settings import _VariantMethod


class ClipSurgerySamMethod(_VariantMethod):
    """CLIP Surgery points at what fits the text, SAM turns the points into a mask (Text2Seg)."""

    kind: Literal["clip_surgery_sam"]
    variant: Literal["published", "repaired", "plain_clip"] = "published"
    clip_input_size: int = Field(224, ge=32, le=1024, multiple_of=16, description="px")
    threshold: float = Field(0.8, ge=0, le=1, description="share of the map's range for a point")
    downsample: int = Field(2, ge=1, description="patches a cell of the map")
    gives_score_map: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("sam", "clip")

    def patches_settings(self) -> dict[str, Any]:
        """What the patch features depend on."""
        return self._only("switches", "clip_input_size")
