"""GroundingDINO's two costly attentions in another order, exact but for rounding.

- Image-text fusion: projections of the image's 13,000 tokens to 1,024 channels are moved to the few
  tokens of the text, as (x W)·q = x·(W q) and Σ a x W = (Σ a x) W.
- The encoder's perceptrons run for some tokens at a time on a CPU.
- The queries of the decoder attend to each other without the table of their weights.
- Deformable attention: on a CPU, sampling, weighting and summing are one weighted sum of rows, for
  some queries at a time, so that nothing leaves the processor's cache; on a GPU they are done level
  by level. The package keeps all samples of all levels at once.

Only while `reordered` is active does a network use them, so the package's own forward stays as a
reference.

Source: Liu et al. (2023), "Grounding DINO"; Zhu et al. (2021), "Deformable DETR"; the package
`groundingdino`.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from realitycheck.models.cpu_linear import linear, perceptron

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Values beyond this are cut off before a softmax, as in the package.
_LIMIT = 50_000.0
#: Queries that are sampled for together on a CPU.
_CPU_QUERIES = 256


@contextlib.contextmanager
def reordered(network: torch.nn.Module) -> Iterator[None]:
    """While active, this network (and no other) computes its attentions in the order given here."""
    from groundingdino.models.GroundingDINO.fuse_modules import BiMultiHeadAttention
    from groundingdino.models.GroundingDINO.ms_deform_attn import MultiScaleDeformableAttention
    from groundingdino.models.GroundingDINO.transformer import (
        DeformableTransformerDecoderLayer,
        DeformableTransformerEncoderLayer,
    )

    stand_ins = {BiMultiHeadAttention: fuse, MultiScaleDeformableAttention: sample}
    changed = [module for module in network.modules() if type(module) in stand_ins]
    for module in changed:
        module.forward = functools.partial(stand_ins[type(module)], module)
    for layer in network.modules():
        if type(layer) is DeformableTransformerDecoderLayer:
            layer.self_attn.forward = functools.partial(_attend, layer.self_attn)
            changed.append(layer.self_attn)
    layers = [m for m in network.modules() if type(m) is DeformableTransformerEncoderLayer]
    for module in layers:
        module.forward_ffn = functools.partial(_feed_forward, module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward
        for module in layers:
            del module.forward_ffn


def _feed_forward(layer: torch.nn.Module, src: Tensor) -> Tensor:
    """The perceptron of the package's encoder layer, in evaluation mode."""
    told = perceptron(src, layer.linear1, layer.linear2, activation=layer.activation)
    return layer.norm2(src + told)


def _attend(
    attention: torch.nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **options: object,
) -> tuple[Tensor, Tensor | None]:
    """Torch's attention of queries, (Q, B, C), to each other, without the weights it found."""
    from torch.nn.functional import scaled_dot_product_attention

    if any(option is not None for option in options.values()):  # masks
        return type(attention).forward(attention, query, key, value, **options)
    weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
    query, key, value = (
        linear(each, weight, bias).unflatten(-1, (attention.num_heads, -1)).permute(1, 2, 0, 3)
        for each, weight, bias in zip((query, key, value), weights, biases, strict=True)
    )
    found = scaled_dot_product_attention(query, key, value).permute(2, 0, 1, 3).flatten(2)
    return linear(found, attention.out_proj.weight, attention.out_proj.bias), None


