"""What SAM + CLIP saw: automatic masks, and each one's share of the softmax."""

from __future__ import annotations

from typing import Any

import numpy as np

from realitycheck.core.views import Candidate, View, list_view, masks_view
from realitycheck.methods.sam_clip.segmenter import SamClip
from realitycheck.models.clip.model import decode_mask, select_masks


def views(segmenter: SamClip, row: Any, image: np.ndarray, truth: np.ndarray | None) -> list[View]:
    """Show SAM's automatic masks, those that CLIP selected, and each one's share of the softmax."""
    settings, prompts = segmenter.settings, segmenter.prompts
    limit = settings["threshold"]
    records, features = segmenter.candidates(row)
    shares, selected = np.zeros((len(prompts), len(records))), set()
    for index, text_feature in enumerate(segmenter.text_features):
        chosen, shares[index] = select_masks(
            features, text_feature, logit_scale=settings["logit_scale"], threshold=limit
        )
        selected.update(chosen.tolist())
    best = shares.max(axis=0)
    order = np.argsort(-best, kind="stable").tolist()
    candidates = [
        Candidate(
            number, float(best[index]), prompts[int(shares[:, index].argmax())], index in selected
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
            [decode_mask(records[index]) for index in order],
            names=[str(c.number) if c.number <= 12 or c.is_kept else "" for c in candidates],
            is_selected=[each.is_kept for each in candidates],
            title="Automatic masks",
            note=note,
        ),
        list_view(
            candidates,
            title="Share of the softmax, prompt",
            threshold=limit,
            note="The shares of all masks of an image sum to 1 for each prompt: they compare its "
            "masks with each other."
            if candidates
            else "There is no mask to choose from.",
        ),
    ]
