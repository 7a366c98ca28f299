"""Views."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.store import EncodingStore
from realitycheck.core.views import (
    View,
    map_view,
    points_view,
)
from realitycheck.encoders.clip import TextFeatures
from realitycheck.methods.views import Viewer, truth_of
from realitycheck.models.clip.surgery import points_from_map, similarity_map


def clip_surgery_sam_viewer(
    patches: tuple[EncodingStore, Mapping[str, str]],
    texts: TextFeatures,
    *,
    prompts: Sequence[str],
    settings: Mapping[str, Any],
    truth_folder: str | Path,
) -> Viewer:
    """Show the similarity map of every prompt that is used, and the points made from it.

    Args:
        patches: Stored patch features, and the key of each image's.
        texts: Features of texts.
        prompts: Phrases of the prompt set.
        settings: `switches`, `threshold`, `downsample`.
        truth_folder: Folder of the warped truth masks.
    """
    switches = settings["switches"]
    used = list(prompts[:1] if switches["first_prompt_only"] else prompts)
    text_features = np.stack([texts.ensemble(prompt) for prompt in used])
    redundant = texts.ensemble("")

    def view(row: Any, image: np.ndarray) -> list[View]:
        height, width = image.shape[:2]
        similarity = similarity_map(
            patches[0].get(patches[1][row.image_id])["tokens"],
            text_features,
            redundant_feature=redundant,
            norm_axis=switches["norm_axis"],
        )[1:]
        grid = round(len(similarity) ** 0.5)
        cells = grid // settings["downsample"]
        views = []
        for prompt, column in zip(used, similarity.T, strict=True):
            points, labels = points_from_map(
                column,
                height_px=height,
                width_px=width,
                threshold=settings["threshold"],
                downsample=settings["downsample"],
            )
            note = (
                f"Of {cells} × {cells} cells, those in the top "
                f"{100 * (1 - settings['threshold']):.0f} % of the map's range belong to it, and "
                "as many of the lowest do not."
                if len(points)
                else "The map is the same everywhere: there is no place to point at."
            )
            views += [
                map_view(
                    column.reshape(grid, grid),
                    image_size_hw=(height, width),
                    title=f"Similarity to '{prompt}'",
                    note=f"CLIP Surgery, {grid} × {grid} patches; bright: more alike.",
                    truth=truth_of(truth_folder, row.image_id),
                ),
                points_view(image, points, labels, title="Points for SAM", note=note),
            ]
        if len(used) < len(prompts):
            left = ", ".join(f"'{prompt}'" for prompt in prompts[1:])
            first = views[0]
            note = f"{first.note} As published, only the first prompt is used, not {left}."
            views[0] = replace(first, note=note)
        return views

    return view
