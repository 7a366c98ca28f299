"""Settings."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.settings import _VariantMethod


class SamClipMethod(_VariantMethod):
    """SAM cuts everything out, CLIP picks what fits the text (Text2Seg)."""

    kind: Literal["sam_clip"]
    points_per_side: int = Field(
        10, ge=1, le=128, description="points of the grid; 10 in Text2Seg's notebook, 32 in SAM"
    )
    pred_iou_thresh: float = Field(0.88, ge=0, le=1, description="least predicted IoU of a mask")
    stability_score_thresh: float = Field(0.95, ge=0, le=1)
    stability_score_offset: float = Field(1.0, gt=0)
    box_nms_thresh: float = Field(0.7, gt=0, le=1)
    logit_scale: float = Field(100.0, gt=0)
    threshold: float = Field(0.05, gt=0, lt=1, description="least share of the softmax over masks")
    networks: ClassVar[tuple[str, ...]] = ("sam", "clip")

    def masks_settings(self) -> dict[str, Any]:
        """What the automatic masks depend on."""
        return self.model_dump(
            mode="json",
            include={
                "points_per_side",
                "pred_iou_thresh",
                "stability_score_thresh",
                "stability_score_offset",
                "box_nms_thresh",
            },
        )

    def crops_settings(self) -> dict[str, Any]:
        """What the features of the crops depend on."""
        return self.masks_settings() | self._only("switches")
