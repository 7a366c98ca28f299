"""Stage 4: SAM + CLIP on stored masks, stored crop features and text features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from realitycheck.core.store import EncodingStore
from realitycheck.encoders.automatic_masks import unpacked_masks
from realitycheck.encoders.clip import TextFeatures
from realitycheck.methods.base import Segmentation
from realitycheck.methods.sam_clip import algorithm as sam_clip


def sam_clip_segmenter(
    masks: EncodingStore,
    crops: EncodingStore,
    texts: TextFeatures,
    *,
    mask_keys: Mapping[str, str],
    crop_keys: Mapping[str, str],
    prompts: Sequence[str],
    settings: Mapping[str, Any],
) -> Callable[[Any], Segmentation]:
    """Pick the automatic masks that fit the prompts.

    Args:
        masks: Stored automatic masks.
        crops: Stored features of their crops.
        texts: Features of texts.
        mask_keys: Key of each image's masks.
        crop_keys: Key of each image's crop features.
        prompts: Phrases of the prompt set, as they stand.
        settings: `logit_scale`, `threshold`.
    """
    text_features = np.stack([texts.bare(prompt) for prompt in prompts])

    def segment_one(row: Any) -> Segmentation:
        size = (int(row.height_px), int(row.width_px))
        return sam_clip.segment(
            crops.get(crop_keys[row.image_id])["features"],
            text_features,
            masks=unpacked_masks(
                masks.get(mask_keys[row.image_id]), height_px=size[0], width_px=size[1]
            ),
            image_size_hw=size,
            logit_scale=settings["logit_scale"],
            threshold=settings["threshold"],
        )

    return segment_one
