"""Saliency: which places of an image look unlike the rest of it.

SAA+ compares features of a pretrained residual network within one image: a place whose like is not
found elsewhere is salient. The map knows nothing of the text prompt.

Sources: Cao et al. (2023), "Segment Any Anomaly without Training via Hybrid Prompt
Regularization", and its repository; He et al. (2016) and Zagoruyko & Komodakis (2016) for the wide
residual network, used through `timm`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from realitycheck.core.images import check_image
from realitycheck.core.imports import lean_imports
from realitycheck.models import cpu_linear
from realitycheck.models.checkpoints.read import check_keys, check_shapes, load_state
from realitycheck.models.precision import arithmetic

if TYPE_CHECKING:
    import torch

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

ARCHITECTURE = "wide_resnet50_2"
"""timm's name; the weights that SAA+ means are its tag `racm_in1k`, not torchvision's."""

VARIANTS: dict[str, dict[str, Sequence[int]]] = {
    "wide_resnet50_2": {"layers": (3, 4, 6, 3), "channels": (64, 128, 256, 512)},
    "everyday": {"layers": (1, 1, 1, 1), "channels": (8, 16, 32, 64)},
}
"""Blocks and base channels of the four stages; a stage has four times its base as output."""

SINGLE_INPUT_PX = 256
MULTI_INPUT_PX = 1024
N_LARGEST = 400
"""A place's saliency is the mean over this many of its largest distances."""