def fuse(
    attention: torch.nn.Module,
    v: Tensor,
    l: Tensor,  # noqa: E741  (the package calls it by this name)
    attention_mask_v: Tensor | None = None,
    attention_mask_l: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Let image and text attend to each other, by the weights of the package's module.

    Args:
        attention: The package's `BiMultiHeadAttention`, in evaluation mode.
        v: Tokens of the image, (B, N, C).
        l: Tokens of the text, (B, T, C).
        attention_mask_v: bool, (B, N), True where an image token does not count.
        attention_mask_l: bool, (B, T), True where a text token does not count.

    Returns:
        What the image learns, (B, N, C), and what the text learns, (B, T, C).
    """
    import torch

    n_heads = attention.num_heads

    def heads(layer: torch.nn.Module, tokens: Tensor) -> Tensor:
        return layer(tokens).unflatten(-1, (n_heads, -1)).transpose(1, 2)

    def by_head(layer: torch.nn.Module) -> tuple[Tensor, Tensor]:
        return layer.weight.unflatten(0, (n_heads, -1)), layer.bias.unflatten(0, (n_heads, -1))

    into, offset = by_head(attention.v_proj)
    keys = heads(attention.l_proj, l) * attention.scale
    vectors = keys @ into  # (B, heads, T, C)
    offsets = (keys @ offset[..., None]).flatten(1, 2)
    likeness = torch.baddbmm(offsets, vectors.flatten(1, 2), v.transpose(1, 2))
    likeness = likeness.unflatten(1, (n_heads, -1))  # (B, heads, T, N)
    likeness = (likeness - likeness.max()).clamp_(-_LIMIT, _LIMIT)
    for_text = (likeness - likeness.amax(dim=-1, keepdim=True)).clamp_(-_LIMIT, _LIMIT)
    if attention_mask_v is not None:
        for_text.masked_fill_(attention_mask_v[:, None, None, :], float("-inf"))
    if attention_mask_l is not None:
        likeness.masked_fill_(attention_mask_l[:, None, :, None], float("-inf"))
    for_text = for_text.softmax(dim=-1)
    for_image = likeness.softmax(dim=-2)

    outwards = attention.out_v_proj.weight.unflatten(1, (n_heads, -1)).permute(1, 2, 0)
    told = (heads(attention.values_l_proj, l) @ outwards).flatten(1, 2)
    learnt_by_image = torch.baddbmm(
        attention.out_v_proj.bias, for_image.flatten(1, 2).transpose(1, 2), told
    )
    gathered = (for_text.flatten(1, 2) @ v).unflatten(1, (n_heads, -1))
    into, offset = by_head(attention.values_v_proj)
    seen = gathered @ into.transpose(1, 2) + offset[:, None]
    return learnt_by_image, attention.out_l_proj(seen.transpose(1, 2).flatten(2))


def sample(
    attention: torch.nn.Module,
    query: Tensor,
    key: Tensor | None = None,
    value: Tensor | None = None,
    query_pos: Tensor | None = None,
    key_padding_mask: Tensor | None = None,
    reference_points: Tensor | None = None,
    spatial_shapes: Tensor | None = None,
    **_unused: object,
) -> Tensor:
    """Attend to a few places of each level, by the weights of the package's module.

    Args:
        attention: The package's `MultiScaleDeformableAttention`, in evaluation mode.
        query: (B, Q, C), or (Q, B, C) as the module is set up.
        key: Plays no part, as in the package.
        value: Tokens of all levels, laid out as `query`; default: the query.
        query_pos: Added to the query.
        key_padding_mask: bool, (B, N), True where a token counts as 0.
        reference_points: (B, Q, levels, 2) or, with boxes, (B, Q, levels, 4), relative.
        spatial_shapes: Height and width of each level, (levels, 2).

    Returns:
        Laid out as `query`.

    Raises:
        ValueError: If a reference point has neither two nor four values.
    """
    import torch

    value = query if value is None else value
    query = query if query_pos is None else query + query_pos
    if not attention.batch_first:
        query, value = query.transpose(0, 1), value.transpose(0, 1)
    n_batch, n_queries, _ = query.shape
    n_heads, n_levels, n_points = attention.num_heads, attention.num_levels, attention.num_points
    value = attention.value_proj(value)
    if key_padding_mask is not None:
        value = value.masked_fill(key_padding_mask[..., None], 0.0)
    planes = (n_heads, n_levels, n_points)
    offsets = attention.sampling_offsets(query).unflatten(-1, (*planes, 2))
    weights = attention.attention_weights(query).unflatten(-1, (n_heads, -1)).softmax(dim=-1)
    weights = weights.unflatten(-1, (n_levels, n_points))
    shapes = [(int(height), int(width)) for height, width in spatial_shapes.tolist()]
    centres = reference_points[:, :, None, :, None, :2]
    if reference_points.shape[-1] == 2:
        steps = 1 / spatial_shapes.flip(-1)[:, None].to(offsets)
    elif reference_points.shape[-1] == 4:
        steps = reference_points[:, :, None, :, None, 2:] * (0.5 / n_points)
    else:
        raise ValueError(
            f"reference_points: expected 2 or 4 values each, found {reference_points.shape[-1]}"
        )
    places = torch.addcmul(centres, offsets, steps)
    value = value.unflatten(-1, (n_heads, -1))
    weighted = _sum_by_bags if query.device.type == "cpu" else _sum_by_grids
    found = weighted(value, places, weights, shapes=shapes)
    found = attention.output_proj(found)
    return found if attention.batch_first else found.transpose(0, 1)


def _sum_by_grids(
    value: Tensor, places: Tensor, weights: Tensor, *, shapes: list[tuple[int, int]]
) -> Tensor:
    """Sum what lies at some places, bilinearly between pixels and 0 outside; for a GPU.

    Args:
        value: (B, N, heads, C), the levels one after the other.
        places: x and y relative to the image, (B, Q, heads, levels, points, 2).
        weights: (B, Q, heads, levels, points).
        shapes: Height and width of each level.

    Returns:
        (B, Q, heads · C).
    """
    from torch.nn.functional import grid_sample

    n_batch = len(value)
    # On the scale of grid_sample: -1 to 1.
    places = (2 * places - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)
    weights = weights.permute(3, 0, 2, 1, 4).flatten(1, 2)[:, :, None]  # (levels, B·heads, 1, Q, P)
    parts = value.split([height * width for height, width in shapes], dim=1)
    total = 0
    for part, shape, place, weight in zip(parts, shapes, places, weights, strict=True):
        plane = part.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, shape)
        seen = grid_sample(plane, place, mode="bilinear", padding_mode="zeros", align_corners=False)
        total = total + seen.mul_(weight).sum(dim=-1)
    return total.unflatten(0, (n_batch, -1)).flatten(1, 2).transpose(1, 2)


def _sum_by_bags(
    value: Tensor, places: Tensor, weights: Tensor, *, shapes: list[tuple[int, int]]
) -> Tensor:
    """As `_sum_by_grids`, for a CPU: pixels are rows of a table, and each sum is one bag of them.

    A pixel counts by how near it is, as max(0, 1 - |x - pixel|) · max(0, 1 - |y - pixel|), which is
    bilinear interpolation and 0 outside the image whatever two neighbours are taken. All channels
    of a pixel lie side by side, so they are read as they are.
    """
    import torch
    from torch.nn.functional import embedding_bag

    n_batch, n_tokens, n_heads, n_channels = value.shape
    n_points = places.shape[-2]
    kind = torch.promote_types(value.dtype, torch.float32)
    heights, widths = torch.tensor(shapes, dtype=kind).unbind(-1)
    starts = (heights * widths).cumsum(0) - heights * widths

    def each(of_level: Tensor, of_head: Tensor | float = 0.0) -> Tensor:
        """Repeat a value of each level for all heads and points, as one row."""
        spread = of_level[:, None] + of_level.new_zeros(n_heads, 1, n_points)
        return (spread + torch.as_tensor(of_head).reshape(-1, 1, 1)).flatten()

    # Row numbers are whole numbers below 2^24, which float32 holds exactly.
    first = each(starts * n_heads, torch.arange(n_heads))
    along = [each(widths), each(heights)]
    last = [each((size - 2).clamp(min=0)) for size in (widths, heights)]
    # Where a level is one pixel wide, its next pixel is itself, at a distance where none counts.
    apart = [each(torch.where(size > 1, 1.0, torch.inf).to(kind)) for size in (widths, heights)]
    right = each((widths > 1) * n_heads).int()
    down = each((heights > 1) * widths * n_heads).int()

    found = value.new_empty(n_batch, places.shape[1], n_heads, n_channels)
    for image in range(n_batch):
        table = value[image].reshape(n_tokens * n_heads, n_channels)
        for start in range(0, places.shape[1], _CPU_QUERIES):
            part = slice(start, start + _CPU_QUERIES)
            pixels, near = [], []
            for axis in range(2):
                place = places[image, part, ..., axis].flatten(1).to(kind)
                place = (place * along[axis]).sub_(0.5)
                pixel = torch.minimum(place.floor().clamp_(min=0), last[axis])
                beyond = place.sub_(pixel)
                next_beyond = beyond - apart[axis]
                pixels.append(pixel)
                near.append([b.abs_().neg_().add_(1).clamp_(min=0) for b in (beyond, next_beyond)])
            x, y = pixels
            row = torch.add(first, x.addcmul_(y, along[0]), alpha=n_heads).int()
            rows = ((row, row + right), (row + down, row + down + right))
            weight = weights[image, part].flatten(1).to(kind)
            total = 0
            for rows_of_line, near_y in zip(rows, near[1], strict=True):
                weight_of_line = weight * near_y
                for row, near_x in zip(rows_of_line, near[0], strict=True):
                    total = total + embedding_bag(
                        row.view(-1, n_points * len(shapes)),
                        table,
                        mode="sum",
                        per_sample_weights=(weight_of_line * near_x)
                        .to(table)
                        .view(-1, n_points * len(shapes)),
                    )
            found[image, part] = total.unflatten(0, (-1, n_heads))
    return found.flatten(2)
