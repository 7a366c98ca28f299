"""What SAA+ asks the detector about a product.

A module of its own, because detection depends on these texts and on nothing else of SAA+.

Source: Cao et al. (2023), "Segment Any Anomaly without Training via Hybrid Prompt Regularization",
and the repository Segment-Any-Anomaly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from realitycheck.models.grounding_dino.captions import normalise_caption

_GENERAL_CAPTIONS = ("defect on {}", "damage on {}", "flaw on {}")


@dataclass(frozen=True)
class SaaPlusPrompts:
    """What a person says of a product: prompts and properties.

    Attributes:
        class_name: Name of the product in the general prompts; boxes that bear it are dropped.
        object_name: What to look for to learn how large the product is.
        class_prompts: Pairs of a caption and a phrase; a box that bears the phrase is dropped. An
            empty phrase drops none.
        general_prompts: Whether "defect on …", "damage on …" and "flaw on …" are asked too.
        n_objects: How many products an image shows; with more than one, each is compared with the
            others.
        max_masks: How many masks at most make up the map.
        area_ratio: Largest area of a defect's box, as a share of the largest product's box.
    """

    class_name: str
    object_name: str
    class_prompts: tuple[tuple[str, str], ...]
    general_prompts: bool = True
    n_objects: int = 1
    max_masks: int = 5
    area_ratio: float = 0.9


def _mvtec(
    name: str, *captions: str, area_ratio: float = 0.9, filter_phrase: str | None = None
) -> SaaPlusPrompts:
    pairs = tuple((caption, filter_phrase or name) for caption in captions)
    return SaaPlusPrompts(name, name, pairs, area_ratio=area_ratio)


#: Published prompts of the 15 MVTec AD classes, and our proposals for the study's other two sets.
DEFAULT_PROMPTS: dict[str, SaaPlusPrompts] = {
    "carpet": _mvtec("carpet", "black hole", "thread", "defect."),
    "grid": _mvtec("grid", "irregular pattern", "defect."),
    "leather": _mvtec("leather", "defect."),
    "tile": _mvtec("tile", "defect."),
    "wood": _mvtec("wood", "defect."),
    "bottle": _mvtec("bottle", "broken part. contamination. white broken.", area_ratio=0.3),
    "cable": _mvtec("cable", "crack. flawed golden wire. black hole."),
    "capsule": _mvtec("capsule", "white crack. hole.", area_ratio=0.6),
    "hazelnut": _mvtec("hazelnut", "white print. crack. thread."),
    "metal_nut": _mvtec(
        "metal_nut",
        "blue defect. black defect. red defect. scratch.",
        area_ratio=1.0,
        filter_phrase="nut",
    ),
    "pill": _mvtec(
        "pill", "red defect. yellow defect. blue defect. crack. scratch.", area_ratio=1.0
    ),
    "screw": _mvtec("screw", "defect.", area_ratio=0.1),
    "toothbrush": _mvtec("toothbrush", "defect.", area_ratio=0.5),
    "transistor": _mvtec("transistor", "defect.", area_ratio=1.0),
    "zipper": _mvtec("zipper", "crack. broken leather.", area_ratio=0.5),
    # The cat is the "defect" and the object at once: a filter "cat" would drop every good box.
    "cat": SaaPlusPrompts("cat", "cat", (("cat", ""),), general_prompts=False, area_ratio=1.0),
    "sat": SaaPlusPrompts(
        "electronic package",
        "electronic package",
        (
            ("void. crack. delamination.", "electronic package"),
            ("defect.", "electronic package"),
        ),
    ),
}


def default_prompts(name: str) -> SaaPlusPrompts:
    """Look up the prompts of a known class, or make those of a new product from its name.

    A new product gets the general prompts, the caption "defect.", one object, five masks and an
    area ratio of 0.9, as most published classes have them. Underscores in its name become blanks.

    Args:
        name: Name of the class or product.

    Returns:
        Its prompts.

    Raises:
        ValueError: If the name holds no word.
    """
    if name in DEFAULT_PROMPTS:
        return DEFAULT_PROMPTS[name]
    words = name.replace("_", " ").strip().lower()
    if not words:
        raise ValueError(f"SAA+ prompts: expected the name of a product, found {name!r}")
    return SaaPlusPrompts(words, words, (("defect.", words),))


class Captions(NamedTuple):
    """What the detector is asked about an image.

    Attributes:
        object_caption: For the product itself.
        defect_captions: For defects, D texts.
        filter_phrases: A box of the caption with the same index is dropped if its label contains
            this; empty drops none.
    """

    object_caption: str
    defect_captions: tuple[str, ...]
    filter_phrases: tuple[str, ...]


def captions(prompts: SaaPlusPrompts, *, object_comma: bool) -> Captions:
    """List the captions of a product: one for the object, then general, then class prompts.

    Args:
        prompts: What is said of the product.
        object_comma: See `SaaPlusVariant`.

    Returns:
        The captions, in the detector's form.

    Raises:
        ValueError: If there is neither a general nor a class prompt.
    """
    pairs = [
        (text.format(prompts.class_name), prompts.class_name)
        for text in _GENERAL_CAPTIONS
        if prompts.general_prompts
    ]
    pairs += list(prompts.class_prompts)
    if not pairs:
        raise ValueError(
            f"SAA+ prompts of {prompts.class_name!r}: expected general prompts or at least one "
            "class prompt, found neither"
        )
    name = f"{prompts.object_name}," if object_comma else prompts.object_name
    return Captions(
        object_caption=normalise_caption(name),
        defect_captions=tuple(normalise_caption(text) for text, _ in pairs),
        filter_phrases=tuple(filter_phrase for _, filter_phrase in pairs),
    )


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


def detector_captions(told: Any, category: str, *, object_comma: bool) -> list[str]:
    """Every caption for images of a category, without repeats."""
    asked = captions(prompts_of_category(told, category), object_comma=object_comma)
    return list(dict.fromkeys((asked.object_caption, *asked.defect_captions)))
