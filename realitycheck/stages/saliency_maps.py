"""Stage 3: saliency maps of SAA+, for images that show one product."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.artifacts import image_file
from realitycheck.images import read_image
from realitycheck.models.saliency import single_instance_saliency
from realitycheck.provenance import source_digest
from realitycheck.store import EncodingStore


def saliency_store(
    folder: str | Path, *, settings: Mapping[str, Any], weights: Mapping[str, str], colour: str
) -> EncodingStore:
    """Store of saliency maps under these settings and weights, and today's code."""
    facts = {
        "encoder": "saliency",
        "colour": colour,
        "settings": dict(settings),
        "weights": weights,
        "code": source_digest("realitycheck.models.saliency"),
    }
    return EncodingStore(folder, facts=facts)


def saliency_encoder(
    model: Callable[[], Any], *, images_folder: str | Path, colour: str
) -> Callable[[Sequence[Any]], list[dict[str, np.ndarray]]]:
    """Compute saliency maps.

    Args:
        model: Gives the residual network.
        images_folder: Folder of the aligned images.
        colour: `rgb` or `bgr`, the order that the network sees.

    Returns:
        A function from rows of the transforms table to `saliency`, (64, 64), of each.
    """

    def compute(rows: Sequence[Any]) -> list[dict[str, np.ndarray]]:
        return [
            {
                "saliency": single_instance_saliency(
                    model(),
                    read_image(image_file(images_folder, row.image_id)),
                    bgr=colour == "bgr",
                )
            }
            for row in rows
        ]

    return compute
