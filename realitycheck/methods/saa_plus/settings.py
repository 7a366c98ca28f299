"""Settings of `saa_plus`, and the facts about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

from pydantic import (
    Field,
)

from realitycheck.core.settings import (
    Fraction,
)
from realitycheck.methods.paths import Paths
from realitycheck.methods.saa_plus.prompts import DEFAULT_PROMPTS, detector_captions
from realitycheck.methods.settings import Fit, Job, PromptSettings, TruthUse, VariantBlock
from realitycheck.models.settings import DETECTION_FLOOR


class SaaPlusMethod(VariantBlock):
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
    #: Of the rule that makes the anomaly maps, before thresholds and masks.
    maps_job: ClassVar[Job] = Job(
        "sam",
        opens=("sam", "saliency"),
        kb_per_image=600,
        seconds_per_image=3,
        steps={"image encoder": "embeddings", "saliency": "saliency", "detector": "boxes"},
        packages=("segment-anything", "timm", "torch"),
    )
    job: ClassVar[Job] = Job(steps={"anomaly map": "maps"})
    judges_in_folds: ClassVar[bool] = True
    label: ClassVar[str] = "SAA+"
    fits: ClassVar[Fit | None] = Fit(memory_mb=1_000, kb_per_image=30)

    @property
    def colour(self) -> str:
        """Colour order that SAM and the saliency network see."""
        return "bgr" if self.all_switches()["bgr"] else "rgb"

    @property
    def learns_from(self) -> dict[str, Any] | None:
        """Good parts, where they set the threshold."""
        return {"parts": "good"} if self.binarise == "good" else None

    @property
    def needs_truth(self) -> bool:
        """Whether the threshold is the best one for the truth."""
        return self.binarise == "f1max"

    @property
    def test_truth(self) -> TruthUse | None:
        """How the rule for the threshold looks at what it is scored on."""
        remedy = "set binarise: good or union"
        if self.binarise == "f1max":
            reason = "the threshold is the best one for the truth of the scored images"
        elif self.binarise.startswith("fixed"):
            reason = "the threshold is a share of the range over the scored images"
        else:
            return super().test_truth
        return TruthUse("binarise", self.binarise, reason, remedy)

    def told(self, asked: PromptSettings | None) -> Any:
        """Its own prompts of a prompt set."""
        return asked.model_dump(mode="json")["saa_plus"] if asked else None

    def words(self, asked: PromptSettings | None, defect_names: Sequence[str]) -> str:
        """Nothing: its words depend on the categories."""
        return ""

    def summary(self, asked: PromptSettings) -> tuple[str, str]:
        """Its prompts by category, in few words."""
        return self.label, _words_of(self.told(asked))

    @classmethod
    def known_prompts(cls) -> list[str]:
        """Published classes, and the study's other two data sets."""
        return list(DEFAULT_PROMPTS)

    def caption_settings(self) -> dict[str, Any]:
        """The form of the caption for the product itself."""
        return {"object_comma": self.all_switches()["object_comma"]}

    def network_texts(
        self, told: Any, object_names: Mapping[str, str], defect_names: Sequence[str]
    ) -> Iterator[tuple[str | None, str, str]]:
        """Every caption of the known categories."""
        for category in object_names:
            for caption in detector_captions(told, category, **self.caption_settings()):
                yield "", "grounding_dino", caption

    def maps_settings(self) -> dict[str, Any]:
        """What the anomaly maps depend on."""
        return self.only("switches", "box_threshold", "text_threshold")

    def inputs(self, paths: Paths) -> dict[str, Any]:
        """Anomaly maps and thresholds, and what the maps were made from."""
        return {
            "boxes": paths.boxes,
            "saliency": paths.encodings(f"saliency_{self.colour}"),
            "maps": paths.predictions("maps", "maps"),
            "thresholds": paths.prediction("thresholds.parquet"),
        }

    def fit_inputs(self, paths: Paths) -> dict[str, Any]:
        """Maps of the scored images, and what else the rule for the threshold looks at."""
        good, best = self.binarise == "good", self.binarise == "f1max"
        return {
            "maps": paths.predictions("maps", "maps"),
            "calibration": paths.calibration_predictions("maps", "maps") if good else [],
            "truth": [paths.truth] if best else [],
        }

    def map_inputs(self, paths: Paths) -> dict[str, Any]:
        """Files that the anomaly maps are made from."""
        return {
            "boxes": paths.boxes,
            "embeddings": paths.encodings(f"sam_{self.colour}"),
            "saliency": paths.encodings(f"saliency_{self.colour}"),
        }


def _words_of(prompts: Any) -> str:
    if isinstance(prompts, str):
        return "its prompts for known products" if prompts == "auto" else prompts
    parts = []
    for category, block in prompts.items():
        if isinstance(block, str):
            words = f"its prompts for {block}"
        else:
            pairs = [f"{defect} on {product}" for defect, product in block["class_prompts"]]
            words = "; ".join([block["class_name"], *pairs])
        parts.append(words if category == "default" else f"{category}: {words}")
    return "; ".join(parts)


Settings = SaaPlusMethod
