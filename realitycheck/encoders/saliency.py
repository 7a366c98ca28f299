"""Saliency maps of SAA+, for images that show one product."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from realitycheck.encoders.base import Encoder


class SaliencyMaps(Encoder):
    """`saliency`, (64, 64), of an image in a colour order."""

    rule = "encode_saliency"
    summary = "Compute the saliency maps of SAA+."
    step = "saliency"
    counted = "saliency maps"
    network = "saliency"
    folder = log_folder = "saliency_{colour}"
    seconds_per_image = 1
    is_batched = False
    code = ("realitycheck.models.saliency",)

    def encode(self, pairs: Sequence[tuple[Any, np.ndarray]]) -> list[dict[str, np.ndarray]]:
        """Compute the map of each image."""
        from realitycheck.models.saliency import single_instance_saliency

        return [
            {"saliency": single_instance_saliency(self.model(), image, bgr=self.colour == "bgr")}
            for _, image in pairs
        ]
