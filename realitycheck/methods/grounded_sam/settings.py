"""Settings."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.settings import _VariantMethod
from realitycheck.models.settings import DETECTION_FLOOR


class GroundedSamMethod(_VariantMethod):
    """GroundingDINO proposes boxes, SAM turns each into a mask (Text2Seg)."""

    kind: Literal["grounded_sam"]
    box_threshold: float = Field(0.35, ge=DETECTION_FLOOR, lt=1)
    text_threshold: float = Field(0.25, ge=0.0, lt=1)
    networks: ClassVar[tuple[str, ...]] = ("sam", "grounding_dino")
