"""CLIP Surgery: where in an image a text is meant, from an unchanged CLIP.

The vision tower is run block by block from outside. Its modules are read and never changed, because
the features of mask crops need the untouched tower of the same model.

Sources: Li et al. (2023), "CLIP Surgery for Better Explainability", and its repository; Text2Seg
`predict_CLIPS` for the way it prepares the image and normalises the features.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from realitycheck.models.clip.model import CLIP_MEAN, CLIP_STD, preprocess_clip
from realitycheck.models.grounding_dino.model import preprocess
from realitycheck.models.precision import arithmetic

if TYPE_CHECKING:
    import torch

N_SURGERY_BLOCKS = 6
"""The last blocks that run two streams, as published for 12 blocks."""

NormAxis = Literal["tokens", "channels"]


def surgery_input(
    image: np.ndarray,
    *,
    double_norm: bool = False,
    antialias: bool = True,
    clip_input_size: int = 224,
) -> torch.Tensor:
    """Turn an image into the input of the surgery encoder.

    Args:
        image: uint8 RGB, shape (H, W, 3).
        double_norm: Published slip of Text2Seg: it passes on the tensor that it made for
            GroundingDINO (short side 800, normalised with ImageNet's constants), resizes that and
            normalises it again with CLIP's constants. False prepares the image as CLIP expects.
        antialias: Whether the resize of that tensor filters before it shrinks, as torchvision does
            since 0.17; has no influence without `double_norm`, where Pillow always filters.
        clip_input_size: Side of the result in pixels, a multiple of the patch size.

    Returns:
        float32, shape (3, clip_input_size, clip_input_size).
    """
    if not double_norm:
        return preprocess_clip(image, size_px=clip_input_size)
    from torch.nn.functional import interpolate

    pixels = preprocess(image)
    square = interpolate(
        pixels[None],
        (clip_input_size, clip_input_size),
        mode="bicubic",
        align_corners=False,
        antialias=antialias,
    )[0]
    return (square - _channels(CLIP_MEAN)) / _channels(CLIP_STD)


def _channels(values: tuple[float, ...]) -> torch.Tensor:
    import torch

    return torch.tensor(values, dtype=torch.float32)[:, None, None]


def encode_tokens(
    model: torch.nn.Module,
    pixels: torch.Tensor,
    *,
    surgery: bool = True,
    n_surgery_blocks: int = N_SURGERY_BLOCKS,
    precision: str = "float32",
) -> np.ndarray:
    """Encode images to one projected feature per patch; no prompt is needed.

    Blocks before the last `n_surgery_blocks` are unchanged and give X. From there two streams run,
    O ("original") and N ("new"), both from X. In each block, with U = ln_1(O) and q, k, v of U:

        N ← N + outproj(softmax(v vᵀ / √d) v)
        O ← O + outproj(softmax(q kᵀ / √d) v);   O ← O + MLP(ln_2(O))

    The patch tokens are those of N, the class token is that of O; all go through ln_post and the
    projection. The position embedding of another grid than the stored one is interpolated
    bilinearly, from the stored values each time.

    Source: CLIP_Surgery, the modified vision transformer of "CS-ViT-B/16".

    Args:
        model: From `clip.load_clip`.
        pixels: From `surgery_input`, float32, shape (N, 3, S, S), S a multiple of the patch size.
        surgery: False returns the tokens of the unchanged tower, as the repository's "ViT-B/16".
        n_surgery_blocks: How many of the last blocks run two streams.
        precision: See `precision.arithmetic`.

    Returns:
        float32, shape (N, 1 + g², D) with g = S / patch size; class token first; not normalised.

    Raises:
        ValueError: If S is no multiple of the patch size, or the tower has too few blocks.
    """
    import torch
    from torch.nn.functional import interpolate

    visual = model.visual
    blocks = list(visual.transformer.resblocks)
    patch = visual.patch_size[0]
    if pixels.ndim != 4 or pixels.shape[2] != pixels.shape[3] or pixels.shape[2] % patch:
        raise ValueError(
            f"surgery input: expected shape (N, 3, S, S) with S a multiple of the patch size "
            f"{patch}, found {tuple(pixels.shape)}; set clip_input_size to such a multiple"
        )
    n_dual = n_surgery_blocks if surgery else 0
    if not 0 <= n_dual <= len(blocks):
        raise ValueError(
            f"n_surgery_blocks: expected 0 to {len(blocks)}, the blocks of this CLIP, "
            f"found {n_surgery_blocks}"
        )
    weight = visual.conv1.weight
    with torch.inference_mode(), arithmetic(weight.device, precision):
        patches = visual.conv1(pixels.to(weight))
        grid = patches.shape[-1]
        patches = patches.flatten(2).transpose(1, 2)
        position = visual.positional_embedding
        stored = visual.grid_size[0]
        if grid != stored:
            plane = position[1:].T.reshape(1, -1, stored, stored)
            plane = interpolate(plane, (grid, grid), mode="bilinear", align_corners=False)
            position = torch.cat([position[:1], plane.flatten(2)[0].T])
        first = visual.class_embedding.expand(len(patches), 1, -1)
        original = visual.ln_pre(torch.cat([first, patches], dim=1) + position)
        for block in blocks[: len(blocks) - n_dual]:
            original = block(original)
        new = original
        for block in blocks[len(blocks) - n_dual :]:
            from_keys, from_values = _attend_twice(block.attn, block.ln_1(original))
            new = new + from_values
            original = original + from_keys
            original = original + block.mlp(block.ln_2(original))
        tokens = torch.cat([original[:, :1], new[:, 1:]], dim=1)
        return (visual.ln_post(tokens) @ visual.proj).float().cpu().numpy()


def _attend_twice(
    attention: torch.nn.MultiheadAttention, tokens: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return query-key and value-value self-attention of (N, T, width), both projected out."""
    from torch.nn.functional import linear, scaled_dot_product_attention

    n, length, width = tokens.shape
    heads = attention.num_heads
    mixed = linear(tokens, attention.in_proj_weight, attention.in_proj_bias)
    query, key, value = mixed.reshape(n, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)

    def project(attended: torch.Tensor) -> torch.Tensor:
        return attention.out_proj(attended.transpose(1, 2).reshape(n, length, width))

    return (
        project(scaled_dot_product_attention(query, key, value)),
        project(scaled_dot_product_attention(value, value, value)),
    )


def similarity_map(
    tokens: np.ndarray,
    text_features: np.ndarray,
    *,
    redundant_feature: np.ndarray,
    norm_axis: NormAxis,
) -> np.ndarray:
    """Compare every token with texts, after taking away what any text would find.

    S = F̂ (T - r)ᵀ, with r the ensemble of the empty phrase: features that fire for every text
    cancel.

    Source: CLIP_Surgery, feature surgery with a redundant feature.

    Args:
        tokens: Of one image, from `encode_tokens`, shape (1 + g², D).
        text_features: One row a prompt, shape (K, D), rows of length 1.
        redundant_feature: The same ensemble for the empty phrase, shape (D,).
        norm_axis: `channels` scales every token to length 1. `tokens` is the published slip: every
            channel is divided by its norm over the tokens.

    Returns:
        float32, shape (1 + g², K); class token first.

    Raises:
        ValueError: If `norm_axis` is unknown or the shapes do not fit.
    """
    if norm_axis not in ("tokens", "channels"):
        raise ValueError(f"norm_axis: expected 'tokens' or 'channels', found {norm_axis!r}")
    if tokens.ndim != 2 or text_features.shape[1:] != tokens.shape[1:]:
        raise ValueError(
            f"tokens: expected shape (1 + g², D) with text features (K, D), found {tokens.shape} "
            f"and {text_features.shape}; encode both with the same CLIP"
        )
    norms = np.linalg.norm(tokens, axis=0 if norm_axis == "tokens" else 1, keepdims=True)
    scaled = np.divide(tokens, norms, out=np.zeros_like(tokens), where=norms > 0)
    return scaled @ (text_features - redundant_feature).T


def points_from_map(
    similarity: np.ndarray,
    *,
    height_px: int,
    width_px: int,
    threshold: float = 0.8,
    downsample: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Turn one prompt's similarity map into point prompts for SAM.

    The map is reduced to m × m cells, m = g // downsample, and scaled to 0..1. With
    n = min(number of cells ≥ threshold, m² // 2), the n highest cells give positive points and the
    n lowest give negative ones, at the cells' centres.

    Source: CLIP_Surgery, similarity map to points.

    Args:
        similarity: One value a patch, row by row, without the class token, shape (g²,).
        height_px: Height of the image in pixels.
        width_px: Width of the image in pixels.
        threshold: Share of the map's range from which a cell counts as found, 0 to 1.
        downsample: Patches per cell and axis.

    Returns:
        Points (x, y) in whole pixels, int64, shape (P, 2), positive ones first and each half
        ascending in similarity; labels, uint8, shape (P,), 1 or 0. Both empty for a map that is
        constant or not finite, which has no place to point at.

    Raises:
        ValueError: If the map is no square, or too small for `downsample`.
    """
    import torch
    from torch.nn.functional import interpolate

    grid = round(similarity.size**0.5)
    cells = grid // downsample
    if similarity.ndim != 1 or grid**2 != similarity.size or cells < 1:
        raise ValueError(
            f"similarity: expected shape (g²,) with g at least {downsample}, found "
            f"{similarity.shape}; leave the class token out and take one prompt"
        )
    plane = torch.from_numpy(np.ascontiguousarray(similarity, np.float32))
    plane = interpolate(
        plane.reshape(1, 1, grid, grid), (cells, cells), mode="bilinear", align_corners=False
    )
    values = plane.reshape(-1).numpy()
    low, high = values.min(), values.max()
    if not high > low:  # also when a value is NaN
        return np.zeros((0, 2), np.int64), np.zeros(0, np.uint8)
    scaled = (values - low) / (high - low)
    n = min(int((scaled >= threshold).sum()), cells * cells // 2)
    order = np.argsort(scaled, kind="stable")
    chosen = np.concatenate([order[cells * cells - n :], order[:n]])
    rows, columns = np.divmod(chosen, cells)
    # Whole-number arithmetic: a centre that falls on a pixel boundary must not slip below it.
    x = np.minimum((2 * columns + 1) * width_px // (2 * cells), width_px - 1)
    y = np.minimum((2 * rows + 1) * height_px // (2 * cells), height_px - 1)
    labels = np.repeat(np.array([1, 0], np.uint8), n)
    return np.stack([x, y], axis=1).astype(np.int64), labels
