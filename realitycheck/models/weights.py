"""Checkpoints as data: what is known of the official files, and loading without running code.

A checkpoint comes as safetensors, as a pickle written by `torch.save`, or, for the original CLIP
file, as a TorchScript archive. Which of the three it is, is read from its content and not from its
name. Pickles and archives are read as data (`pickled`, `archives`): no loader of torch sees them.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realitycheck.models.archives import is_zip, open_legacy, open_zip
from realitycheck.models.pickled import BrokenCheckpoint, CheckpointError, shown
from realitycheck.models.state_dicts import chosen_state, kept_names, without_prefixes

if TYPE_CHECKING:
    from torch import Tensor

_CHUNK_BYTES = 1 << 22
_BERT_REVISION = "86b5e0934494bd15c9632b12f734a8a67f723594"
_DINO_REVISION = "a94c9b567a2a374598f05c584e96798a170c56fb"
_WRN_REVISION = "30f73aceaaa1911830a9795b83ab1908dba18719"
_CLIP_DIGEST = "5806e77cd80f8b59890b7e101eabd078d9fb84e6937f9e85e4ecb61988df416f"


@dataclass(frozen=True)
class KnownFile:
    """One official file that the project knows how to fetch and to check.

    Attributes:
        file_name: Name under which the file is kept.
        url: Where the authors publish it.
        mirrors: Other places that serve the very same bytes.
        size_bytes: Its size, or None where the authors did not publish it.
        sha256: Its digest, hexadecimal, lower case.
        licence: Licence of the weights, as an SPDX identifier where there is one.
    """

    file_name: str
    url: str
    sha256: str
    licence: str
    size_bytes: int | None = None
    mirrors: tuple[str, ...] = ()


#: Official files by name. A text encoder is a folder: its files share the prefix before the slash.
KNOWN_WEIGHTS: dict[str, KnownFile] = {
    "sam_vit_h": KnownFile(
        file_name="sam_vit_h_4b8939.pth",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_h_4b8939.pth",
        sha256="a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        size_bytes=2_564_550_879,
        licence="Apache-2.0",
    ),
    "sam_vit_l": KnownFile(
        file_name="sam_vit_l_0b3195.pth",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_l_0b3195.pth",
        sha256="3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        size_bytes=1_249_524_607,
        licence="Apache-2.0",
    ),
    "sam_vit_b": KnownFile(
        file_name="sam_vit_b_01ec64.pth",
        url="https://dl.fbaipublicfiles.com/segment_anything/sam_vit_b_01ec64.pth",
        sha256="ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        size_bytes=375_042_383,
        licence="Apache-2.0",
    ),
    "grounding_dino_swint_ogc": KnownFile(
        file_name="groundingdino_swint_ogc.pth",
        url=(
            "https://github.com/IDEA-Research/GroundingDINO/releases/download/"
            "v0.1.0-alpha/groundingdino_swint_ogc.pth"
        ),
        mirrors=(
            "https://huggingface.co/ShilongLiu/GroundingDINO/resolve/"
            f"{_DINO_REVISION}/groundingdino_swint_ogc.pth",
        ),
        sha256="3b3ca2563c77c69f651d7bd133e97139c186df06231157a64c507099c52bc799",
        size_bytes=693_997_677,
        licence="Apache-2.0",
    ),
    # The detector's own file carries BERT's weights, so of BERT only these two are needed.
    "bert_base_uncased/config": KnownFile(
        file_name="config.json",
        url=f"https://huggingface.co/bert-base-uncased/resolve/{_BERT_REVISION}/config.json",
        sha256="7160e1553ad2ca51d8c1cb066be533db31826e12d173824c1bb0cb1a4f187d20",
        size_bytes=570,
        licence="Apache-2.0",
    ),
    "bert_base_uncased/vocab": KnownFile(
        file_name="vocab.txt",
        url=f"https://huggingface.co/bert-base-uncased/resolve/{_BERT_REVISION}/vocab.txt",
        sha256="07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        size_bytes=231_508,
        licence="Apache-2.0",
    ),
    "clip_vit_b_16": KnownFile(
        file_name="ViT-B-16.pt",
        url=f"https://openaipublic.azureedge.net/clip/models/{_CLIP_DIGEST}/ViT-B-16.pt",
        sha256=_CLIP_DIGEST,
        size_bytes=350_837_078,
        licence="MIT",
    ),
    "wide_resnet50_2_racm": KnownFile(
        file_name="wide_resnet50_2.racm_in1k.safetensors",
        url=(
            "https://huggingface.co/timm/wide_resnet50_2.racm_in1k/resolve/"
            f"{_WRN_REVISION}/model.safetensors"
        ),
        sha256="03b71d65fb2c73bb0de079a1781009f27a782ec481d2f64ab3bde9b1cdec3000",
        size_bytes=275_835_296,
        licence="Apache-2.0",
    ),
    "wide_resnet50_2_torchvision_v1": KnownFile(
        file_name="wide_resnet50_2-95faca4d.pth",
        url="https://download.pytorch.org/models/wide_resnet50_2-95faca4d.pth",
        sha256="95faca4d11227dddf8633dbb5ff6c8a9003c1aa5b8945c73834b8007b10950b8",
        licence="BSD-3-Clause",
    ),
}


def weights_digest(path: str | Path) -> str:
    """Compute the sha256 of a file, or of a folder of files, reading in small pieces.

    The digest of a folder covers the relative path, the length and the content of every file below
    it, in the order of the paths; hidden files (caches of the system) do not count.

    Args:
        path: A file or a folder.

    Returns:
        64 hexadecimal digits.

    Raises:
        FileNotFoundError: If there is nothing at `path`.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: expected a checkpoint file or folder, found nothing")
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    inner = sorted(
        (item.relative_to(path).as_posix(), item) for item in path.rglob("*") if item.is_file()
    )
    for name, item in inner:
        if any(part.startswith(".") for part in name.split("/")):
            continue
        whole.update(f"{name}\0{weights_digest(item)}\n".encode())
    return whole.hexdigest()


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
    training programs are taken off (`realitycheck.models.state_dicts`).

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
_COMPACT_KEY = "realitycheck_compact"
#: Tables that are given back: 20 times the vocabulary of CLIP, 5 times its table in float32.
_MOST_ROWS = 1_000_000
_LARGEST_TABLE_BYTES = 1 << 29


