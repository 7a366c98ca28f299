"""Views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from realitycheck.core.store import EncodingStore
from realitycheck.core.views import (
    Candidate,
    View,
    list_view,
    masks_view,
)
from realitycheck.encoders.automatic_masks import unpacked_masks
from realitycheck.encoders.clip import TextFeatures
from realitycheck.methods.views import Viewer
from realitycheck.models.clip.model import decode_mask as decode_record
from realitycheck.models.clip.model import select_masks


def sam_clip_viewer(
    masks: tuple[EncodingStore, Mapping[str, str]],
    crops: tuple[EncodingStore, Mapping[str, str]],
    texts: TextFeatures,
    *,
    prompts: Sequence[str],
    settings: Mapping[str, Any],
) -> Viewer:
    """Show SAM's automatic masks, those that CLIP selected, and each one's share of the softmax.

    Args:
        masks: Stored automatic masks, and the key of each image's.
        crops: Stored features of their crops, and the key of each image's.
        texts: Features of texts.
        prompts: Phrases of the prompt set.
        settings: `logit_scale`, `threshold`.
    """
    text_features = [texts.bare(prompt) for prompt in prompts]
    limit = settings["threshold"]

    def view(row: Any, image: np.ndarray) -> list[View]:
        size = image.shape[:2]
        records = unpacked_masks(
            masks[0].get(masks[1][row.image_id]), height_px=size[0], width_px=size[1]
        )
        features = crops[0].get(crops[1][row.image_id])["features"]
        shares, selected = np.zeros((len(prompts), len(records))), set()
        for index, text_feature in enumerate(text_features):
            chosen, shares[index] = select_masks(
                features, text_feature, logit_scale=settings["logit_scale"], threshold=limit
            )
            selected.update(chosen.tolist())
        best = shares.max(axis=0)
        order = np.argsort(-best, kind="stable").tolist()
        candidates = [
            Candidate(
                number,
                float(best[index]),
                prompts[int(shares[:, index].argmax())],
                index in selected,
            )
            for number, index in enumerate(order, start=1)
        ]
        note = (
            f"SAM cut out {len(records)} masks without knowing the prompt; CLIP selected "
            f"{len(selected)}."
        )
        return [
            masks_view(
                image,
                [decode_record(records[index]) for index in order],
                names=[str(c.number) if c.number <= 12 or c.is_kept else "" for c in candidates],
                is_selected=[each.is_kept for each in candidates],
                title="Automatic masks",
                note=note,
            ),
            list_view(
                candidates,
                title="Share of the softmax, prompt",
                threshold=limit,
                note="The shares of all masks of an image sum to 1 for each prompt: they compare "
                "its masks with each other."
                if candidates
                else "There is no mask to choose from.",
            ),
        ]

    return view
