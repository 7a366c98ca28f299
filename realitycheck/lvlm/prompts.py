"""Prompts as named constants with a version, and how they are filled in for a product.

A prompt is a system text, a question, captions that tell the model which image is which, and the
schema of the answer. Its words are part of the key under which an answer is stored, so an edited
word asks anew and an unedited one never does.
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

PLACEHOLDERS = ("object", "defects")
"""What a text may leave open: the product's name, and its defects as a list in words."""

SYSTEM_TEXT = (
    "You are a visual quality inspector in series production. Judge only what the images show. "
    "First state your reasoning. Then label the last image: OK if the part is free from anomalies "
    "and defects, NOK if it has any. Last, give a score from 0 (certainly OK) to 100 "
    "(certainly NOK)."
)
"""What every question is opened with; version 1. The study does not publish its own."""

RESPONSE_SCHEMA = {
    "type": "object",
    "properties": {
        "reasoning": {
            "type": "string",
            "description": "What the last image shows, and why that is or is not a defect.",
        },
        "label": {
            "type": "string",
            "enum": ["OK", "NOK"],
            "description": "OK: free from defects. NOK: defective.",
        },
        "score": {
            "type": "integer",
            "minimum": 0,
            "maximum": 100,
            "description": "0: certainly OK. 100: certainly NOK.",
        },
    },
    "required": ["reasoning", "label", "score"],
}
"""Schema of an answer; version 1. The reason comes first, so it is written before the label."""


@dataclass(frozen=True)
class PromptTemplate:
    """What is asked about an image, with the product left open.

    Attributes:
        version: Name of this wording, for people; what counts for the key are the words.
        text: The question; it follows the images. `{object}` and `{defects}` are filled in.
        system: The system text; may hold the same placeholders.
        uses_reference: Whether a defect-free image of the product is shown first.
        reference_caption: Text before the reference image.
        example_caption: Text before each example image; `{label}` is OK or NOK.
        image_caption: Text before the image that is asked about.
    """

    version: str
    text: str
    system: str = SYSTEM_TEXT
    uses_reference: bool = True
    reference_caption: str = "Reference image, free from defects:"
    example_caption: str = "Example image, labelled {label}:"
    image_caption: str = "Image to inspect:"

    def __post_init__(self) -> None:
        for name in ("text", "system"):
            check_text(getattr(self, name), where=name)
        if not self.text.strip():
            raise ValueError("text: a prompt must ask something, got an empty text")
        check_text(self.example_caption, where="example_caption", known=("label",))
        for name in ("reference_caption", "image_caption"):
            check_text(getattr(self, name), where=name, known=())

    @property
    def placeholders(self) -> frozenset[str]:
        """Names of what the texts leave open."""
        return placeholders_of(self.text) | placeholders_of(self.system)


def placeholders_of(text: str) -> frozenset[str]:
    """Names in braces of a text."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(text) if field is not None]
    except ValueError as error:
        raise ValueError(
            f"{text!r} is no template ({error}); write a brace that is meant as such twice"
        ) from error
    return frozenset(fields)


def check_text(text: str, *, where: str, known: Sequence[str] = PLACEHOLDERS) -> None:
    """Refuse a text with placeholders that nothing fills.

    Raises:
        ValueError: Naming the text, the placeholder and the known ones.
    """
    try:
        unknown = sorted(placeholders_of(text) - set(known))
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if unknown:
        names = ", ".join(f"{{{name}}}" for name in known) or "none"
        raise ValueError(
            f"{where}: {{{unknown[0]}}} is not known; placeholders here: {names}. Write a brace "
            "that is meant as such twice"
        )


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put the product's words into a text.

    Args:
        text: A checked template.
        values: Words by placeholder; more than the text uses is fine.

    Raises:
        ValueError: If the text uses a placeholder that has no words.
    """
    missing = sorted(
        name for name in placeholders_of(text) if not str(values.get(name) or "").strip()
    )
    if missing:
        raise ValueError(
            f"the prompt uses {{{missing[0]}}}, but the data set does not say what that is; give "
            f"the words for {', '.join(missing)}, or take the placeholder out of the prompt"
        )
    return text.format_map({name: str(value) for name, value in values.items()})
