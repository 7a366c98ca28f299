"""SAM's image encoder without the package's detours; the same weights, the same numbers.

The package holds the attention between all 4,096 patches of an image at once, several times 800 MB
for ViT-B. On a CPU it is made here for some rows at a time, in blocks that stay in the processor's
cache; on CUDA by a fused kernel that never holds it. Windows that reach over the edge of the image
are filled up after the projection to queries, keys and values, and not before: what a filled-up
patch becomes is known, the projection's bias.

Source: Kirillov et al. (2023), "Segment Anything", and `segment_anything.modeling.image_encoder`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from realitycheck.models.cpu_linear import faster_linears, linear

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Attention weights that are held at once on a CPU: 4 MB in float32.
_BLOCK_VALUES = 1 << 20

#: Fused kernels want vectors whose length is a multiple of this.
_VECTOR = 8


@contextlib.contextmanager
def faster_encoder(encoder: torch.nn.Module) -> Iterator[None]:
    """While active, this encoder (and no other) computes as described above."""
    from segment_anything.modeling.image_encoder import Block

    changed = [module for module in encoder.modules() if type(module) is Block]
    for module in changed:
        module.forward = functools.partial(_forward_block, module)
    try:
        with faster_linears(encoder):
            yield
    finally:
        for module in changed:
            del module.forward


def _forward_block(block: torch.nn.Module, x: Tensor) -> Tensor:
    x = x + attend(block.attn, block.norm1(x), window_size=block.window_size)
    return x + block.mlp(block.norm2(x))


def attend(
    attention: torch.nn.Module, x: Tensor, *, window_size: int = 0, is_fused: bool | None = None
) -> Tensor:
    """Attend within images or windows, by the weights of the package's module.

    Args:
        attention: The package's `Attention`, in evaluation mode.
        x: Patches, (B, H, W, C).
        window_size: Side of a window, in patches; 0: attend within the whole image.
        is_fused: By torch's fused kernels, and not in blocks; default: on CUDA.

    Returns:
        (B, H, W, C).
    """
    import torch
    from segment_anything.modeling.image_encoder import get_rel_pos

    image_hw = x.shape[1:3]
    mixed = attention.qkv(x)
    if window_size:
        mixed = _into_windows(mixed, window_size, fill=attention.qkv.bias)
    n_batch, height, width, _ = mixed.shape
    mixed = mixed.reshape(n_batch, height * width, 3, attention.num_heads, -1)
    query, key, value = mixed.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)
    plane = query.unflatten(1, (height, width))
    biases = None
    if attention.use_rel_pos:
        by_row = get_rel_pos(height, height, attention.rel_pos_h)
        by_column = get_rel_pos(width, width, attention.rel_pos_w)
        biases = (
            torch.einsum("bhwc,hkc->bhwk", plane, by_row),
            torch.einsum("bhwc,wkc->bhwk", plane, by_column),
        )
    if is_fused is None:
        is_fused = x.is_cuda
    of_planes = _attend_fused if is_fused else _attend_in_blocks
    found = of_planes(plane * attention.scale, key, value, biases)
    found = found.unflatten(0, (n_batch, attention.num_heads)).permute(0, 2, 3, 1, 4).flatten(3)
    if window_size:
        found = _out_of_windows(found, window_size, image_hw=image_hw)
    return attention.proj(found)


def _into_windows(mixed: Tensor, size: int, *, fill: Tensor | None) -> Tensor:
    """Cut (B, H, W, C) into windows, (windows, size, size, C), filled up with a vector (C,)."""
    n_batch, height, width, channels = mixed.shape
    n_rows, n_columns = -(-height // size), -(-width // size)
    if (n_rows * size, n_columns * size) != (height, width):
        filled = mixed.new_zeros(n_batch, n_rows * size, n_columns * size, channels)
        if fill is not None:
            filled += fill
        filled[:, :height, :width] = mixed
        mixed = filled
    windows = mixed.view(n_batch, n_rows, size, n_columns, size, channels).transpose(2, 3)
    return windows.reshape(-1, size, size, channels)


def _out_of_windows(windows: Tensor, size: int, *, image_hw: tuple[int, int]) -> Tensor:
    """Undo `_into_windows`: (windows, size, size, C) to (B, H, W, C)."""
    height, width = image_hw
    n_rows, n_columns = -(-height // size), -(-width // size)
    planes = windows.unflatten(0, (-1, n_rows, n_columns)).transpose(2, 3)
    return planes.reshape(len(planes), n_rows * size, n_columns * size, -1)[:, :height, :width]


def _attend_in_blocks(
    scaled: Tensor, key: Tensor, value: Tensor, biases: tuple[Tensor, Tensor] | None
) -> Tensor:
    """Attend within planes, some rows at a time.

    Args:
        scaled: Scaled queries, (P, H, W, D).
        key: (P, H W, D).
        value: (P, H W, D).
        biases: What the places add to the products, (P, H, W, H) by rows and (P, H, W, W) by
            columns; None: nothing.

    Returns:
        (P, H, W, D).
    """
    import torch

    n_planes, height, width, _ = scaled.shape
    n_patches = height * width
    # Laid out anew: oneDNN has no fast product for a transposed view.
    turned = value.transpose(1, 2).contiguous()
    found = torch.empty_like(scaled)
    n_rows = max(1, min(height, _BLOCK_VALUES // (width * n_patches)))
    step = max(1, _BLOCK_VALUES // (n_rows * width * n_patches))
    for first in range(0, n_planes, step):
        planes = slice(first, first + step)
        for top in range(0, height, n_rows):
            block = planes, slice(top, top + n_rows)
            weights = _products(scaled[block].flatten(1, 2), key[planes])
            if biases is not None:
                full = weights.unflatten(1, (-1, width)).unflatten(3, (height, width))
                full += biases[0][block][..., None]
                full += biases[1][block][..., None, :]
            attended = _products(weights.softmax(dim=-1), turned[planes])
            found[block] = attended.unflatten(1, (-1, width))
    return found


def _attend_fused(
    scaled: Tensor, key: Tensor, value: Tensor, biases: tuple[Tensor, Tensor] | None
) -> Tensor:
    """Attend within planes by one kernel; as `_attend_in_blocks`.

    A kernel that takes a table of biases would need it whole, as large as the attention itself. But
    a bias by rows and one by columns are products too: of the two biases of a query with the marks
    (1 in the place of the row, 1 in that of the column, else 0) of a key. So they are appended to
    queries and keys.
    """
    import torch
    from torch.nn.functional import pad, scaled_dot_product_attention

    _, height, width, length = scaled.shape
    query = scaled.flatten(1, 2)
    if biases is not None:
        rows = torch.eye(height, dtype=key.dtype, device=key.device).repeat_interleave(width, dim=0)
        columns = torch.eye(width, dtype=key.dtype, device=key.device).repeat(height, 1)
        marks = torch.cat([rows, columns], dim=1).expand(len(key), -1, -1)
        query = torch.cat([query, *(bias.flatten(1, 2).to(query) for bias in biases)], dim=2)
        key = torch.cat([key, marks], dim=2)
    missing = -query.shape[-1] % _VECTOR
    if missing:
        query, key = pad(query, (0, missing)), pad(key, (0, missing))
    attended = scaled_dot_product_attention(
        query[:, None], key[:, None], value[:, None], scale=1.0
    )[:, 0]
    return attended.reshape(-1, height, width, length)


def _products(rows: Tensor, others: Tensor) -> Tensor:
    """Scalar products of all rows, (P, N, C), with all others, (P, M, C); (P, N, M)."""
    if len(rows) > 1:
        return rows @ others.transpose(1, 2)
    return linear(rows[0], others[0])[None]
