"""SAM's image encoder without the package's detours; the same weights, the same numbers.

The package holds the attention between all 4,096 patches of an image at once, several times 800 MB
for ViT-B. On a CPU it is made here for some rows at a time, in blocks that stay in the processor's
cache; on CUDA by a fused kernel that never holds it.

Source: Kirillov et al. (2023), "Segment Anything", and `segment_anything.modeling.image_encoder`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
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
def faster_encoder(
    encoder: torch.nn.Module, *, forward: Callable[[Tensor], Tensor] | None = None
) -> Iterator[None]:
    """While active, this encoder (and no other) computes as described above.

    Args:
        encoder: The package's `ImageEncoderViT`, in evaluation mode.
        forward: What `compiled_forward` made of it; default: step by step.
    """
    encoder.forward = forward or functools.partial(_forward, encoder)
    try:
        with contextlib.nullcontext() if forward else faster_linears(encoder):
            yield
    finally:
        del encoder.forward


def compiled_forward(encoder: torch.nn.Module) -> Callable[[Tensor], Tensor]:
    """Compile an encoder for one shape of input, at its first call.

    Args:
        encoder: The package's `ImageEncoderViT`, in evaluation mode.

    Returns:
        A function from pixels, (B, 3, H, W), to embeddings, (B, C, h, w).

    Raises:
        RuntimeError: The function, at its first call: If torch cannot compile on this machine.
    """
    import torch

    compiled = torch.compile(
        functools.partial(_forward, encoder, is_fused=True), dynamic=False, fullgraph=True
    )

    def forward(pixels: Tensor) -> Tensor:
        from torch._dynamo.exc import TorchDynamoException
        from torch._inductor.exc import InductorError

        try:
            return compiled(pixels)
        except (TorchDynamoException, InductorError) as error:
            reason = str(error).strip().splitlines()[0]
            raise RuntimeError(
                f"compute.compile: torch could not compile SAM's image encoder on {pixels.device} "
                f"({reason}); install what it asks for (a C++ compiler, or triton for CUDA) or "
                "set compute.compile: false"
            ) from error

    return forward


def _forward(encoder: torch.nn.Module, pixels: Tensor, *, is_fused: bool | None = None) -> Tensor:
    """Take the steps of the package's `ImageEncoderViT`."""
    x = encoder.patch_embed(pixels)
    if encoder.pos_embed is not None:
        x = x + encoder.pos_embed
    for block in encoder.blocks:
        x = _forward_block(block, x, is_fused=is_fused)
    return encoder.neck(x.permute(0, 3, 1, 2))


def _forward_block(block: torch.nn.Module, x: Tensor, *, is_fused: bool | None) -> Tensor:
    """Take the steps of the package's `Block`."""
    from segment_anything.modeling.image_encoder import window_partition, window_unpartition

    normed, size = block.norm1(x), block.window_size
    if size:
        windows, padded_hw = window_partition(normed, size)
        attended = attend(block.attn, windows, is_fused=is_fused)
        attended = window_unpartition(attended, size, padded_hw, x.shape[1:3])
    else:
        attended = attend(block.attn, normed, is_fused=is_fused)
    x = x + attended
    return x + block.mlp(block.norm2(x))


def attend(attention: torch.nn.Module, x: Tensor, *, is_fused: bool | None = None) -> Tensor:
    """Attend within images or windows, by the weights of the package's module.

    Args:
        attention: The package's `Attention`, in evaluation mode.
        x: Patches, (B, H, W, C).
        is_fused: By torch's fused kernels, and not in blocks; default: on CUDA.

    Returns:
        (B, H, W, C).
    """
    import torch
    from segment_anything.modeling.image_encoder import get_rel_pos

    n_batch, height, width, _ = x.shape
    mixed = attention.qkv(x).reshape(n_batch, height * width, 3, attention.num_heads, -1)
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
    scaled = plane * attention.scale
    if biases is not None and (is_fused or scaled.dtype != torch.float32):
        # In lower precision, sums are what takes the time on a CPU, and not products.
        scaled, key = _append_places(scaled, key, biases)
        biases = None
    if is_fused:
        found = _attend_fused(scaled, key, value)
    else:
        found = _attend_in_blocks(scaled, key, value, biases)
    found = found.unflatten(0, (n_batch, attention.num_heads)).permute(0, 2, 3, 1, 4)
    return attention.proj(found.flatten(3))


def _append_places(
    scaled: Tensor, key: Tensor, biases: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor]:
    """Make the biases of places part of the products between queries and keys.

    A bias by rows and one by columns are products too: of the two biases of a query with the marks
    of a key, 1 in the place of its row, 1 in that of its column, else 0. So no kernel needs a table
    of biases, which is as large as the attention itself.

    Args:
        scaled: Scaled queries, (P, H, W, D).
        key: (P, H W, D).
        biases: What the places add to the products, (P, H, W, H) by rows and (P, H, W, W) by
            columns.

    Returns:
        Queries, (P, H, W, E), and keys, (P, H W, E), with E a multiple of 8 from D + H + W on.
    """
    import torch

    _, height, width, length = scaled.shape
    rows = torch.eye(height, dtype=key.dtype, device=key.device).repeat_interleave(width, dim=0)
    columns = torch.eye(width, dtype=key.dtype, device=key.device).repeat(height, 1)
    missing = -(length + height + width) % _VECTOR
    query = torch.cat([scaled, *biases, scaled.new_zeros(*scaled.shape[:3], missing)], dim=3)
    marks = torch.cat([rows, columns, key.new_zeros(height * width, missing)], dim=1)
    return query, torch.cat([key, marks.expand(len(key), -1, -1)], dim=2)


def _attend_in_blocks(
    scaled: Tensor, key: Tensor, value: Tensor, biases: tuple[Tensor, Tensor] | None
) -> Tensor:
    """Attend within planes, some rows at a time.

    Args:
        scaled: Scaled queries, (P, H, W, E).
        key: (P, H W, E).
        value: (P, H W, D).
        biases: What the places add to the products, (P, H, W, H) by rows and (P, H, W, W) by
            columns; None: nothing.

    Returns:
        (P, H, W, D).
    """
    n_planes, height, width, _ = scaled.shape
    n_patches = height * width
    # Laid out anew: oneDNN has no fast product for a transposed view.
    turned = value.transpose(1, 2).contiguous()
    found = value.new_empty(n_planes, height, width, value.shape[-1])
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


def _attend_fused(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend within planes by one kernel; as `_attend_in_blocks`."""
    from torch.nn.functional import scaled_dot_product_attention

    attended = scaled_dot_product_attention(
        query.flatten(1, 2)[:, None], key[:, None], value[:, None], scale=1.0
    )
    return attended[:, 0].unflatten(1, query.shape[1:3])


def _products(rows: Tensor, others: Tensor) -> Tensor:
    """Scalar products of all rows, (P, N, C), with all others, (P, M, C); (P, N, M)."""
    if len(rows) > 1:
        return rows @ others.transpose(1, 2)
    return linear(rows[0], others[0])[None]
