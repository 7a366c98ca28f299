"""Stage 3: saliency maps of SAA+, for images that show one product."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.provenance import source_digest
from realitycheck.core.store import EncodingStore
from realitycheck.models.saliency import single_instance_saliency


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
    model: Callable[[], Any], *, colour: str
) -> Callable[[Sequence[tuple[Any, np.ndarray]]], list[dict[str, np.ndarray]]]:
    """Compute saliency maps.

    Args:
        model: Gives the residual network.
        colour: `rgb` or `bgr`, the order that the network sees.

    Returns:
        A function from rows of the transforms table, each with its image, to `saliency`, (64, 64).
    """

    def compute(pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        return [
            {"saliency": single_instance_saliency(model(), image, bgr=colour == "bgr")}
            for _, image in pairs
        ]

    return compute
