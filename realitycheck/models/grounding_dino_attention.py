"""GroundingDINO's two costly attentions in another order, exact but for rounding.

- Image-text fusion: projections of the image's 13,000 tokens to 1,024 channels are moved to the few
  tokens of the text, as (x W)·q = x·(W q) and Σ a x W = (Σ a x) W.
- The encoder's perceptrons run for some tokens at a time on a CPU.
- Deformable attention: what is sampled is weighted and summed level by level and for some queries
  at a time, so that it never leaves the processor's cache; the package keeps all of it at once.

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

from realitycheck.models.cpu_linear import perceptron

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Values beyond this are cut off before a softmax, as in the package.
_LIMIT = 50_000.0
#: Queries that are sampled for together on a CPU.
_CPU_QUERIES = 1024


@contextlib.contextmanager
def reordered(network: torch.nn.Module) -> Iterator[None]:
    """While active, this network (and no other) computes its attentions in the order given here."""
    from groundingdino.models.GroundingDINO.fuse_modules import BiMultiHeadAttention
    from groundingdino.models.GroundingDINO.ms_deform_attn import MultiScaleDeformableAttention
    from groundingdino.models.GroundingDINO.transformer import DeformableTransformerEncoderLayer

    stand_ins = {BiMultiHeadAttention: fuse, MultiScaleDeformableAttention: sample}
    changed = [module for module in network.modules() if type(module) in stand_ins]
    for module in changed:
        module.forward = functools.partial(stand_ins[type(module)], module)
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
    centres = reference_points[:, :, None, :, None, :2]
    if reference_points.shape[-1] == 2:
        steps = 1 / spatial_shapes.flip(-1)[:, None].to(offsets)
    elif reference_points.shape[-1] == 4:
        steps = reference_points[:, :, None, :, None, 2:] * (0.5 / n_points)
    else:
        raise ValueError(
            f"reference_points: expected 2 or 4 values each, found {reference_points.shape[-1]}"
        )
    # On the scale of grid_sample: -1 to 1.
    places = (2 * (centres + offsets * steps) - 1).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)
    weights = weights.permute(3, 0, 2, 1, 4).flatten(1, 2)[:, :, None]  # (levels, B·heads, 1, Q, P)
    shapes = [(int(height), int(width)) for height, width in spatial_shapes.tolist()]
    levels = [
        part.transpose(1, 2).reshape(n_batch * n_heads, -1, *shape)
        for part, shape in zip(
            value.split([height * width for height, width in shapes], dim=1), shapes, strict=True
        )
    ]
    step = _CPU_QUERIES if query.device.type == "cpu" else n_queries
    found = query.new_empty(n_batch * n_heads, levels[0].shape[1], n_queries)
    for start in range(0, n_queries, step):
        part = slice(start, start + step)
        total = 0
        for plane, place, weight in zip(levels, places, weights, strict=True):
            seen = torch.nn.functional.grid_sample(
                plane, place[:, part], mode="bilinear", padding_mode="zeros", align_corners=False
            )
            total = total + seen.mul_(weight[:, :, part]).sum(dim=-1)
        found[..., part] = total
    found = found.reshape(n_batch, -1, n_queries).transpose(1, 2)
    found = attention.output_proj(found)
    return found if attention.batch_first else found.transpose(0, 1)
