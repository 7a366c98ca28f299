"""Stage 3: one feature vector an image, for the classifiers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from realitycheck.artifacts import image_file
from realitycheck.images import read_image
from realitycheck.models.clip import encode_crops
from realitycheck.models.resnet_features import image_features
from realitycheck.provenance import source_digest
from realitycheck.store import EncodingStore


def features_store(
    folder: str | Path, *, encoder: str, settings: Mapping[str, Any], weights: Mapping[str, str]
) -> EncodingStore:
    """Store of image features under these settings and weights, and today's code."""
    module = {"clip": "realitycheck.models.clip", "resnet": "realitycheck.models.resnet_features"}
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
    images_folder: str | Path,
    input_size_px: int | None = None,
) -> Callable[[Sequence[Any]], list[dict[str, np.ndarray]]]:
    """Encode whole images.

    Args:
        model: Gives the network.
        encoder: `clip` or `resnet`.
        images_folder: Folder of the aligned images.
        input_size_px: `resnet`: side of its input.

    Returns:
        A function from rows of the transforms table to `feature`, (D,), of each.
    """

    def compute(rows: Sequence[Any]) -> list[dict[str, np.ndarray]]:
        images = [read_image(image_file(images_folder, row.image_id)) for row in rows]
        if encoder == "clip":
            features = encode_crops(model(), images)
        else:
            features = image_features(model(), images, input_size_px=input_size_px)
        return [{"feature": feature} for feature in features]

    return compute