def saliency_sizes(variant: str | Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Return the blocks (`layers`) and base channels of the four stages of a variant.

    Args:
        variant: A key of `VARIANTS`, or a mapping with `layers` and `channels`, four numbers each.

    Raises:
        ValueError: If the name is unknown, or the mapping has other keys or lengths.
    """
    sizes = VARIANTS.get(variant) if isinstance(variant, str) else dict(variant)
    if (
        sizes is None
        or set(sizes) != {"layers", "channels"}
        or any(len(values) != 4 for values in sizes.values())
    ):
        raise ValueError(
            f"saliency variant: expected one of {', '.join(VARIANTS)}, or a mapping with layers "
            f"and channels of four numbers each, found {variant!r}"
        )
    return {key: tuple(int(value) for value in values) for key, values in sizes.items()}


def build_saliency(
    variant: str | Mapping[str, Sequence[int]], *, features_only: bool
) -> torch.nn.Module:
    """Build timm's wide residual network without weights.

    Args:
        variant: See `saliency_sizes`.
        features_only: True gives the three stages that saliency reads, False the whole network as
            its checkpoint stores it.
    """
    with lean_imports():
        from timm.models.resnet import wide_resnet50_2

    extra: dict[str, Any] = (
        {"features_only": True, "out_indices": (1, 2, 3)} if features_only else {}
    )
    return wide_resnet50_2(pretrained=False, **saliency_sizes(variant), **extra)


#: Names of what no stage here reads: the fourth stage, the classifier.
_UNREAD = ("layer4.", "fc.")


def load_saliency(
    path: Path | str,
    *,
    variant: str | Mapping[str, Sequence[int]] = ARCHITECTURE,
    device: str = "cpu",
) -> torch.nn.Module:
    """Load the backbone whose first three stages give the saliency features.

    Args:
        path: Weights of the whole network, in the key layout that timm and torchvision share;
            safetensors or a state dict.
        variant: See `saliency_sizes`.
        device: Where the model shall live.

    Returns:
        A model in eval mode, float32, without gradients; it maps (N, 3, S, S) to three feature maps
        at strides 4, 8 and 16.

    Raises:
        ValueError: If a key is missing, or one is left over that belongs neither to the fourth
            stage nor to the classifier, or a tensor has another shape than the variant asks for.
    """
    import torch

    state = load_state(path, unread=_UNREAD)
    model = build_saliency(variant, features_only=True)
    needed = {k: v for k, v in state.items() if not k.startswith(_UNREAD)}
    check_shapes(needed, model.state_dict(), path=path)
    missing, unexpected = model.load_state_dict(
        {k: v.to(torch.float32) if v.is_floating_point() else v for k, v in needed.items()},
        strict=False,
    )
    check_keys(missing, unexpected, path=path)
    # With channels last, small networks take half the time on a CPU; large ones the same.
    return model.eval().requires_grad_(False).to(device, memory_format=torch.channels_last)


def saliency_features(
    model: torch.nn.Module, image: np.ndarray, *, input_size_px: int, bgr: bool, precision: str
) -> torch.Tensor:
    """Compute one feature of length 1 per place of the first stage's grid.

    The image is resized to a square, its aspect ratio lost; the second and third stage are brought
    to the grid of the first by repeating values, and all channels are joined.

    Source: SAA+, the feature extractor of its saliency prompts.

    Args:
        model: From `load_saliency`.
        image: uint8 RGB, shape (H, W, 3).
        input_size_px: Side of the square in pixels, a multiple of 16.
        bgr: Published slip: the channels go in as blue, green, red into a network that expects
            red, green, blue.
        precision: Of the network, see `precision.arithmetic`; features are compared in float32.

    Returns:
        float32 on the model's device, shape (g², D), row by row, with g = input_size_px / 4.
    """
    import cv2
    import torch
    from torch.nn.functional import interpolate, normalize

    check_image(image)
    square = (input_size_px, input_size_px)
    resized = cv2.resize(np.ascontiguousarray(image), square, interpolation=cv2.INTER_LINEAR)
    if bgr:
        resized = np.ascontiguousarray(resized[..., ::-1])
    mean = torch.tensor(IMAGENET_MEAN, dtype=torch.float32) * 255
    std = torch.tensor(IMAGENET_STD, dtype=torch.float32) * 255
    pixels = ((torch.from_numpy(resized).to(torch.float32) - mean) / std).permute(2, 0, 1)
    device = next(model.parameters()).device
    with torch.inference_mode():
        with arithmetic(device, precision):
            stages = [stage.float() for stage in model(pixels[None].to(device))]
        grid = stages[0].shape[-2:]
        joined = torch.cat(
            [stages[0], *(interpolate(stage, grid, mode="nearest") for stage in stages[1:])], dim=1
        )
        return normalize(joined[0].flatten(1).T, dim=1)


def single_instance_saliency(
    model: torch.nn.Module,
    image: np.ndarray,
    *,
    bgr: bool,
    precision: str = "float32",
    n_largest: int = N_LARGEST,
    chunk_rows: int = 1024,
) -> np.ndarray:
    """Compute how unlike its surroundings each place of an image is.

    D[p, q] = (1 - f[p]·f[q]) / 2;  s[p] = mean of the `n_largest` largest D[p, ·]

    Only the largest distances are selected, without sorting, and a block of rows at a time: the
    whole matrix would take 64 MB. On a CPU NumPy selects, in place, in two thirds of torch's time.

    Source: SAA+, saliency prompt of a single instance.

    Args:
        model: From `load_saliency`.
        image: uint8 RGB, shape (H, W, 3).
        bgr: See `saliency_features`.
        precision: See `saliency_features`.
        n_largest: Distances averaged per place.
        chunk_rows: Places compared at once; bounds memory, no influence on the result.

    Returns:
        float32, shape (64, 64), 0 to 1. It is all that a cache must hold; `resize_saliency` brings
        it to the image.
    """
    import torch

    features = saliency_features(
        model, image, input_size_px=SINGLE_INPUT_PX, bgr=bgr, precision=precision
    ).contiguous()
    grid = round(len(features) ** 0.5)
    means = []
    with torch.inference_mode():
        for start in range(0, len(features), chunk_rows):
            likeness = cpu_linear.linear(features[start : start + chunk_rows], features)
            means.append((1 - _smallest(likeness, n_largest)).mul_(0.5).mean(dim=1))
        return torch.cat(means).reshape(grid, grid).cpu().numpy()


def _smallest(values: torch.Tensor, n: int) -> torch.Tensor:
    """The n smallest values of each row, in any order; on a CPU the rows are rearranged."""
    if values.device.type == "cpu":
        values.numpy().partition(n - 1, axis=1)
        return values[:, :n]
    return values.topk(n, dim=1, largest=False, sorted=False).values


def multi_instance_saliency(
    model: torch.nn.Module,
    image: np.ndarray,
    *,
    object_masks: Sequence[np.ndarray] | np.ndarray,
    bgr: bool,
    precision: str = "float32",
    chunk_values: int = 32_000_000,
) -> np.ndarray:
    """Compute how unlike the other objects of the image each place of an object is.

    For object i: s[p] = (1 - max over places q of the other objects of f[p]·f[q]) / 2 at its own
    places p. A place that i shares with another object has its feature set to zero among the
    others. Objects are combined by the maximum; places outside all objects have 0.

    Source: SAA+, saliency prompt of several instances. Where it fails, because fewer than two
    objects have a place on the grid, the single-instance map is returned. The input size is always
    1024, whatever was asked before.

    Args:
        model: From `load_saliency`.
        image: uint8 RGB, shape (H, W, 3).
        object_masks: bool, each (H, W); those without a place on the 256 × 256 grid are skipped.
        bgr: See `saliency_features`.
        precision: See `saliency_features`.
        chunk_values: Largest number of products held at once, 4 bytes each; no influence on the
            result.

    Returns:
        float32, shape (256, 256), or (64, 64) where it is the single-instance map; 0 to 1.

    Raises:
        ValueError: If a mask has another size than the image.
    """
    import torch

    check_image(image)
    grid = MULTI_INPUT_PX // 4
    places = [
        flat
        for flat in (_to_grid(mask, image.shape[:2], grid=grid) for mask in object_masks)
        if flat.any()
    ]
    if len(places) < 2:
        return single_instance_saliency(model, image, bgr=bgr, precision=precision)
    features = saliency_features(
        model, image, input_size_px=MULTI_INPUT_PX, bgr=bgr, precision=precision
    )
    device = features.device
    result = torch.zeros(grid * grid, device=device)
    with torch.inference_mode():
        for index, own in enumerate(places):
            others = np.logical_or.reduce([p for other, p in enumerate(places) if other != index])
            own_at = torch.from_numpy(np.flatnonzero(own)).to(device)
            free_at = torch.from_numpy(np.flatnonzero(others & ~own)).to(device)
            # A shared place is a zero vector among the others: its likeness to anything is 0.
            floor = 0.0 if (others & own).any() else -1.0
            best = torch.full((len(own_at),), floor, device=device)
            if len(free_at):
                rivals = features[free_at]
                rows = max(1, chunk_values // len(free_at))
                for start in range(0, len(own_at), rows):
                    part = slice(start, start + rows)
                    likeness = (features[own_at[part]] @ rivals.T).amax(dim=1)
                    best[part] = torch.maximum(best[part], likeness)
            result[own_at] = torch.maximum(result[own_at], (1 - best) * 0.5)
        return result.reshape(grid, grid).cpu().numpy()


def _to_grid(mask: np.ndarray, shape: tuple[int, int], *, grid: int) -> np.ndarray:
    """Resize a mask to grid × grid by nearest neighbour, as a flat bool array."""
    import cv2

    if mask.shape != tuple(shape):
        raise ValueError(
            f"object mask: expected shape {tuple(shape)} like the image, found {mask.shape}; "
            f"decode the mask of the same image"
        )
    small = cv2.resize(mask.astype(np.uint8), (grid, grid), interpolation=cv2.INTER_NEAREST)
    return small.reshape(-1).astype(bool)


def resize_saliency(saliency: np.ndarray, *, height_px: int, width_px: int) -> np.ndarray:
    """Bring a saliency map from its grid to the image, bilinearly.

    Args:
        saliency: float32, shape (g, g).
        height_px: Height of the image in pixels.
        width_px: Width of the image in pixels.

    Returns:
        float32, shape (height_px, width_px).
    """
    import cv2

    return cv2.resize(saliency, (width_px, height_px), interpolation=cv2.INTER_LINEAR)


def saliency_map(
    model: torch.nn.Module,
    image: np.ndarray,
    *,
    bgr: bool,
    object_masks: Sequence[np.ndarray] | np.ndarray | None = None,
    precision: str = "float32",
) -> np.ndarray:
    """Compute the saliency at the size of the image.

    Args:
        model: From `load_saliency`.
        image: uint8 RGB, shape (H, W, 3).
        bgr: See `saliency_features`.
        object_masks: The objects of an image that is meant to show several; None for one object,
            whose mask plays no part.
        precision: See `saliency_features`.

    Returns:
        float32, shape (H, W), 0 to 1.
    """
    grid = (
        single_instance_saliency(model, image, bgr=bgr, precision=precision)
        if object_masks is None
        else multi_instance_saliency(
            model, image, object_masks=object_masks, bgr=bgr, precision=precision
        )
    )
    return resize_saliency(grid, height_px=image.shape[0], width_px=image.shape[1])
