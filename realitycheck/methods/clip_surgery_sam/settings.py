"""Settings of `clip_surgery_sam`, and the facts about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Job, VariantBlock
from realitycheck.models.tokens import clip_sentences


class ClipSurgerySamMethod(VariantBlock):
    """CLIP Surgery points at what fits the text, SAM turns the points into a mask (Text2Seg)."""

    kind: Literal["clip_surgery_sam"]
    variant: Literal["published", "repaired", "plain_clip"] = "published"
    clip_input_size: int = Field(224, ge=32, le=1024, multiple_of=16, description="px")
    threshold: float = Field(0.8, ge=0, le=1, description="share of the map's range for a point")
    downsample: int = Field(2, ge=1, description="patches a cell of the map")
    gives_score_map: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("sam", "clip")
    label: ClassVar[str] = "CLIPSurgery + SAM"
    job: ClassVar[Job] = Job(
        "sam",
        opens=("sam", "clip"),
        kb_per_image=20,
        steps={"image encoder": "embeddings", "patches": "patches"},
        packages=("open_clip_torch", "segment-anything", "torch"),
    )

    def network_texts(
        self, told: Any, object_names: Mapping[str, str], defect_names: Sequence[str]
    ) -> Iterator[tuple[str | None, str, str]]:
        """Every phrase in each of the sentences that its feature is the mean of."""
        for index, phrase in enumerate(told):
            for sentence in clip_sentences(phrase):
                yield f"[{index}]", "clip", sentence

    def patches_settings(self) -> dict[str, Any]:
        """What the patch features depend on."""
        return self.only("switches", "clip_input_size")

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """Patch features, and SAM's embeddings."""
        return {
            "patches": paths.own_encodings("patches", "patches"),
            "embeddings": paths.encodings("sam_rgb"),
        }


Settings = ClipSurgerySamMethod
