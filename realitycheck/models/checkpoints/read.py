"""Checkpoints as data: what is known of the official files, and loading without running code.

A checkpoint comes as safetensors, as a pickle written by `torch.save`, or, for the original CLIP
file, as a TorchScript archive. Which of the three it is, is read from its content and not from its
name. Pickles and archives are read as data (`pickled`, `archives`): no loader of torch sees them.
"""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from realitycheck.models.checkpoints.archives import is_zip, open_legacy, open_zip
from realitycheck.models.checkpoints.pickled import BrokenCheckpoint, CheckpointError, shown
from realitycheck.models.checkpoints.state_dicts import chosen_state, kept_names, without_prefixes

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_BYTES = 1 << 22


def _container(path: Path) -> str:
    """Tell by content which of the known containers a file is.

    Returns:
        "safetensors", "zip" (`torch.save` since 1.6, TorchScript) or "pickle" (older).
    """
    if is_zip(path):
        return "zip"
    with path.open("rb") as file:
        head = file.read(512)
    if len(head) >= 9 and head[8:9] == b"{":
        header_bytes = int.from_bytes(head[:8], "little")
        if 2 <= header_bytes <= path.stat().st_size - 8:
            return "safetensors"
    if head[:1] == b"\x80":
        return "pickle"
    found = "an empty file" if not head else f"a file that begins with {head[:8]!r}"
    if head[257:262] == b"ustar":
        found = "a tar archive, as torch wrote before 2018"
    raise CheckpointError(
        f"expected safetensors, a torch.save file or TorchScript, found {found}; "
        "it may be a broken download or an error page, so delete it and fetch it again"
    )


