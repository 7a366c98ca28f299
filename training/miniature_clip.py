"""Miniature CLIP and residual network: seeded, untrained, in the official key layouts.

See `training.miniatures`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch

CLIP_SIZES = {
    "embed_dim": 32,
    "image_size": 224,
    "patch_size": 16,
    "vision_width": 64,
    "vision_layers": 12,
    "context_length": 77,
    "vocab_size": 49408,
    "text_width": 64,
    "text_layers": 2,
}
SALIENCY_SIZES = {"layers": [1, 1, 1, 1], "channels": [4, 8, 16, 32]}

CLIP_FILE = "miniature_clip.safetensors"
SALIENCY_FILE = "miniature_saliency.safetensors"


def write_miniature_clip(folder: Path | str, *, seed: int = 0) -> Path:
    """Write a miniature CLIP ViT: patch 16, 224 px, 12 vision blocks of width 64, half precision.

    A bias that all images share keeps their features close to each other, as training does, so that
    a softmax at CLIP's logit scale is neither flat nor decided by one crop.

    Args:
        folder: Where to write; is made if missing.
        seed: Of the weights; each tensor depends on the seed and its own name only.

    Returns:
        The file, safetensors, of a CLIP of `CLIP_SIZES`.
    """
    from realitycheck.models.clip.model import build_clip

    def deviation_and_mean(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
        if name == "visual.ln_post.bias":
            return 2.5, 0.0
        if name == "logit_scale":
            return 0.0, math.log(100.0)
        if name == "visual.conv1.weight":  # inputs are normalised; patches should matter
            return 2.0 / math.sqrt(math.prod(shape[1:])), 0.0
        if name.endswith("embedding") or name.endswith("embedding.weight"):
            return 0.3, 0.0
        if len(shape) == 1:
            return (0.05, 1.0) if name.endswith("weight") else (0.05, 0.0)
        if name in ("visual.proj", "text_projection"):
            return 1.0 / math.sqrt(shape[0]), 0.0
        return 1.0 / math.sqrt(shape[1]), 0.0

    state = _random_state(
        build_clip(CLIP_SIZES).state_dict(), deviation_and_mean, scope="clip", seed=seed
    )
    return _save({key: value.half() for key, value in state.items()}, Path(folder) / CLIP_FILE)


def write_miniature_saliency(folder: Path | str, *, seed: int = 0) -> Path:
    """Write a miniature wide residual network: one block a stage, 16 to 128 channels.

    Args:
        folder: Where to write; is made if missing.
        seed: Of the weights; each tensor depends on the seed and its own name only.

    Returns:
        The file, safetensors, of a network of `SALIENCY_SIZES`.
    """
    from realitycheck.models.saliency import build_saliency

    def deviation_and_mean(name: str, shape: tuple[int, ...]) -> tuple[float, float]:
        if name.endswith("running_var"):
            return 0.0, 1.0
        if len(shape) == 1:
            return (0.1, 1.0) if name.endswith("weight") else (0.1, 0.0)
        return math.sqrt(2.0 / math.prod(shape[1:])), 0.0

    state = _random_state(
        build_saliency(SALIENCY_SIZES, features_only=False).state_dict(),
        deviation_and_mean,
        scope="saliency",
        seed=seed,
    )
    return _save(state, Path(folder) / SALIENCY_FILE)


def _random_state(
    state: Mapping[str, torch.Tensor],
    deviation_and_mean: Callable[[str, tuple[int, ...]], tuple[float, float]],
    *,
    scope: str,
    seed: int,
) -> dict[str, torch.Tensor]:
    """Draw every floating tensor anew, from a stream of its own; counters stay 0."""
    import torch

    drawn = {}
    for name, tensor in state.items():
        if not tensor.is_floating_point():
            drawn[name] = torch.zeros_like(tensor)
            continue
        key = hashlib.sha256(f"{seed}:{scope}:{name}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(key[:16], "little"))
        deviation, mean = deviation_and_mean(name, tuple(tensor.shape))
        values = mean + deviation * rng.standard_normal(tuple(tensor.shape), np.float32)
        drawn[name] = torch.from_numpy(np.asarray(values, np.float32))
    return drawn


def _save(state: dict[str, torch.Tensor], path: Path) -> Path:
    """Write safetensors under a passing name first, so that a killed run leaves no half file."""
    from safetensors.torch import save_file

    path.parent.mkdir(parents=True, exist_ok=True)
    passing = path.with_name(path.name + ".part")
    save_file({key: value.contiguous() for key, value in state.items()}, passing)
    return passing.replace(path)
