"""Reading what a server sent: any text ends in a value or in one kind of error."""

from __future__ import annotations

import json
from typing import Any

_LONGEST_INTEGER = 300
"""Digits; longer ones are no counts or scores, and Python refuses to read thousands of them."""


class UnreadableError(ValueError):
    """A text that is no JSON, or none that says one thing."""


class _AmbiguousError(ValueError):
    """A name that stands twice in one object, with different values."""


def read_json(text: str) -> Any:
    """Read JSON as servers and models write it.

    Line breaks and tabs inside of texts are tolerated. What stands in texts is made writable (half
    a surrogate pair becomes U+FFFD), and an integer of more than 300 digits is read as infinite.

    Raises:
        UnreadableError: If it is no JSON, is nested too deeply, or gives a name two values.
    """
    text = text.strip()
    found, end = read_start(text)
    if text[end:]:
        raise UnreadableError("more than one value")
    return found


def read_start(text: str) -> tuple[Any, int]:
    """Read the JSON value at the start of a text; gives the value and where it ends."""
    try:
        found, end = _DECODER.raw_decode(text)
        return _writable(found), end
    except (ValueError, RecursionError) as error:
        raise UnreadableError(type(error).__name__) from None


def writable(text: str) -> str:
    """A text with every half of a surrogate pair replaced, so that any file can hold it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _writable(value: Any) -> Any:
    if isinstance(value, str):
        return writable(value)
    if isinstance(value, list):
        return [_writable(item) for item in value]
    if isinstance(value, dict):
        return {writable(name): _writable(item) for name, item in value.items()}
    return value


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONGEST_INTEGER else float(digits)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise _AmbiguousError
        found[name] = value
    return found


_DECODER = json.JSONDecoder(strict=False, parse_int=_integer, object_pairs_hook=_object)
