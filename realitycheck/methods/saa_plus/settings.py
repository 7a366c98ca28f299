"""Settings."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.core.settings import (
    Fraction,
)
from realitycheck.methods.settings import _VariantMethod
from realitycheck.models.settings import DETECTION_FLOOR


class SaaPlusMethod(_VariantMethod):
    """Segment Any Anomaly +: several prompts, filtered boxes, saliency."""

    kind: Literal["saa_plus"]
    box_threshold: float = Field(0.10, ge=DETECTION_FLOOR, lt=1)
    text_threshold: float = Field(0.10, ge=0.0, lt=1)
    binarise: str = Field(
        "f1max",
        pattern=r"^(union|f1max|good|fixed:(0(\.\d+)?|1(\.0+)?))$",
        description="from the anomaly map to a mask. f1max: best F1 on the test set's truth, as "
        "published (flagged uses_test_truth); good: threshold from good images; union; fixed:<t>",
    )
    eval_resolution: Literal["native", "400"] = Field(
        "native", description="size at which map and truth meet; 400 as in the published code"
    )
    max_overkill_rate: Fraction = Field(
        0.05, description="binarise good: share of good images that the threshold may reject"
    )
    n_folds: int = Field(5, ge=2, description="binarise good: folds without training images")
    seed: int = Field(0, ge=0)
    prompt_key: ClassVar[str | None] = "saa_plus"
    gives_score_map: ClassVar[bool] = True
    networks: ClassVar[tuple[str, ...]] = ("sam", "grounding_dino", "saliency")

    @property
    def uses_test_truth(self) -> bool:
        """Whether the mask looks at the images, or the truth, that it is scored with."""
        return self.binarise == "f1max" or self.binarise.startswith("fixed")

    def maps_settings(self) -> dict[str, Any]:
        """What the anomaly maps depend on."""
        return self._only("switches", "box_threshold", "text_threshold")
