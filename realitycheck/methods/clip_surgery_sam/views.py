"""What CLIP Surgery + SAM saw: similarity maps, and the points made from them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from realitycheck.core.views import View, map_view, points_view
from realitycheck.methods.clip_surgery_sam.segmenter import ClipSurgerySam
from realitycheck.models.clip.surgery import points_from_map


def views(
    segmenter: ClipSurgerySam, row: Any, image: np.ndarray, truth: np.ndarray | None
) -> list[View]:
    """Show the similarity map of every prompt that is used, and the points made from it."""
    settings, used = segmenter.settings, segmenter.used_prompts
    height, width = image.shape[:2]
    similarity = segmenter.similarities(row)
    grid = round(len(similarity) ** 0.5)
    cells = grid // settings["downsample"]
    found = []
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
        found += [
            map_view(
                column.reshape(grid, grid),
                image_size_hw=(height, width),
                title=f"Similarity to '{prompt}'",
                note=f"CLIP Surgery, {grid} × {grid} patches; bright: more alike.",
                truth=truth,
            ),
            points_view(image, points, labels, title="Points for SAM", note=note),
        ]
    if len(used) < len(segmenter.prompts):
        left = ", ".join(f"'{prompt}'" for prompt in segmenter.prompts[1:])
        note = f"{found[0].note} As published, only the first prompt is used, not {left}."
        found[0] = replace(found[0], note=note)
    return found
