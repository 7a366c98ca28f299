"""Settings of `resnet_mlp`, and the facts about it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Job, MethodBlock
from realitycheck.metrics.folds import LEAST_GOOD_PARTS


class ResnetMlpMethod(MethodBlock):
    """Supervised baseline: frozen ResNet features, MLP head, stratified folds (the study)."""

    kind: Literal["resnet_mlp"]
    input_size_px: int = Field(512, ge=64, le=2048, multiple_of=16, description="of the network")
    n_folds: int = Field(5, ge=2, description="stratified; views of one part stay together")
    hidden_units: tuple[int, ...] = Field((128,), min_length=1, description="of the MLP's layers")
    weight_decay: float = Field(
        10.0,
        ge=0,
        description="L2 penalty on the MLP's weights; halved in a fold until the MLP learns "
        "anything there",
    )
    max_epochs: int = Field(300, ge=10, description="most steps over all training images")
    beta: float = Field(2.0, gt=0, description="the threshold is the best F-beta on training folds")
    seed: int = Field(0, ge=0)
    prompt_key: ClassVar[str | None] = None
    gives_masks: ClassVar[bool] = False
    learns_in_folds: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("resnet",)
    judges_in_folds: ClassVar[bool] = True
    label: ClassVar[str] = "ResNet + MLP"
    job: ClassVar[Job] = Job(
        kb_per_image=6_000,
        minutes=60,
        steps={"image features": "features"},
        packages=("scikit-learn",),
    )

    @property
    def learns_from(self) -> dict[str, Any]:
        """Labelled parts in folds, and good ones of each category in folds of those."""
        return {
            "parts": "folds",
            "n_folds": self.n_folds,
            "seed": self.seed,
            "least_good_parts": LEAST_GOOD_PARTS,
        }

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """Feature maps of whole images."""
        return {"features": paths.encodings(f"resnet_features_{self.input_size_px}")}


Settings = ResnetMlpMethod
