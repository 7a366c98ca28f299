"""Reading a setting as its author meant it, where only one thing can be meant.

A word where a list is meant is a list of one, `~` and `$HOME` are folders, and digits are one of
the names that a setting takes where such a name is made of digits.
"""

from __future__ import annotations

import os
import re
import types
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    model_validator,
)

_VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")


def expanded(path: str) -> str:
    """Put the home folder and environment variables into a path.

    Args:
        path: May begin with `~` or `~user`, and hold `$NAME` or `${NAME}`. A path that exists as it
            is written stays so.

    Raises:
        ValueError: If a variable is not set, or a user has no home folder.
    """
    if os.path.lexists(path) or not ("$" in path or path.startswith("~")):
        return path
    for match in _VARIABLE.finditer(path):
        name = match[1] or match[2]
        if not os.environ.get(name):
            raise ValueError(
                f"{path!r} names the environment variable {name}, which is not set; set it, or "
                "write the path out"
            )
    found = os.path.expanduser(os.path.expandvars(path))
    if found.startswith("~"):
        raise ValueError(f"{path!r} names a home folder that is not known; write the path out")
    return found


#: A path in the settings.
FilePath = Annotated[str, AfterValidator(expanded)]


def composed(name: str) -> str:
    """Compose the letters of a name (NFC), as those of categories are, however the disk has it."""
    return unicodedata.normalize("NFC", name)


#: The name of a category in the settings.
Category = Annotated[str, AfterValidator(composed)]


def as_meant(annotation: Any, value: Any) -> Any:
    """Bring a value into the form that its setting takes, where only one thing can be meant.

    Args:
        annotation: The setting's type.
        value: What the settings file holds.

    Returns:
        The value; a list of it where a list is meant, but not of words with a comma, which may be
        one entry or several. `true` and `false` become words where a number is meant, which they
        would pass for.
    """
    kinds = list(_kinds(annotation))
    choices = [choice for kind in kinds if get_origin(kind) is Literal for choice in get_args(kind)]
    if isinstance(value, bool):
        is_number = {int, float} & set(kinds) and not {bool, str} & set(kinds)
        return str(value).lower() if is_number and value not in choices else value
    if isinstance(value, str | int | float) and value not in choices:
        value = next((choice for choice in choices if str(choice) == str(value)), value)
    entries = [get_args(kind)[0] for kind in kinds if get_origin(kind) is tuple]
    if not entries or value is None or isinstance(value, list | tuple) or value in choices:
        return value
    is_unclear = isinstance(value, str) and "," in value
    return value if is_unclear or get_origin(entries[0]) is tuple else [value]


def _kinds(annotation: Any) -> Iterator[Any]:
    """Members of a union, without their constraints."""
    if get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _kinds(member)
    else:
        yield annotation


def check_numbers(sizes: Mapping[str, Any]) -> None:
    """Refuse sizes of a network that are no numbers, or lists of them.

    Raises:
        ValueError: Naming the first.
    """
    for name, value in sizes.items():
        for each in value if isinstance(value, list | tuple) else [value]:
            if not isinstance(each, int | float):
                raise ValueError(f"{name}: expected a number, found {each!r}")


def without(data: Mapping[str, Any], locations: Sequence[Sequence[Any]]) -> tuple[dict, set[str]]:
    """Leave out what has faults, so that the rest can be looked through at the same time.

    Args:
        data: Settings, plain values.
        locations: Where the faults are: steps from the top; those that are not in the data are
            passed over.

    Returns:
        The rest, and the key paths of what was left out. A method block takes its name out of the
        data sets' lists with it, a data set its prompts.
    """
    rest = plain(data)
    paths = {_innermost(data, location) for location in locations} - {()}
    for path in paths:
        node = rest
        for step in path[:-1]:
            node = node.get(step) or {}
        node.pop(path[-1], None)
        match path:
            case ("methods", name):
                for block in _mappings(rest.get("datasets")):
                    if isinstance(block.get("methods"), list):
                        block["methods"] = [each for each in block["methods"] if each != name]
            case ("datasets", name) if isinstance(rest.get("prompts"), dict):
                rest["prompts"].pop(name, None)
    return rest, {".".join(path) for path in paths}


def _innermost(data: Any, location: Sequence[Any]) -> tuple[str, ...]:
    """Keys down to the innermost entry of a mapping that a location lies in."""
    keys: list[str] = []
    for step in location:
        if isinstance(data, dict) and step in data:
            keys.append(step)
        elif not (isinstance(data, list) and isinstance(step, int) and step < len(data)):
            continue
        elif keys:
            break
        data = data[step]
    return tuple(keys)


def _mappings(block: Any) -> list[dict[str, Any]]:
    return [each for each in block.values() if isinstance(each, dict)] if block else []


def plain(value: Any) -> Any:
    """Copy nested mappings and lists; a key that JSON does not know, such as a day, as a text."""
    if isinstance(value, Mapping):
        known = (str, int, float, type(None))
        return {k if isinstance(k, known) else str(k): plain(each) for k, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list) else value


NAME_PATTERN = r"^[a-z0-9_]+$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]


class SettingsError(ValueError):
    """All faults of a settings file, one line each.

    Attributes:
        faults: The lines, each beginning with a key path.
        sound: The settings without the entries that have faults; None where nothing is left.
        left_out: Key paths of those entries.
    """

    def __init__(
        self, faults: list[str], *, sound: BaseModel | None = None, left_out: Iterable[str] = ()
    ):
        self.faults = faults
        self.sound = sound
        self.left_out = frozenset(left_out)
        noun = "fault" if len(faults) == 1 else "faults"
        super().__init__(
            f"the settings have {len(faults)} {noun}:\n" + "\n".join(f"  - {f}" for f in faults)
        )


class Strict(BaseModel):
    """A frozen block of the settings that refuses unknown keys and reads values as meant."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False
    )

    @model_validator(mode="before")
    @classmethod
    def _read_as_meant(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        kinds = {name: field.annotation for name, field in cls.model_fields.items()}
        return {k: as_meant(kinds[k], value) if k in kinds else value for k, value in given.items()}
