"""Settings of `clip_zero_shot`, and the facts about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Job, MethodBlock, PromptSettings


class ClipZeroShotMethod(MethodBlock):
    """CLIP compares each image with texts of flawless and of defective parts."""

    kind: Literal["clip_zero_shot"]
    threshold: float = Field(
        0.5, ge=0, le=1, description="probability of NOK above which it is NOK"
    )
    prompt_key: ClassVar[str | None] = None
    gives_masks: ClassVar[bool] = False
    networks: ClassVar[tuple[str, ...]] = ("clip",)
    label: ClassVar[str] = "CLIP zero-shot"
    job: ClassVar[Job] = Job(
        "clip",
        opens=("clip",),
        kb_per_image=20,
        minutes=20,
        steps={"image features": "features"},
        packages=("open_clip_torch", "torch"),
    )
    names_object: ClassVar[bool] = True

    def words(self, asked: PromptSettings | None, defect_names: Sequence[str]) -> str:
        """The names of defects."""
        return ". ".join(defect_names)

    def network_texts(
        self, told: Any, object_names: Mapping[str, str], defect_names: Sequence[str]
    ) -> Iterator[tuple[str | None, str, str]]:
        """Every sentence of good and of bad parts."""
        from realitycheck.methods.clip_zero_shot.algorithm import state_sentences

        for shown in object_names.values():
            for sentences in state_sentences(shown, defects=defect_names):
                for sentence in sentences:
                    yield None, "clip", sentence

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """Features of whole images."""
        return {"features": paths.encodings("clip_features")}


Settings = ClipZeroShotMethod
