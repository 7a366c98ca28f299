"""Variants as switches: each bug of the published code is a switch, a variant a preset of all."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any


def switched(kind: str, variant: str, switches: Mapping[str, Any]) -> Any:
    """Turn a variant's name and single switches into the method's switches.

    Args:
        kind: Folder of the method below `realitycheck.methods`.
        variant: A key of its `VARIANTS`.
        switches: Values that take the place of the variant's own.

    Returns:
        The method's frozen dataclass of switches.

    Raises:
        ValueError: If a switch is unknown or of the wrong type.
    """
    preset = importlib.import_module(f"realitycheck.methods.{kind}.algorithm").VARIANTS[variant]
    known = {field.name: getattr(preset, field.name) for field in fields(preset)}
    for name, value in switches.items():
        if name not in known:
            raise ValueError(
                f"{kind} has no switch '{name}'; its switches are {', '.join(sorted(known))}"
            )
        if type(value) is not type(known[name]):
            raise ValueError(
                f"switch '{name}' of {kind} takes a value like {known[name]!r}, found {value!r}"
            )
    return replace(preset, **switches)
