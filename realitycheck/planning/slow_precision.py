"""Warn of an arithmetic that this machine does not have, and would only emulate."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from realitycheck.core.processor import gpus, has_bfloat16, widest_instructions
from realitycheck.models.registry import network

if TYPE_CHECKING:
    from realitycheck.settings.run import Settings

#: Compute capability from which on GPUs multiply in bfloat16.
_LEAST_CAPABILITY = 8.0


def precision_warnings(settings: Settings) -> list[str]:
    """Say which settings ask for bfloat16 where this machine has none.

    Such a run gives the same results, but takes many times as long. Networks that no method uses do
    not count, and where the machine does not tell what it has, nothing is said.

    Returns:
        Sentences, each beginning with a key path.
    """
    keys = {network(name).compute.get("precision") for name in settings.used_networks()} - {None}
    low = sorted(key for key in keys if getattr(settings.compute, key) == "bfloat16")
    lacking = _lacking(settings.compute.device) if low else None
    if lacking is None:
        return []
    return [f"compute.{key}: bfloat16 will be slow here. {lacking}" for key in low]


def _lacking(device: str) -> str | None:
    """What this machine lacks for bfloat16 on a device; None if nothing, or if it does not tell."""
    elsewhere = "jobs on other machines, as of a cluster, are not meant"
    found = gpus() if device in ("auto", "cuda") else []
    old = [f"{name}, {capability}" for name, capability in found if capability < _LEAST_CAPABILITY]
    if old:
        return (
            f"GPUs multiply in it from compute capability {_LEAST_CAPABILITY} on (found: "
            f"{'; '.join(old)}), others emulate it. Set float32 ({elsewhere})"
        )
    is_processor = device == "cpu" or (device == "auto" and not found and sys.platform != "darwin")
    if is_processor and has_bfloat16() is False:
        return (
            f"The processor has no such arithmetic (found: {widest_instructions()}) and emulates "
            "it: on AVX2 one image through SAM's ViT-B took 317 s, and 49 s in float32. Set "
            f"float32 ({elsewhere})"
        )
    return None
