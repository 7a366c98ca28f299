"""Files of `torch.save` and TorchScript archives: where their tensors lie, and the tensors.

torch's own loaders are not used: that of TorchScript compiles and runs code from the file, and that
of mapped files does not look at checksums. Tensors are mapped into memory, so what is never read
costs nothing.
"""

from __future__ import annotations

import functools
import io
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from realitycheck.models.checkpoints.pickled import (
    BrokenCheckpoint,
    CheckpointError,
    Foreign,
    Pickled,
    StorageAt,
    TensorAt,
    read_pickle,
    shown,
)

if TYPE_CHECKING:
    from torch import UntypedStorage

_CHUNK_BYTES = 1 << 24
_LARGEST_CODE_BYTES = 1 << 26
_LARGEST_SIZE = 1 << 62
_ZIP_START = b"PK\x03\x04"
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
#: What tensors may take in memory beyond the file: some files hold one tensor under several names.
_LARGEST_GROWTH, _SMALL_BYTES = 4, 1 << 26

#: Class of a storage, in module `torch` or `torch.cuda`, and what its numbers are.
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}
#: Kinds of numbers that have no storage class of their own.
_NEW_DTYPES = {
    *("uint16", "uint32", "uint64"),
    *("float8_e5m2", "float8_e4m3fn", "float8_e5m2fnuz", "float8_e4m3fnuz", "float8_e8m0fnu"),
}


@dataclass(frozen=True)
class _Place:
    """Where a storage's bytes lie in the file, and their CRC-32 where the file has one."""

    start: int
    n_bytes: int
    crc: int | None = None


@dataclass
class Archive:
    """A checkpoint's content, with its tensors still on the disk.

    Attributes:
        path: The file.
        root: What was saved: mappings, lists, plain values, `TensorAt` and `Foreign`.
        calls: Foreign functions that the file asks to call.
        code: Text of a TorchScript archive's modules by name; empty for others. Never run.
    """

    path: Path
    root: object
    calls: list[Foreign]
    code: dict[str, str] = field(default_factory=dict)
    _place: Callable[[str], _Place] = field(kw_only=True)
    _whole: UntypedStorage | None = field(default=None, init=False)
    _parts: dict[str, UntypedStorage] = field(default_factory=dict, init=False)
    _checked: set[str] = field(default_factory=set, init=False)

    def tensors(self, wanted: Mapping[str, TensorAt], *, unread: tuple[str, ...]) -> dict:
        """Map tensors into memory.

        Args:
            wanted: Descriptions by name.
            unread: Beginnings of names whose numbers nobody will read; their bytes are not checked.

        Returns:
            Tensors by name; those that share their numbers in the file share them here.

        Raises:
            CheckpointError: If a description does not fit the file, or bytes are damaged.
        """
        import torch

        n_bytes, limit = 0, _LARGEST_GROWTH * self.path.stat().st_size + _SMALL_BYTES
        found = {}
        for name, tensor in wanted.items():
            dtype, storage = _checked_description(tensor, name)
            size = 1
            for side in tensor.shape:
                size *= side
            n_bytes += size * dtype.itemsize
            if n_bytes > limit:
                raise BrokenCheckpoint(
                    f"its tensors up to {shown(name)} take {n_bytes} bytes, much more than the file"
                )
            part = self._part(storage, dtype.itemsize)
            if not (unread and name.startswith(unread)):
                self._check_bytes(storage.key, name)
            found[name] = torch.empty(0, dtype=dtype).set_(
                part, tensor.offset, tensor.shape, tensor.stride
            )
        return found

    def _part(self, storage: StorageAt, item_bytes: int) -> UntypedStorage:
        import torch

        place = self._place(storage.key)
        file_bytes = self.path.stat().st_size
        claimed = storage.count * (item_bytes if storage.dtype else 1)
        if claimed > place.n_bytes or place.start + place.n_bytes > file_bytes:
            raise BrokenCheckpoint(
                f"storage {shown(storage.key)} should have {claimed} bytes, but the file has "
                f"{max(0, min(place.n_bytes, file_bytes - place.start))} for it"
            )
        if storage.key not in self._parts:
            if self._whole is None:
                self._whole = torch.UntypedStorage.from_file(str(self.path), False, file_bytes)
            part = self._whole[place.start : place.start + place.n_bytes]
            # In files from before torch 1.6 numbers begin anywhere.
            self._parts[storage.key] = part if place.start % 16 == 0 else part.clone()
        return self._parts[storage.key]

    def _check_bytes(self, key: str, name: str) -> None:
        place = self._place(key)
        if place.crc is None or key in self._checked:
            return
        with self.path.open("rb") as file:
            file.seek(place.start)
            if _crc(file, place.n_bytes) != place.crc:
                raise BrokenCheckpoint(f"the bytes of tensor {shown(name)} were changed (CRC-32)")
        self._checked.add(key)


