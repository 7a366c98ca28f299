"""What a check of a data set found, and which types of defects a text names."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd

#: Words that name no particular type of defect.
_GENERIC = frozenset(
    {"anomaly", "anomalous", "bad", "damage", "damaged", "defect", "defective"}
    | {"fault", "faulty", "flaw", "flawed", "nok", "other", "unknown"}
)


class Finding(NamedTuple):
    """What a check found; nothing where `n_affected` is 0."""

    finding: str
    n_affected: int
    example: str | None


NOTHING = Finding("nothing found", 0, None)


def named_defects(text: str, defect_types: Iterable[Any]) -> list[str]:
    """Tell which of the defect types a text names.

    A type is named if each of its words stands in the text, in the singular or plural, whatever the
    case. Words such as "defect" or "damage" name no type.

    Args:
        text: What a method is told.
        defect_types: Types of the scored images; missing ones do not count.

    Returns:
        The types, sorted.
    """
    known = {_stem(word) for word in _words(text)}
    types = sorted({str(each) for each in defect_types if each is not None and not pd.isna(each)})
    return [
        each
        for each in types
        if (words := [_stem(w) for w in _words(each) if w not in _GENERIC])
        and all(word in known for word in words)
    ]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W\d_]+", text.lower())


def _stem(word: str) -> str:
    """Take the ending of a plural away."""
    if len(word) > 4 and word.endswith(("ches", "shes", "xes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and word[-2] != "s" else word


def count_text(n: int, noun: str) -> str:
    """Print a number with its noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
