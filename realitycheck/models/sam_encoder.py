"""SAM's image encoder on a CPU: its attention in blocks that stay in the processor's cache.

The package holds the attention between all 4,096 patches of an image at once, several times 800 MB
for ViT-B. Here it is made for some rows at a time, by the same operations, so the numbers are the
same but for rounding.

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

#: Attention weights that are held at once: 4 MB in float32.
_BLOCK_VALUES = 1 << 20


@contextlib.contextmanager
def in_blocks(encoder: torch.nn.Module) -> Iterator[None]:
    """While active, this encoder (and no other) attends in blocks and has faster linear layers."""
    from segment_anything.modeling.image_encoder import Attention

    changed = [module for module in encoder.modules() if type(module) is Attention]
    for module in changed:
        module.forward = functools.partial(attend, module)
    try:
        with faster_linears(encoder):
            yield
    finally:
        for module in changed:
            del module.forward


def attend(attention: torch.nn.Module, x: Tensor) -> Tensor:
    """Attend within images or windows, by the weights of the package's module.

    Args:
        attention: The package's `Attention`, in evaluation mode.
        x: Patches, (B, H, W, C).

    Returns:
        (B, H, W, C).
    """
    import torch
    from segment_anything.modeling.image_encoder import get_rel_pos

    n_batch, height, width, _ = x.shape
    n_heads, n_patches = attention.num_heads, height * width
    mixed = attention.qkv(x).reshape(n_batch, n_patches, 3, n_heads, -1)
    query, key, value = mixed.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)
    plane = query.unflatten(1, (height, width))
    bias_y = bias_x = None
    if attention.use_rel_pos:
        by_row = get_rel_pos(height, height, attention.rel_pos_h)
        by_column = get_rel_pos(width, width, attention.rel_pos_w)
        bias_y = torch.einsum("bhwc,hkc->bhwk", plane, by_row)
        bias_x = torch.einsum("bhwc,wkc->bhwk", plane, by_column)
    scaled = (query * attention.scale).unflatten(1, (height, width))
    # Laid out anew: oneDNN has no fast product for a transposed view.
    turned = value.transpose(1, 2).contiguous()
    found = torch.empty_like(plane)
    n_rows = max(1, min(height, _BLOCK_VALUES // (width * n_patches)))
    n_planes = max(1, _BLOCK_VALUES // (n_rows * width * n_patches))
    for first in range(0, len(query), n_planes):
        planes = slice(first, first + n_planes)
        for top in range(0, height, n_rows):
            block = planes, slice(top, top + n_rows)
            weights = _products(scaled[block].flatten(1, 2), key[planes])
            if bias_y is not None:
                full = weights.unflatten(1, (-1, width)).unflatten(3, (height, width))
                full += bias_y[block][..., None]
                full += bias_x[block][..., None, :]
            attended = _products(weights.softmax(dim=-1), turned[planes])
            found[block] = attended.unflatten(1, (-1, width))
    found = found.unflatten(0, (n_batch, n_heads)).permute(0, 2, 3, 1, 4)
    return attention.proj(found.flatten(3))


def _products(rows: Tensor, others: Tensor) -> Tensor:
    """Scalar products of all rows, (P, N, C), with all others, (P, M, C); (P, N, M)."""
    if len(rows) > 1:
        return rows @ others.transpose(1, 2)
    return linear(rows[0], others[0])[None]
