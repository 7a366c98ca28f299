"""Settings of `adapted_sam`, and the facts about it."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.methods.paths import Paths
from realitycheck.methods.settings import Fit, Job, MethodBlock


class AdaptedSamMethod(MethodBlock):
    """SAM's mask decoder learns from the labelled images of the other folds."""

    kind: Literal["adapted_sam"]
    n_folds: int = Field(5, ge=2, description="stratified; views of one part stay together")
    n_steps: int = Field(200, ge=1, description="steps of the optimiser in each fold")
    batch_size: int = Field(4, ge=1, description="images a step; half of them show defects")
    learning_rate: float = Field(
        1e-3, gt=0, description="the highest one; chosen on the everyday network"
    )
    min_area_px: int = Field(20, ge=1, description="smaller regions are dust")
    seed: int = Field(0, ge=0, description="of folds and draws; that of resnet_mlp: same folds")
    prompt_key: ClassVar[str | None] = None
    gives_score_map: ClassVar[bool] = True
    learns_in_folds: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("sam",)
    judges_in_folds: ClassVar[bool] = True
    label: ClassVar[str] = "SAM, fine-tuned decoder"
    job: ClassVar[Job] = Job(
        "sam",
        kb_per_image=20,
        steps={"image encoder": "embeddings"},
        packages=("segment-anything", "torch"),
    )
    fits: ClassVar[Fit | None] = Fit(
        "sam",
        opens=("sam",),
        kb_per_image=400,
        minutes=120,
        packages=("segment-anything", "torch", "scikit-learn"),
        verb="train",
        reads_truth=True,
        outputs={"decoders": "decoders.safetensors"},
    )

    @property
    def learns_from(self) -> dict[str, Any]:
        """Labelled parts in folds."""
        return {"parts": "folds", "n_folds": self.n_folds, "seed": self.seed}

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """Decoders and folds, and SAM's embeddings."""
        return {
            "decoders": paths.prediction("decoders.safetensors"),
            "thresholds": paths.prediction("thresholds.parquet"),
            "embeddings": paths.encodings("sam_rgb"),
        }

    def fit_inputs(self, paths: Paths) -> dict[str, Any]:
        """Truth masks, and SAM's embeddings."""
        return {
            "transforms": paths.shards(paths.aligned),
            "truth": paths.truth,
            "embeddings": paths.encodings("sam_rgb"),
        }


Settings = AdaptedSamMethod
