"""Stage 3: features of whole images, for the classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.core.provenance import source_digest
from realitycheck.core.store import EncodingStore
from realitycheck.models.clip.model import encode_crops
from realitycheck.models.resnet_features import feature_maps


def features_store(
    folder: str | Path, *, encoder: str, settings: Mapping[str, Any], weights: Mapping[str, str]
) -> EncodingStore:
    """Store of image features under these settings and weights, and today's code."""
    module = {
        "clip": "realitycheck.models.clip.model",
        "resnet": "realitycheck.models.resnet_features",
    }
    facts = {
        "encoder": f"features_{encoder}",
        "settings": dict(settings),
        "weights": weights,
        "code": source_digest(module[encoder]),
    }
    return EncodingStore(folder, facts=facts)


def feature_encoder(
    model: Callable[[], Any],
    *,
    encoder: str,
    input_size_px: int | None = None,
    precision: str = "float32",
) -> Callable[[Sequence[tuple[Any, np.ndarray]]], list[dict[str, np.ndarray]]]:
    """Encode whole images.

    Args:
        model: Gives the network.
        encoder: `clip` or `resnet`.
        input_size_px: `resnet`: side of its input.
        precision: `clip`: see `precision.arithmetic`.

    Returns:
        A function from rows of the transforms table, each with its image, to the arrays of each:
        `feature`, (D,), of CLIP; a map for each stage, `stage_1` and so on, of the residual
        network.
    """

    def compute(pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        images = [image for _, image in pairs]
        if encoder == "clip":
            return [
                {"feature": feature}
                for feature in encode_crops(model(), images, precision=precision)
            ]
        maps = feature_maps(model(), images, input_size_px=input_size_px)
        return [{f"stage_{n}": each for n, each in enumerate(own, start=1)} for own in maps]

    return compute
