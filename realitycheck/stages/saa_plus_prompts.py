"""What SAA+ asks about a product, out of a prompt set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from realitycheck.methods.saa_plus_prompts import SaaPlusPrompts, captions, default_prompts


def prompts_of_category(wanted: Any, category: str) -> SaaPlusPrompts:
    """Prompts of SAA+ for a category.

    Args:
        wanted: `auto`, or a mapping from categories (or `default`) to a known name or to the fields
            of `SaaPlusPrompts`.
        category: The category.
    """
    block = "auto" if wanted == "auto" else wanted.get(category, wanted.get("default", "auto"))
    if isinstance(block, str):
        return default_prompts(category if block == "auto" else block)
    return SaaPlusPrompts(
        **{
            **block,
            "object_name": block["object_name"] or block["class_name"],
            "class_prompts": tuple(tuple(pair) for pair in block["class_prompts"]),
        }
    )


def used_captions(wanted: Any, categories: Iterable[str], *, forms: Iterable[bool]) -> list[str]:
    """Every caption of SAA+ for some categories, without repeats."""
    asked = [
        captions(prompts_of_category(wanted, category), object_comma=form)
        for category in categories
        for form in forms
    ]
    texts = [text for each in asked for text in (each.object_caption, *each.defect_captions)]
    return list(dict.fromkeys(texts))
