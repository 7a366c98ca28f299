"""CLIP Surgery + SAM on stored patch features and stored embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np

from realitycheck.encoders.base import Encodings
from realitycheck.encoders.clip import TextFeatures
from realitycheck.methods.base import Inputs, Run, Segmentation
from realitycheck.methods.clip import open_texts
from realitycheck.methods.clip_surgery_sam import algorithm as clip_surgery_sam
from realitycheck.methods.sam import open_decoder
from realitycheck.models.clip.surgery import similarity_map
from realitycheck.models.sam.inference import decode_points


def open(inputs: Inputs, run: Run, device: str) -> ClipSurgerySam:
    """Open the stored features; SAM's decoder is loaded for the first mask."""
    return ClipSurgerySam(
        inputs.encodings("patches"),
        inputs.encodings("embeddings"),
        open_texts(inputs, run, device),
        open_decoder(inputs, run, device),
        prompts=run.told,
        settings=run.settings,
    )


@dataclass(frozen=True)
class ClipSurgerySam:
    """CLIP Surgery + SAM on stored features.

    Attributes:
        patches: Stored patch features.
        embeddings: Stored image embeddings.
        texts: Features of texts.
        sam: Gives SAM's prompt encoder and mask decoder.
        prompts: Phrases of the prompt set.
        settings: `switches`, `threshold`, `downsample`.
    """

    patches: Encodings
    embeddings: Encodings
    texts: TextFeatures
    sam: Callable[[], Any]
    prompts: Sequence[str]
    settings: Mapping[str, Any]

    @property
    def used_prompts(self) -> Sequence[str]:
        """Prompts that play a part; as published, the first alone."""
        first_only = self.settings["switches"]["first_prompt_only"]
        return self.prompts[:1] if first_only else self.prompts

    @cached_property
    def _text_features(self) -> np.ndarray:
        return np.stack([self.texts.ensemble(prompt) for prompt in self.prompts])

    @cached_property
    def _redundant(self) -> np.ndarray:
        return self.texts.ensemble("")

    def similarities(self, row: Any) -> np.ndarray:
        """Similarity of each patch to each used prompt, (g², K)."""
        return similarity_map(
            self.patches.of(row.image_id)["tokens"],
            self._text_features[: len(self.used_prompts)],
            redundant_feature=self._redundant,
            norm_axis=self.settings["switches"]["norm_axis"],
        )[1:]

    def score_map(self, row: Any) -> np.ndarray:
        """Highest similarity to a used prompt, float32, (H, W), bilinear between patches."""
        similarity = self.similarities(row).max(axis=1)
        side = round(len(similarity) ** 0.5)
        return cv2.resize(
            similarity.reshape(side, side).astype(np.float32),
            (int(row.width_px), int(row.height_px)),
            interpolation=cv2.INTER_LINEAR,
        )

    def segment(self, row: Any) -> Segmentation:
        """Point at what fits the prompts, and let SAM draw it."""
        size = (int(row.height_px), int(row.width_px))
        switches = self.settings["switches"]

        def decode(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
            embedding = self.embeddings.of(row.image_id)["embedding"]
            return decode_points(self.sam(), embedding, points, labels, image_size_hw=size)[0][0]

        return clip_surgery_sam.segment(
            self.patches.of(row.image_id)["tokens"],
            self._text_features,
            redundant_feature=self._redundant,
            decode_points=decode,
            image_size_hw=size,
            norm_axis=switches["norm_axis"],
            first_prompt_only=switches["first_prompt_only"],
            threshold=self.settings["threshold"],
            downsample=self.settings["downsample"],
        )
