"""Linear layers on a CPU by oneDNN, in float32, and perceptrons in parts that stay in the cache.

torch gives float32 products to Intel's MKL. On processors of other makers that is slower by a third
and more than oneDNN, which torch brings along and uses for bfloat16 by itself. The sums are the
same, taken in another order.

A perceptron's hidden layer is four or eight times as wide as what goes in and comes out. Made for
some rows at a time, it never leaves the cache.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

#: Hidden values that a perceptron holds at once on a CPU: 4 MB in float32.
_HIDDEN_VALUES = 1 << 20


@functools.cache
def _has_onednn() -> bool:
    """Whether this torch can be asked for oneDNN's product; on ARM its own choice is as good."""
    import platform

    import torch

    return (
        platform.machine().lower() in ("x86_64", "amd64")
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Compute x Wᵀ + b, as `torch.nn.functional.linear`, by the faster library.

    Args:
        x: (…, K).
        weight: (N, K).
        bias: (N,), or None.

    Returns:
        (…, N).
    """
    import torch

    if _is_for_onednn(x, weight):
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return torch.nn.functional.linear(x, weight, bias)


def _is_for_onednn(x: Tensor, weight: Tensor) -> bool:
    """Whether a product is one that torch would give to the slower library."""
    import torch

    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.numel() > 0
        # For other layouts oneDNN has its reference only, which is a thousand times slower.
        and weight.is_contiguous()
        and not torch.is_autocast_enabled("cpu")
        and not torch.is_grad_enabled()
        and _has_onednn()
    )


def perceptron(
    x: Tensor,
    first: torch.nn.Linear,
    second: torch.nn.Linear,
    *,
    activation: Callable[[Tensor], Tensor],
) -> Tensor:
    """Compute two layers with an activation between; by `linear`, for some rows at a time.

    Args:
        x: (…, K).
        first: From K to the hidden width.
        second: From the hidden width on.
        activation: Of each hidden value alone; may change its argument in place.

    Returns:
        (…, width of the second layer).
    """
    import torch

    layers = [layer.weight for layer in (first, second)], [layer.bias for layer in (first, second)]
    if x.device.type != "cpu" or not x.numel() or torch.is_grad_enabled():
        return _two_layers(x, *layers, activation)
    kind = x.dtype
    if torch.is_autocast_enabled("cpu"):
        # What autocast does to each product, once for all of them.
        kind = torch.get_autocast_dtype("cpu")
        layers = tuple([None if t is None else t.to(kind) for t in each] for each in layers)
    rows = x.flatten(0, -2)
    found = x.new_empty(len(rows), second.out_features, dtype=kind)
    step = max(1, _HIDDEN_VALUES // first.out_features)
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        found[part] = _two_layers(rows[part].to(kind), *layers, activation)
    return found.unflatten(0, x.shape[:-1])


def _two_layers(
    x: Tensor,
    weights: list[Tensor],
    biases: list[Tensor | None],
    activation: Callable[[Tensor], Tensor],
) -> Tensor:
    return linear(activation(linear(x, weights[0], biases[0])), weights[1], biases[1])


@contextlib.contextmanager
def faster_linears(*networks: torch.nn.Module) -> Iterator[None]:
    """While active, the linear layers of these networks (and of no other) use `linear`.

    Perceptrons of the packages' own classes (`MLPBlock` of SAM, `Mlp` of Swin) use `perceptron`,
    and torch's attention uses `linear` where tokens attend to each other; of masks it knows those
    that are added.
    """
    changed = []
    for network in networks:
        for module in network.modules():
            stand_in = _stand_in(module)
            if stand_in is not None and "forward" not in vars(module):
                module.forward = functools.partial(stand_in, module)
                changed.append(module)
    try:
        yield
    finally:
        for module in changed:
            del module.forward


def _stand_in(module: torch.nn.Module) -> Callable[..., Tensor] | None:
    import torch

    if type(module) is torch.nn.Linear:
        return _forward_linear
    if type(module) is torch.nn.MultiheadAttention:
        return _forward_attention
    if {"lin1", "lin2", "act"} <= set(module._modules):
        return _forward_sam_mlp
    if {"fc1", "fc2", "act"} <= set(module._modules):
        return _forward_swin_mlp
    return None


def _forward_linear(module: torch.nn.Linear, x: Tensor) -> Tensor:
    return linear(x, module.weight, module.bias)


def _forward_sam_mlp(module: torch.nn.Module, x: Tensor) -> Tensor:
    return perceptron(x, module.lin1, module.lin2, activation=module.act)


def _forward_swin_mlp(module: torch.nn.Module, x: Tensor) -> Tensor:
    return perceptron(x, module.fc1, module.fc2, activation=module.act)


def _forward_attention(
    module: torch.nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **options: object,
) -> tuple[Tensor, Tensor | None]:
    import torch
    from torch.nn.functional import scaled_dot_product_attention

    weight = module.in_proj_weight
    mask = options.pop("attn_mask", None)
    is_plain = (
        query is key is value
        and query.ndim == 3
        and module.batch_first
        and module.bias_k is None
        and not module.add_zero_attn
        and weight is not None
        and not options.get("need_weights", True)
        and (mask is None or (mask.ndim == 2 and mask.is_floating_point()))
        and all(value is None for name, value in options.items() if name.endswith("_mask"))
        and not options.get("is_causal", False)
        # torch's own copies the weights for every token, under autocast: ten times slower.
        and query.device.type == "cpu"
        and not torch.is_grad_enabled()
    )
    if not is_plain:
        return type(module).forward(module, query, key, value, attn_mask=mask, **options)
    mixed = linear(query, weight, module.in_proj_bias).unflatten(-1, (3, module.num_heads, -1))
    if mask is not None:
        mask = mask.to(mixed.dtype)
    attended = scaled_dot_product_attention(*mixed.permute(2, 0, 3, 1, 4).unbind(0), attn_mask=mask)
    attended = attended.transpose(1, 2).flatten(2)
    return linear(attended, module.out_proj.weight, module.out_proj.bias), None
