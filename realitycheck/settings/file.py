"""Reading a settings file: YAML or JSON in UTF-8, with nothing lost on the way.

YAML keeps the last of two equal keys and reads some keys as something else than they say (`no`,
`001`). Both lose what a person wrote, so they are faults, each with its line.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

_KINDS = {"bool": "true or false", "int": "a number", "float": "a number", "null": "nothing"}


class SettingsFileError(ValueError):
    """A settings file that cannot be read at all; one line that names the file and the place."""


def read_settings_file(path: str | Path) -> tuple[Any, list[str]]:
    """Read a settings file.

    Args:
        path: YAML or JSON, UTF-8.

    Returns:
        What it holds, an empty mapping for an empty file; and a fault for each key that stands
        twice or is not read as it is written.

    Raises:
        OSError: If it cannot be opened.
        SettingsFileError: If it is not UTF-8, or no YAML.
    """
    text = _decoded(Path(path).read_bytes(), path)
    try:
        return _read_json(text)
    except json.JSONDecodeError:
        pass
    try:
        loader = yaml.SafeLoader(text)
        node = loader.get_single_node()
        faults = list(_key_faults(node, loader)) if node is not None else []
        value = loader.construct_document(node) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        context = f" ({error.context})" if error.context else ""
        raise SettingsFileError(
            f"{path}: line {mark.line + 1}, column {mark.column + 1}: {error.problem}{context}; "
            "expected YAML, indented with blanks"
        ) from None
    except yaml.YAMLError as error:
        raise SettingsFileError(f"{path}: {' '.join(str(error).split())}; expected YAML") from None
    try:
        json.dumps(value, default=str, skipkeys=True)
    except ValueError:
        raise SettingsFileError(
            f"{path}: an alias (*name) stands within the block that it repeats; write it out"
        ) from None
    return {} if value is None else value, faults


def _decoded(content: bytes, path: str | Path) -> str:
    wide = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE, codecs.BOM_UTF32_BE)
    if content.startswith(wide) or b"\0" in content[:4]:
        raise SettingsFileError(
            f"{path}: the file is in UTF-16 or UTF-32 (as PowerShell's > writes it), expected "
            "UTF-8; save it as UTF-8"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = len(before.rpartition(b"\n")[2].decode(errors="replace")) + 1
        line, byte = before.count(b"\n") + 1, content[error.start]
        guess = bytes([byte]).decode("cp1252", errors="ignore")
        meant = f", in Windows-1252 the letter {guess}" if guess else ""
        raise SettingsFileError(
            f"{path}: line {line}, column {column}: byte 0x{byte:02x} is not "
            f"UTF-8{meant}; save the file as UTF-8"
        ) from None


def _read_json(text: str) -> tuple[Any, list[str]]:
    """Read JSON; a key that stands twice has no line there."""
    faults = []

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        for name in sorted({name for name in names if names.count(name) > 1}):
            faults.append(f"{name}: this key stands twice in one block; rename or remove one")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=mapping), faults


def _key_faults(node: yaml.Node, loader: yaml.SafeLoader) -> Iterator[str]:
    """Look through every block once, also those that stand at several places by an alias."""
    pending, seen = [(node, "")], set()
    while pending:
        node, path = pending.pop(0)
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            pending += [(each, f"{path}[{i}]") for i, each in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            continue
        lines: dict[str, list[int]] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                pending.append((value, path))
                continue
            own = f"{path}.{key.value}".lstrip(".")
            pending.append((value, own))
            lines.setdefault(key.value, []).append(key.start_mark.line + 1)
            kind = key.tag.rpartition(":")[2]
            if kind != "str" and str(loader.construct_object(key)) != key.value:
                yield (
                    f"{own}: YAML reads this key (line {lines[key.value][-1]}) as "
                    f"{_KINDS.get(kind, kind)}; put it in quotes"
                )
        for key, numbers in lines.items():
            if len(numbers) > 1:
                *first, last = map(str, numbers)
                times = "twice" if len(numbers) == 2 else f"{len(numbers)} times"
                yield (
                    f"{path}.{key}".lstrip(".") + f": this key stands {times}, in lines "
                    f"{', '.join(first)} and {last}, and only the last would count; rename or "
                    "remove the others"
                )