def load_state(path: str | Path, *, unread: tuple[str, ...] = ()) -> dict[str, Tensor]:
    """Load the tensors of a checkpoint by name, without running any code from the file.

    They are mapped into memory: what is never read costs nothing, so taking a decoder from a 2.4 GB
    file is cheap. Of a training checkpoint the one state dict in it is taken, and the prefixes of
    training programs are taken off (`realitycheck.models.checkpoints.state_dicts`).

    Args:
        path: The checkpoint: safetensors, `torch.save` of a state dict, or TorchScript.
        unread: Beginnings of names whose tensors will not be read; their checksums are not either.

    Returns:
        Tensors by their key in the file, on the CPU, in the file's precision.

    Raises:
        FileNotFoundError: If the file does not exist.
        CheckpointError: If loading it would need to run code, if it is broken, or if it holds no
            state dict or several.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a checkpoint file, found nothing; fetch the weights first, or "
            "correct the path in the settings"
        )
    try:
        container = _container(path)
        if container == "safetensors":
            return without_prefixes(_load_safetensors(path))
        archive = open_zip(path) if container == "zip" else open_legacy(path)
        return archive.tensors(without_prefixes(chosen_state(archive)), unread=unread)
    except BrokenCheckpoint as error:
        raise _broken(path, str(error)) from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # what a place before the file's beginning gives
            raise
        raise _broken(path, "it points outside of itself") from error
    except (RuntimeError, ValueError, TypeError, KeyError, IndexError, OverflowError) as error:
        # What a hostile or damaged file makes of torch's own checks of sizes.
        raise _broken(path, shown(str(error))) from error


def _broken(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: a broken checkpoint ({reason}); fetch it again, or have it saved anew"
    )


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return _expand(load_file(str(path)), path)
    except SafetensorError as error:
        raise CheckpointError(
            f"a broken safetensors file ({shown(str(error))}); delete it and fetch it again"
        ) from error


#: Metadata of a compact safetensors file: which rows of which tensor it holds, which names are one.
COMPACT_KEY = "realitycheck_compact"
#: Tables that are given back: 20 times the vocabulary of CLIP, 5 times its table in float32.
_MOST_ROWS = 1_000_000
_LARGEST_TABLE_BYTES = 1 << 29


def _expand(stored: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Give back what `training.export` left out; other files come through unchanged."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        plan = json.loads((file.metadata() or {}).get(COMPACT_KEY, "{}"))
    if not isinstance(plan, dict):
        raise BrokenCheckpoint(f"its metadata {COMPACT_KEY} are no mapping")
    for name, n_rows in plan.get("n_rows", {}).items():
        values, rows = stored.pop(f"{name}.values"), stored.pop(f"{name}.rows")
        if not (type(n_rows) is int and rows.ndim == 1 and 0 <= n_rows <= _MOST_ROWS):
            raise BrokenCheckpoint(f"{shown(name)} should have {shown(n_rows)} rows")
        if n_rows * math.prod(values.shape[1:]) * values.itemsize > _LARGEST_TABLE_BYTES:
            raise BrokenCheckpoint(f"{shown(name)} takes more than {_LARGEST_TABLE_BYTES} bytes")
        full = values.new_zeros(n_rows, *values.shape[1:])
        full[rows.long()] = values
        stored[name] = full
    for name, other in plan.get("same_as", {}).items():
        stored[name] = stored[other]
    return stored


def check_keys(
    missing: Iterable[str],
    unexpected: Iterable[str],
    *,
    path: str | Path,
    allowed_unexpected: Iterable[str] = (),
) -> None:
    """Refuse a checkpoint whose names do not fit the model.

    Args:
        missing: Names that the model needs and the file lacks.
        unexpected: Names that the file holds and the model does not know.
        path: The file, for the message.
        allowed_unexpected: Endings of names that may be left over.

    Raises:
        ValueError: If a name is missing, or left over without permission.
    """
    missing = sorted(missing)
    endings = tuple(allowed_unexpected)
    surplus = sorted(key for key in unexpected if not (endings and key.endswith(endings)))
    if not missing and not surplus:
        return
    parts = [
        f"{len(keys)} {what} (first: {', '.join(shown(key)[1:-1] for key in keys[:3])})"
        for keys, what in ((missing, "missing"), (surplus, "unexpected"))
        if keys
    ]
    raise CheckpointError(
        f"{path}: the names in this checkpoint do not fit the model: {'; '.join(parts)}"
        + (
            kept_names(missing, surplus)
            or "; check that the file and the model's variant belong together"
        )
    )


def check_shapes(
    state: Mapping[str, Tensor], expected: Mapping[str, Tensor], *, path: str | Path
) -> None:
    """Refuse a checkpoint with a tensor of another shape than the model's.

    Args:
        state: The file's tensors by name.
        expected: The model's tensors by name; names that `state` lacks are left to `check_keys`.
        path: The file, for the message.

    Raises:
        ValueError: If a shape differs.
    """
    wrong = [
        name
        for name, tensor in expected.items()
        if name in state and tuple(state[name].shape) != tuple(tensor.shape)
    ]
    if wrong:
        first = wrong[0]
        raise CheckpointError(
            f"{path}: {len(wrong)} of {len(expected)} tensors have another shape than the model's "
            f"(first: {first}, expected {tuple(expected[first].shape)}, found "
            f"{tuple(state[first].shape)}); check that the file and the model's variant belong "
            "together"
        )


def check_size(state: Mapping[str, Tensor], n_parameters: int, *, path: str | Path) -> None:
    """Refuse a checkpoint whose shapes ask for a model that it cannot fill, before that is built.

    Args:
        state: The file's tensors by name.
        n_parameters: Numbers in the largest layers of a model of the sizes read off `state`.
        path: The file, for the message.

    Raises:
        CheckpointError: If the file has fewer numbers.
    """
    found = sum(tensor.numel() for tensor in state.values())
    if n_parameters > found:
        raise CheckpointError(
            f"{path}: the shapes of its tensors are those of a model of more than {n_parameters} "
            f"numbers, but it has {found}; fetch it again, or have it saved anew"
        )
