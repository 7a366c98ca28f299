"""Settings of `tuned_clip`, and the facts about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Job, MethodBlock


class TunedClipMethod(MethodBlock):
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
    learns_in_folds: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("clip",)
    judges_in_folds: ClassVar[bool] = True
    label: ClassVar[str] = "CLIP + CoOp"
    job: ClassVar[Job] = Job(
        "clip",
        opens=("clip",),
        kb_per_image=20,
        minutes=60,
        steps={"image features": "features"},
        packages=("open_clip_torch", "torch"),
    )
    names_object: ClassVar[bool] = True

    @property
    def learns_from(self) -> dict[str, Any]:
        """Labelled parts in folds."""
        return {"parts": "folds", "n_folds": self.n_folds, "seed": self.seed}

    def network_texts(
        self, told: Any, object_names: Mapping[str, str], defect_names: Sequence[str]
    ) -> Iterator[tuple[str | None, str, str]]:
        """Every call, with a word in the place of each vector that is learned."""
        from realitycheck.methods.tuned_clip.algorithm import CALLS

        places = " ".join(["x"] * self.n_context)
        for shown in object_names.values():
            for call in CALLS:
                yield None, "clip", f"{places} {call.replace('{}', shown)}."

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """Features of whole images."""
        return {"features": paths.encodings("clip_features")}


Settings = TunedClipMethod
