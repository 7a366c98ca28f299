"""Settings of `sam_clip`, and the facts about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Job, VariantBlock


class SamClipMethod(VariantBlock):
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
    label: ClassVar[str] = "SAM + CLIP"
    job: ClassVar[Job] = Job(
        "clip",
        opens=("clip",),
        kb_per_image=20,
        steps={"automatic masks": "masks", "crops": "crops"},
        packages=("open_clip_torch", "segment-anything", "torch"),
    )

    def network_texts(
        self, told: Any, object_names: Mapping[str, str], defect_names: Sequence[str]
    ) -> Iterator[tuple[str | None, str, str]]:
        """Every phrase as it stands."""
        for index, phrase in enumerate(told):
            yield f"[{index}]", "clip", phrase

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
        return self.masks_settings() | self.only("switches")

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """Automatic masks, and the features of their crops."""
        return {
            "masks": paths.own_encodings("automatic_masks", "masks"),
            "crops": paths.own_encodings("crops", "crops"),
        }


Settings = SamClipMethod
