"""Page."""

from __future__ import annotations

from typing import Any


def _variant_text(variant: Any) -> str:
    if isinstance(variant, str):
        return variant
    return ", ".join(f"{key} {value}" for key, value in variant.items())
