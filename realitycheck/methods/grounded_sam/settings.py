"""Settings of `grounded_sam`, and the facts about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Job, VariantBlock
from realitycheck.models.grounding_dino.captions import normalise_caption
from realitycheck.models.settings import DETECTION_FLOOR


class GroundedSamMethod(VariantBlock):
    """GroundingDINO proposes boxes, SAM turns each into a mask (Text2Seg)."""

    kind: Literal["grounded_sam"]
    box_threshold: float = Field(0.35, ge=DETECTION_FLOOR, lt=1)
    text_threshold: float = Field(0.25, ge=0.0, lt=1)
    networks: ClassVar[tuple[str, ...]] = ("sam", "grounding_dino")
    label: ClassVar[str] = "GroundingDINO + SAM"
    job: ClassVar[Job] = Job(
        "sam",
        opens=("sam",),
        kb_per_image=500,
        steps={"image encoder": "embeddings", "detector": "boxes"},
        packages=("segment-anything", "torch"),
    )

    def network_texts(
        self, told: Any, object_names: Mapping[str, str], defect_names: Sequence[str]
    ) -> Iterator[tuple[str | None, str, str]]:
        """Every phrase, as the detector gets it."""
        for index, phrase in enumerate(told):
            yield f"[{index}]", "grounding_dino", normalise_caption(phrase)

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """Boxes of the prompt set, and SAM's embeddings."""
        return {"boxes": paths.boxes, "embeddings": paths.encodings("sam_rgb")}


Settings = GroundedSamMethod
