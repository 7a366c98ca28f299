"""Feature maps of whole images, for classifiers and the memory bank."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from realitycheck.encoders.base import Encoder


class ResnetFeatures(Encoder):
    """A map for each stage of the residual network, `stage_1` and so on, (C, G, G)."""

    rule = "encode_resnet_features"
    summary = "Encode whole images with the frozen residual network of the supervised baseline."
    step = "resnet features"
    counted = "images whose resnet features are encoded"
    network = "resnet"
    folder = "resnet_features_{size}"
    log_folder = "{size}"
    seconds_per_image = 2
    code = ("realitycheck.models.resnet_features",)

    def encode(self, pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Compute the maps at the settings' `input_size_px`."""
        from realitycheck.models.resnet_features import feature_maps

        images = [image for _, image in pairs]
        maps = feature_maps(self.model(), images, input_size_px=self.settings["input_size_px"])
        return [{f"stage_{n}": each for n, each in enumerate(own, start=1)} for own in maps]