def _checked_description(tensor: TensorAt, name: str) -> tuple:
    """The dtype and storage of a tensor, once its offset, shape and strides lie within them."""
    import torch

    storage = tensor.storage
    if not isinstance(storage, StorageAt):
        raise CheckpointError(f"tensor {shown(name)} is of a kind that is not read (quantised)")
    kind = storage.dtype or tensor.dtype
    if kind is None or (tensor.dtype and tensor.dtype not in _NEW_DTYPES):
        raise CheckpointError(f"tensor {shown(name)} is of a kind that is not read ({shown(kind)})")
    dtype = getattr(torch, kind)
    shape, stride = tensor.shape, tensor.stride
    are_numbers = isinstance(shape, tuple) and isinstance(stride, tuple)
    numbers = (tensor.offset, *shape, *stride) if are_numbers else ()
    if (
        not numbers
        or len(shape) != len(stride)
        or not all(type(n) is int and 0 <= n < _LARGEST_SIZE for n in numbers)
    ):
        raise BrokenCheckpoint(f"tensor {shown(name)} has a shape that makes no sense")
    last = tensor.offset + sum((n - 1) * step for n, step in zip(shape, stride, strict=True))
    count = storage.count // (1 if storage.dtype else dtype.itemsize)
    if 0 not in shape and last >= count:
        raise BrokenCheckpoint(
            f"tensor {shown(name)} of shape {shown(str(shape))} reaches number {last + 1} of the "
            f"{count} that are stored for it"
        )
    return dtype, storage


def _crc(file: BinaryIO, n_bytes: int) -> int:
    found = 0
    while n_bytes > 0 and (chunk := file.read(min(n_bytes, _CHUNK_BYTES))):
        found = zlib.crc32(chunk, found)
        n_bytes -= len(chunk)
    return found


def _storage_of(noted: object) -> object:
    """Turn torch's note of a storage (kind, class, key, device, count, …) into where it lies."""
    if not (isinstance(noted, tuple) and len(noted) >= 2 and isinstance(noted[0], str)):
        raise BrokenCheckpoint("it notes a storage in a way that torch.save does not")
    if noted[0] == "module":
        return noted[1]  # a class and its source, which old files carry along
    _, kind, key, _, count, *view = noted
    if not (isinstance(kind, Foreign) and isinstance(key, str) and type(count) is int):
        raise BrokenCheckpoint("it notes a storage in a way that torch.save does not")
    if count < 0 or count >= _LARGEST_SIZE or any(part is not None for part in view):
        raise BrokenCheckpoint(f"storage {shown(key)} has a size that makes no sense")
    if kind.name == "torch.storage.UntypedStorage":
        return StorageAt(key, None, count)
    module, _, name = kind.name.rpartition(".")
    if module not in ("torch", "torch.cuda") or name not in _STORAGES:
        return Foreign(kind.name)
    return StorageAt(key, _STORAGES[name], count)


# ---------------------------------------------------------------------------------------------- zip


def is_zip(path: Path) -> bool:
    """Whether a file begins as a zip archive does, whole or not."""
    with path.open("rb") as file:
        return file.read(4) == _ZIP_START


