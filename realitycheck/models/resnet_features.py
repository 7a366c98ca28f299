"""Whole-image features of a frozen residual network, for a classifier on top."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def image_features(
    model: torch.nn.Module, images: Sequence[np.ndarray], *, input_size_px: int
) -> np.ndarray:
    """Pool the feature maps of the first three stages over the image.

    Each map is pooled twice: its mean says what the image is like as a whole, its maximum keeps
    what a small defect does in one place.

    Source: section 3.3 of the study, "a pre-trained feature extractor based on a ResNet model"; it
    names neither depth nor pooling, which are ours.

    Args:
        model: From `realitycheck.models.saliency.load_saliency`; frozen.
        images: N images, uint8 RGB, (H, W, 3), of any sizes.
        input_size_px: Side of the square they are resized to, a multiple of 16.

    Returns:
        float32, (N, D), D twice the sum of the stages' channels.
    """
    import torch

    mean = np.array(IMAGENET_MEAN, np.float32) * 255
    std = np.array(IMAGENET_STD, np.float32) * 255
    device = next(model.parameters()).device
    rows = []
    for image in images:
        shrinks = max(image.shape[:2]) > input_size_px
        resized = cv2.resize(
            image,
            (input_size_px, input_size_px),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR,
        )
        pixels = torch.from_numpy(((resized - mean) / std).transpose(2, 0, 1)).float()[None]
        with torch.inference_mode():
            stages = model(pixels.to(device))
            pooled = [
                pool
                for stage in stages
                for pool in (stage.mean(dim=(2, 3)), stage.amax(dim=(2, 3)))
            ]
        rows.append(torch.cat(pooled, dim=1)[0].float().cpu().numpy())
    return np.stack(rows)
