"""The arithmetic that networks compute in."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

PRECISIONS = ("float32", "bfloat16", "float16")


def check_precision(precision: str) -> None:
    """Refuse a precision that is none of `PRECISIONS`.

    Raises:
        ValueError: If the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"precision: expected one of {', '.join(PRECISIONS)}, found {precision!r}")


def arithmetic(
    device: torch.device | str, precision: str
) -> contextlib.AbstractContextManager[torch.autocast]:
    """Return the context in which a network computes at a precision.

    Args:
        device: Where the network lives.
        precision: `float32`, or `bfloat16` or `float16` under autocast: products in the lower
            precision, weights and everything else as they are.

    Raises:
        ValueError: If the precision is unknown.
    """
    import torch

    check_precision(precision)
    is_low = precision != "float32"
    dtype = getattr(torch, precision) if is_low else None
    return torch.autocast(torch.device(device).type, dtype=dtype, enabled=is_low)