def open_zip(path: Path) -> Archive:
    """Open a file of `torch.save` since torch 1.6, or a TorchScript archive.

    Raises:
        CheckpointError: If the archive is damaged, or is not one that torch writes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = _checked_members(archive)
            lists = [name for name in members if name.endswith("/data.pkl")]
            if len(lists) != 1:
                raise CheckpointError(
                    f"expected one list of tensors (data.pkl), found {len(lists)}: a zip file "
                    "without tensors, or of something else, which may have to be unpacked"
                )
            folder = lists[0].removesuffix("data.pkl")
            is_script = f"{folder}constants.pkl" in members
            code = _code(archive, members, f"{folder}code/") if is_script else {}
            order = members.get(f"{folder}byteorder")
            if order is not None and _read(archive, order) != b"little":
                raise BrokenCheckpoint("its numbers are in the byte order of another machine")
            listed = io.BytesIO(archive.read(members[lists[0]]))  # whole, so its checksum counts
            found = read_pickle(listed, find_storage=_storage_of)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, struct.error) as error:
        raise BrokenCheckpoint(f"a broken zip archive ({shown(str(error))})") from error

    @functools.cache
    def place(key: str) -> _Place:
        return _place_of(members.get(f"{folder}data/{key}"), key, path)

    return Archive(path, found.root, found.calls, code, _place=place)


def _checked_members(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Members by name; refuses what no archive of torch has, and what two readers read as two."""
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.orig_filename
        if name in members:
            raise BrokenCheckpoint(f"the archive has two files of one name, {shown(name)}")
        if name.startswith("/") or "\\" in name or "\0" in name or ".." in name.split("/"):
            raise BrokenCheckpoint(
                f"the archive has a file with a name that leaves it, {shown(name)}"
            )
        if member.flag_bits & 1:
            raise BrokenCheckpoint(f"the archive has an encrypted file, {shown(name)}")
        members[name] = member
    for name, member in members.items():
        if name.endswith("/data.pkl") and member.compress_type != zipfile.ZIP_STORED:
            raise BrokenCheckpoint("its list of tensors is compressed, which torch.save never does")
    return members


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    if member.file_size > _LARGEST_CODE_BYTES:
        raise BrokenCheckpoint(f"{shown(member.filename)} would take {member.file_size} bytes")
    return archive.read(member)


def _code(archive: zipfile.ZipFile, members: Mapping, folder: str) -> dict[str, str]:
    names = [name for name in members if name.startswith(folder) and name.endswith(".py")]
    if (size := sum(members[name].file_size for name in names)) > _LARGEST_CODE_BYTES:
        raise BrokenCheckpoint(f"its code would take {size} bytes when unpacked")
    return {
        name.removeprefix(folder).removesuffix(".py").replace("/", "."): _read(
            archive, members[name]
        ).decode("utf-8", "replace")
        for name in names
    }


def _place_of(member: zipfile.ZipInfo | None, key: str, path: Path) -> _Place:
    if member is None:
        raise BrokenCheckpoint(f"the archive lacks storage {shown(key)}")
    if member.compress_type != zipfile.ZIP_STORED:
        raise BrokenCheckpoint(f"storage {shown(key)} is compressed, which torch.save never does")
    with path.open("rb") as file:
        file.seek(member.header_offset)
        head = file.read(30)
        if len(head) < 30 or head[:4] != _ZIP_START:
            raise BrokenCheckpoint(f"storage {shown(key)} is not where the archive says")
        n_name, n_extra = struct.unpack("<HH", head[26:30])
    start = member.header_offset + 30 + n_name + n_extra
    return _Place(start, member.file_size, member.CRC)


# ------------------------------------------------------------------------------------ older layout