def save_compact(
    state: Mapping[str, Tensor], path: str | Path, *, rows: Mapping[str, Sequence[int]]
) -> Path:
    """Write safetensors without what need not be stored; `load_state` gives all of it back.

    Args:
        state: Tensors by name.
        path: Where to; appears complete or not at all.
        rows: For some names the rows that are stored; all others must be zero.

    Returns:
        The file.

    Raises:
        ValueError: If a row that would be left out is not zero.
    """
    import torch
    from safetensors.torch import save_file

    stored: dict[str, Tensor] = {}
    same_as: dict[str, str] = {}
    by_content: dict[tuple, str] = {}
    for name, tensor in state.items():
        if name in rows:
            left_out = tensor.clone()
            left_out[list(rows[name])] = 0
            if left_out.any():
                raise ValueError(
                    f"{path}: {name} has values in rows that are to be left out; store them too"
                )
            stored[f"{name}.rows"] = torch.tensor(list(rows[name]), dtype=torch.int32)
            stored[f"{name}.values"] = tensor[list(rows[name])].contiguous()
            continue
        content = tensor.contiguous().view(torch.uint8) if tensor.ndim else tensor.reshape(1)
        key = (tuple(tensor.shape), tensor.dtype, content.cpu().numpy().tobytes())
        if tensor.numel() > 64 and key in by_content:
            same_as[name] = by_content[key]
            continue
        by_content[key] = name
        stored[name] = tensor.contiguous().clone()
    plan = {"n_rows": {name: len(state[name]) for name in rows}, "same_as": same_as}
    path = Path(path)
    passing = path.with_name(path.name + ".part")
    save_file(stored, passing, metadata={_COMPACT_KEY: json.dumps(plan)})
    return passing.replace(path)


def _expand(stored: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Give back what `save_compact` left out; other files come through unchanged."""
    from safetensors import safe_open

    with safe_open(str(path), framework="pt") as file:
        plan = json.loads((file.metadata() or {}).get(_COMPACT_KEY, "{}"))
    if not isinstance(plan, dict):
        raise BrokenCheckpoint(f"its metadata {_COMPACT_KEY} are no mapping")
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
