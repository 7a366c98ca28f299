"""SAM + CLIP on stored masks, stored crop features and text features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from realitycheck.encoders.automatic_masks import unpacked_masks
from realitycheck.encoders.base import Encodings
from realitycheck.encoders.clip import TextFeatures
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.clip import open_texts
from realitycheck.methods.sam_clip import algorithm as sam_clip


def open(inputs: Inputs, run: Run, device: str) -> SamClip:
    """Open the stored masks and features."""
    return SamClip(
        inputs.encodings("masks"),
        inputs.encodings("crops"),
        open_texts(inputs, run, device),
        prompts=run.told,
        settings=run.settings,
    )


@dataclass(frozen=True)
class SamClip:
    """SAM + CLIP on stored masks and features.

    Attributes:
        masks: Stored automatic masks.
        crops: Stored features of their crops.
        texts: Features of texts.
        prompts: Phrases of the prompt set, as they stand.
        settings: `logit_scale`, `threshold`.
    """

    masks: Encodings
    crops: Encodings
    texts: TextFeatures
    prompts: Sequence[str]
    settings: Mapping[str, Any]

    @cached_property
    def text_features(self) -> np.ndarray:
        """Feature of each prompt, (K, D)."""
        return np.stack([self.texts.bare(prompt) for prompt in self.prompts])

    def candidates(self, row: Any) -> tuple[list[dict[str, Any]], np.ndarray]:
        """Automatic masks of an image, and the features of their crops, (M, D)."""
        size = {"height_px": int(row.height_px), "width_px": int(row.width_px)}
        masks = unpacked_masks(self.masks.of(row.image_id), **size)
        return masks, self.crops.of(row.image_id)["features"]

    def segment(self, row: Any) -> Segmentation:
        """Unite the automatic masks that fit the prompts."""
        masks, features = self.candidates(row)
        return sam_clip.segment(
            features,
            self.text_features,
            masks=masks,
            image_size_hw=(int(row.height_px), int(row.width_px)),
            logit_scale=self.settings["logit_scale"],
            threshold=self.settings["threshold"],
        )
