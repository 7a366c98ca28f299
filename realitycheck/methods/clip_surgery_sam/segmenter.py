"""Stage 4: CLIP Surgery + SAM on stored patch features and stored embeddings."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from realitycheck.core.store import EncodingStore
from realitycheck.encoders.clip import TextFeatures
from realitycheck.methods.base import Segmentation
from realitycheck.methods.clip_surgery_sam import algorithm as clip_surgery_sam
from realitycheck.models.sam.inference import decode_points
from realitycheck.models.sam.model import SamModel


def clip_surgery_sam_segmenter(
    patches: EncodingStore,
    embeddings: EncodingStore,
    texts: TextFeatures,
    *,
    sam: SamModel,
    patch_keys: Mapping[str, str],
    embedding_keys: Mapping[str, str],
    prompts: Sequence[str],
    settings: Mapping[str, Any],
) -> Callable[[Any], Segmentation]:
    """Point at what fits the prompts, and let SAM draw it.

    Args:
        patches: Stored patch features.
        embeddings: Stored image embeddings.
        texts: Features of texts.
        sam: SAM's prompt encoder and mask decoder.
        patch_keys: Key of each image's patch features.
        embedding_keys: Key of each image's embedding.
        prompts: Phrases of the prompt set.
        settings: `switches`, `threshold`, `downsample`.
    """
    switches = settings["switches"]
    text_features = np.stack([texts.ensemble(prompt) for prompt in prompts])
    redundant = texts.ensemble("")

    def segment_one(row: Any) -> Segmentation:
        size = (int(row.height_px), int(row.width_px))

        def decode(points: np.ndarray, labels: np.ndarray) -> np.ndarray:
            embedding = embeddings.get(embedding_keys[row.image_id])["embedding"]
            return decode_points(sam, embedding, points, labels, image_size_hw=size)[0][0]

        return clip_surgery_sam.segment(
            patches.get(patch_keys[row.image_id])["tokens"],
            text_features,
            redundant_feature=redundant,
            decode_points=decode,
            image_size_hw=size,
            norm_axis=switches["norm_axis"],
            first_prompt_only=switches["first_prompt_only"],
            threshold=settings["threshold"],
            downsample=settings["downsample"],
        )

    return segment_one
