"""What the images of a category show, in words."""

from __future__ import annotations

from collections.abc import Mapping


def object_name(names: str | Mapping[str, str] | None, category: str) -> str:
    """What the images of a category show, in words."""
    default = category.replace("_", " ")
    if names is None:
        return default
    return names if isinstance(names, str) else names.get(category, default)