def open_legacy(path: Path) -> Archive:
    """Open a file of `torch.save` from before torch 1.6, or saved in its layout.

    Raises:
        CheckpointError: If the file is damaged, or no such file.
    """
    kinds: dict[str, StorageAt] = {}

    def find_storage(noted: object) -> object:
        found = _storage_of(noted)
        if isinstance(found, StorageAt):
            kinds.setdefault(found.key, found)
        return found

    # Mapped: asked for more bytes than there are, it does not first make room for them.
    with path.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as file:

        def read() -> Pickled:
            return read_pickle(file, find_storage=find_storage)

        magic = read()
        if magic.root != _LEGACY_MAGIC:
            if magic.calls:
                return Archive(path, magic.root, magic.calls, _place=_no_place)
            raise BrokenCheckpoint("a pickle, but not one that torch.save wrote")
        read(), read()  # version of the layout; sizes of integers on the machine that saved it
        saved, keys = read(), read().root
        places: dict[str, _Place] = {}
        for key in keys if isinstance(keys, list) else []:
            if not isinstance(key, str) or key not in kinds:
                raise BrokenCheckpoint(f"storage {shown(key)} belongs to no tensor")
            size = file.read(8)
            dtype = kinds[key].dtype
            if len(size) < 8:
                raise BrokenCheckpoint(f"the file ends before storage {shown(key)}")
            n_bytes = int.from_bytes(size, "little") * _item_bytes(dtype)
            if file.tell() + n_bytes > len(file):
                raise BrokenCheckpoint(f"the file ends within storage {shown(key)}")
            places[key] = _Place(file.tell(), n_bytes)
            file.seek(n_bytes, 1)

    def place(key: str) -> _Place:
        if key not in places:
            raise BrokenCheckpoint(f"the file lacks storage {shown(key)}")
        return places[key]

    return Archive(path, saved.root, saved.calls, _place=place)


def _no_place(key: str) -> _Place:
    raise BrokenCheckpoint(f"the file lacks storage {shown(key)}")


def _item_bytes(dtype: str | None) -> int:
    import torch

    return getattr(torch, dtype).itemsize if dtype else 1


# -------------------------------------------------------------------------------------- TorchScript

#: A class with the lists of its parameters and buffers, as TorchScript writes them.
_CLASS = re.compile(
    r"^class (\w+)\(Module\):\n  __parameters__ = \[(.*)\]\n  __buffers__ = \[(.*)\]$", re.MULTILINE
)
_MOST_MODULES, _LONGEST_NAME = 20_000, 1_000


def script_state(archive: Archive) -> dict[str, TensorAt]:
    """Tensors of a TorchScript archive by the names of its state dict; the code is only looked at.

    Parameters and buffers are told from other tensors by the lists in the code's text; where it has
    none, every tensor counts.

    Raises:
        CheckpointError: If the archive fills its tensors by code, or holds no module.
    """
    for name, text in archive.code.items():
        if "__setstate__" in text:
            raise CheckpointError(
                f"this TorchScript archive runs code of its own while it is loaded ({shown(name)} "
                "defines __setstate__), and such files are refused"
            )
    registered = {
        f"{module}.{found[1]}": set(re.findall(r'"([^"]*)"', f"{found[2]}{found[3]}"))
        for module, text in archive.code.items()
        for found in _CLASS.finditer(text)
    }
    state: dict[str, TensorAt] = {}
    waiting: list[tuple[str, object]] = [("", archive.root)]
    for _ in range(_MOST_MODULES):
        if not waiting:
            return state
        prefix, module = waiting.pop()
        if not (isinstance(module, Foreign) and isinstance(module.state, Mapping)):
            raise BrokenCheckpoint(f"{shown(prefix or 'its content')} is no module with tensors")
        names = registered.get(module.name, set()) if registered else None
        for key, value in module.state.items():
            if not isinstance(key, str):
                raise BrokenCheckpoint(f"{shown(prefix)} has a name that is no text, {shown(key)}")
            name = f"{prefix}{key}"
            if len(name) > _LONGEST_NAME:
                raise BrokenCheckpoint(f"its modules hold each other without end, {shown(name)}")
            if isinstance(value, TensorAt) and (names is None or key in names):
                state[name] = value
            elif isinstance(value, Foreign) and value.name.startswith("__torch__."):
                waiting.append((f"{name}.", value))
    raise BrokenCheckpoint(f"it has more than {_MOST_MODULES} modules")
