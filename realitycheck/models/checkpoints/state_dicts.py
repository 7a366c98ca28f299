"""Which of a checkpoint's tensors are the model's: the unambiguous is taken, the rest named."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from realitycheck.models.checkpoints.archives import Archive, script_state
from realitycheck.models.checkpoints.pickled import (
    CheckpointError,
    Foreign,
    TensorAt,
    place_of,
    shown,
)

log = logging.getLogger(__name__)

#: Keys under which training programs keep the model's state dict.
_OUTER = {
    *("model", "state_dict", "model_state_dict", "model_state", "module"),
    *("net", "network", "params", "weights"),
}
#: Words in the keys of a second set of weights: an average over the training.
_AVERAGES = {"ema", "average", "averaged", "avg", "swa", "teacher"}
#: What parallel training, Lightning and torch.compile put before every name.
_PREFIXES = ("module.", "model.", "_orig_mod.", "net.", "network.")

Path = tuple[str, ...]


def chosen_state(archive: Archive) -> dict[str, TensorAt]:
    """Find the one state dict of a checkpoint.

    Args:
        archive: The opened file.

    Returns:
        Descriptions of tensors by their name in the file.

    Raises:
        CheckpointError: If the file asks to call functions, or holds no state dict, or several of
            which none is the model's for certain.
    """
    root = archive.root
    if isinstance(root, Foreign) and root.name.startswith("__torch__.") and not archive.calls:
        found = script_state(archive)
        if not found:
            raise CheckpointError(
                "expected a state dict, found a TorchScript archive without tensors"
            )
        return found
    if archive.calls:
        first = archive.calls[0]
        where = place_of(first, root)
        raise CheckpointError(
            "loading this file would run code from inside it, and such files are refused: "
            f"{where or 'something in it'} is made by calling {shown(first.name)} "
            f"({len(archive.calls)} such calls). Use the official file or one in safetensors; "
            + _remedy(archive, _first_outer(root))
        )
    if not isinstance(root, Mapping) or not root:
        raise _no_state(archive)
    found = _state_dicts(root)
    averages = [path for path in found if _AVERAGES & set(re.split(r"[\W_]+", str(path).lower()))]
    models = [path for path in found if _OUTER.issuperset(path)]
    if not models and not any(isinstance(v, TensorAt) and v.shape for v in root.values()):
        models = list(found)
    if len(models) == 1 and not set(averages) - set(models):
        _tell(archive, models[0])
        return found[models[0]]
    if not models or not found:
        raise _no_tensors_alone(archive)
    names = " and ".join(_access(path) for path in sorted(found))
    raise CheckpointError(
        f"it holds {len(found)} sets of weights, {names}, and only its maker knows which is meant; "
        + _remedy(archive, max(found))
    )


def _state_dicts(root: Mapping) -> dict[Path, dict[str, TensorAt]]:
    """State dicts in the outermost two mappings by the keys that lead to them, each once."""
    if _is_state(root):
        return {(): dict(root)}
    found: dict[Path, dict[str, TensorAt]] = {}
    seen: set[int] = set()
    for key, value in root.items():
        inner = {(key,): value}
        if isinstance(value, Mapping) and not _is_state(value):
            inner = {} if "param_groups" in value else {(key, k): v for k, v in value.items()}
        for path, state in inner.items():
            is_new = _is_state(state) and id(state) not in seen
            if is_new and all(isinstance(part, str) for part in path):
                seen.add(id(state))
                found[path] = dict(state)
    return found


def _is_state(value: object) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, TensorAt) for k, v in value.items())
    )


def _tell(archive: Archive, path: Path) -> None:
    if path:
        others = [shown(key) for key in archive.root if key != path[0]]
        log.info(
            "%s: the weights are those under %s; not used: %s",
            archive.path,
            _access(path),
            ", ".join(others[:20]) or "nothing",
        )


def _no_state(archive: Archive) -> CheckpointError:
    root = archive.root
    kind = f"a {type(root).__name__}"
    if isinstance(root, Mapping):
        kind = "an empty one"
    elif isinstance(root, TensorAt):
        kind = "a single tensor"
    elif isinstance(root, Foreign):
        kind = f"a whole object, {shown(root.name)}"
        remedy = _remedy(archive, (), method=".state_dict()")
        return CheckpointError(f"expected a state dict (names and tensors), found {kind}; {remedy}")
    return CheckpointError(
        f"expected a state dict (names and tensors), found {kind}; use a file of weights"
    )


def _no_tensors_alone(archive: Archive) -> CheckpointError:
    """Name the first entry that keeps a mapping from being a state dict."""
    path = _first_outer(archive.root)
    entries = archive.root
    for key in path:
        entries = entries[key]
    foreign = [
        k for k, v in entries.items() if not (isinstance(k, str) and isinstance(v, TensorAt))
    ]
    first = next(iter(foreign), None)
    value = entries.get(first)
    what = value.name if isinstance(value, Foreign) else type(value).__name__
    if isinstance(value, TensorAt):
        what = f"tensor under a key that is no text but a {type(first.value).__name__}"
    under = f"under {_access(path)}, " if path else ""
    return CheckpointError(
        f"expected tensors by name only, but {under}{len(foreign)} of {len(entries)} entries are "
        f"not (first: {shown(first)}, a {shown(what)[1:-1]}); "
        + _remedy(archive, path, only_tensors=True)
    )


def _first_outer(root: object) -> Path:
    """Keys that most likely lead to the weights, for the remedy."""
    path: Path = ()
    while isinstance(root, Mapping) and len(path) < 2:
        key = next((k for k in root if k in _OUTER and isinstance(root[k], Mapping)), None)
        if key is None:
            break
        path, root = (*path, key), root[key]
    return path


def _access(path: Path) -> str:
    return "".join(f"[{shown(key)}]" for key in path)


def _remedy(archive: Archive, path: Path, *, method: str = "", only_tensors: bool = False) -> str:
    name, access = archive.path.name, _access(path)
    kept = f"found{access}{method}"
    if only_tensors:
        kept = f"{{k: v for k, v in {kept}.items() if torch.is_tensor(v)}}"
    return (
        "if you trust its maker, for this runs the file's code, keep the weights alone:\n"
        "  import torch\n"
        f"  found = torch.load({shown(name)}, map_location='cpu', weights_only=False)\n"
        f"  torch.save({kept}, {shown(f'weights_of_{archive.path.stem}.pth')})\n"
        "and name the new file in the settings"
    )


def without_prefixes(state: Mapping[str, Any]) -> dict[str, Any]:
    """Take off what training programs put before every name; see `_PREFIXES`.

    A prefix that only some names have is left: then the names mean different things.
    """
    while state and (
        prefix := next((p for p in _PREFIXES if all(name.startswith(p) for name in state)), None)
    ):
        state = {name.removeprefix(prefix): value for name, value in state.items()}
    return dict(state)


def kept_names(missing: list[str], unexpected: list[str]) -> str:
    """Say before what prefixes the missing names stand in the file; empty if they are not in it."""
    if not missing:
        return ""
    ending = f".{missing[0]}"
    found = [name.removesuffix(missing[0]) for name in unexpected if name.endswith(ending)]
    if not found:
        return ""
    prefixes = " and ".join(shown(prefix) for prefix in found[:3])
    return (
        f"; the missing names are in the file behind {prefixes}: write a file without the prefix, "
        "such as {k.removeprefix(p): v for k, v in state.items() if k.startswith(p)} with "
        f"p = {shown(found[0])}"
    )
