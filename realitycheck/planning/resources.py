"""Resources."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class _Needs:
    """What a job of a network takes.

    Attributes:
        memory_mb: Its float32 weights, torch, and the largest intermediate result.
        threads: CPU threads that it makes use of.
        time: Time of an image, relative to the largest variant.
    """

    memory_mb: int
    threads: int
    time: float = 1.0


_NEEDS = {
    ("sam", "vit_h"): _Needs(12_000, 8),
    ("sam", "vit_l"): _Needs(9_000, 8, 0.5),
    ("sam", "vit_b"): _Needs(7_000, 4, 0.25),
    ("grounding_dino", "swint_ogc"): _Needs(6_000, 4),
}

_SMALL_NETWORK = _Needs(3_000, 4)

_MINIATURE = _Needs(1_500, 1, 0.01)

#: Times as long as on a GPU that a network takes on one thread of a CPU.
_CPU_SLOWNESS = 100
