"""Checkpoints that want to run code, to fill the memory, or that contradict themselves.

Each is a function of a folder and of the file that its code would write; it gives the checkpoint.
"""

import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from pathlib import Path

import torch

HOSTILE = {}
#: Of those above, the ones whose tensors are sound: they are read, and nothing else happens.
READ_AS_DATA = {"script_code_in_capitals", "instance_of_a_function"}


def hostile(make):
    """List a maker under its name."""
    HOSTILE[make.__name__] = make
    return make


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced

    def __call__(self):
        """Pickle writes a call of what can be called only."""


def _program(canary):
    return f"open({str(canary)!r}, 'w').close()"


def _calls():
    """Functions that do harm when called, by name; each takes the file that it writes."""
    import builtins
    import functools
    import importlib
    import operator
    import runpy
    import shutil
    import subprocess
    import sys

    from torch.storage import _load_from_bytes

    return {
        "os_system": lambda at: Call(os.system, f"touch {at}"),
        "posix_spawn": lambda at: Call(os.spawnlp, os.P_WAIT, "touch", "touch", str(at)),
        "popen": lambda at: Call(subprocess.Popen, ["touch", str(at)]),
        "check_output": lambda at: Call(subprocess.check_output, ["touch", str(at)]),
        "eval": lambda at: Call(eval, _program(at)),
        "exec": lambda at: Call(exec, _program(at)),
        "open": lambda at: Call(open, str(at), "w"),
        "getattr": lambda at: Call(Call(getattr, os, "system"), f"touch {at}"),
        "import": lambda at: Call(builtins.__import__, "this"),
        "import_module": lambda at: Call(importlib.import_module, "this"),
        "attrgetter": lambda at: Call(operator.attrgetter("system"), os),
        "methodcaller": lambda at: Call(operator.methodcaller("touch"), Path(at)),
        "partial": lambda at: Call(functools.partial(os.system, f"touch {at}")),
        "reduce": lambda at: Call(functools.reduce, os.system, [f"touch {at}"]),
        "map": lambda at: Call(list, Call(map, os.system, [f"touch {at}"])),
        "run_path": lambda at: Call(runpy.run_path, str(at)),
        "copy": lambda at: Call(shutil.copyfile, "/etc/hostname", str(at)),
        "remove": lambda at: Call(os.remove, str(at)),
        "settrace": lambda at: Call(sys.settrace, None),
        "load_within": lambda at: Call(
            _load_from_bytes, _zip_bytes({"a": Call(os.system, f"touch {at}")})
        ),
        "pickle_within": lambda at: Call(
            pickle.loads, pickle.dumps(Call(os.system, f"touch {at}"))
        ),
        "torch_load": lambda at: Call(torch.load, str(at)),
        "torch_save": lambda at: Call(torch.save, [1], str(at)),
    }


class _ByName(pickle._Pickler):
    """Writes modules and methods by name as well, as no honest pickler does."""

    def save(self, value, save_persistent_id=True):
        if type(value).__name__ == "module":
            return self.write(f"c{value.__name__}\n__name__\n".encode())
        return super().save(value, save_persistent_id)


def _pickled(value):
    written = io.BytesIO()
    _ByName(written, protocol=2).dump(value)
    return written.getvalue()


def _sound():
    return {"a.weight": torch.arange(6.0).reshape(2, 3), "a.bias": torch.zeros(2)}


def _zip_bytes(value):
    written = io.BytesIO()
    torch.save(value, written)
    return written.getvalue()


def _archive(data, *, records=(("archive/data/0", b"\0" * 24),), compressed=()):
    """A zip file as torch writes it, with any list of tensors and any files."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, content in [("archive/data.pkl", data), *records]:
            kind = zipfile.ZIP_DEFLATED if name in compressed else zipfile.ZIP_STORED
            archive.writestr(zipfile.ZipInfo(name), content, compress_type=kind)
    return written.getvalue()


def _text(text):
    encoded = text.encode("utf-8", "surrogatepass")
    return b"X" + struct.pack("<I", len(encoded)) + encoded


def _number(value):
    digits = value.to_bytes(9, "little", signed=True)
    return b"\x8a" + bytes([len(digits)]) + digits


def _tensor(*, shape=(2, 3), stride=(3, 1), offset=0, count=6, key="0", kind="FloatStorage"):
    sides, steps = (b"(" + b"".join(map(_number, n)) + b"t" for n in (shape, stride))
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n((" + _text("storage")
        + f"ctorch\n{kind}\n".encode() + _text(key) + _text("cpu") + _number(count) + b"tQ"
        + _number(offset) + sides + steps + b"\x89ccollections\nOrderedDict\n)RtR"
    )  # fmt: skip


def _mapping(*items):
    return b"\x80\x02}(" + b"".join(key + value for key, value in items) + b"u."


def _of_one(**described):
    return _archive(_mapping((_text("a"), _tensor(**described))))


def _add_calls():
    for name, make in _calls().items():

        def in_zip(folder, canary, make=make):
            path = folder / "x.pth"
            data = _mapping((_text("a"), _tensor()), (_text("b"), _pickled(make(canary))[2:-1]))
            path.write_bytes(_archive(data))
            return path

        def in_pickle(folder, canary, make=make):
            (folder / "x.pth").write_bytes(_pickled({"a": make(canary)}))
            return folder / "x.pth"

        HOSTILE[f"call_of_{name}"] = in_zip
        HOSTILE[f"old_call_of_{name}"] = in_pickle


_add_calls()


def _add_bytes():
    """Checkpoints that are a matter of single bytes; `CMD` stands for a command to run."""
    command = b"(X\x03\x00\x00\x00CMDt"
    good = _text("a"), _tensor()
    of_data = {
        "inst": _mapping(good, (_text("b"), b"(X\x03\x00\x00\x00CMDios\nsystem\n")),
        "obj": _mapping(good, (_text("b"), b"(cos\nsystem\nX\x03\x00\x00\x00CMDo")),
        "stack_global": _mapping(
            good, (_text("b"), _text("os") + _text("system") + b"\x93" + command + b"R")
        ),
        "extension": _mapping(good, (_text("b"), b"\x82\x01" + command + b"R")),
        "called_and_dropped": b"\x80\x02cos\nsystem\n" + command + b"R0" + _mapping(good)[2:],
        "called_and_kept_in_memory": b"\x80\x02cos\nsystem\n" + command + b"Rq\x05." ,
        "call_as_key": _mapping(good, (b"cos\nsystem\n" + command + b"R", b"N")),
        "call_as_hook": _archive_data_with_hook(command),
        "call_as_storage": b"\x80\x02}" + _text("a") + b"cos\nsystem\n" + command + b"RQs.",
        "call_as_shape": b"\x80\x02}" + _text("a") + _tensor().replace(
            b"(" + _number(2) + _number(3) + b"t", b"cos\nsystem\n" + command + b"R"
        ) + b"s.",
        "instance_of_a_function": _mapping(
            (_text("model"), _mapping(good)[2:-1]), (_text("b"), b"cos\nsystem\n)\x81")
        ),
        "attributes_of_a_function": b"\x80\x02ccollections\nOrderedDict\n}"
        + _text("__setstate__") + b"cos\nsystem\nsb" + command + b"b.",
        "text_persistent_id": b"\x80\x02Psystem\n.",
        "key_that_is_a_number": _mapping((_number(3), _tensor())),
        "key_that_is_bytes": _mapping((b"B\x02\x00\x00\x00ab", _tensor())),
        "key_that_is_a_tensor": _mapping((_tensor(), _tensor())),
        "key_that_takes_for_ever": b"\x80\x02})" + b"2\x86" * 200 + _tensor() + b"s.",
        "key_of_doubled_pairs": b"\x80\x02})q\x00" + b"h\x00h\x00\x86q\x00" * 200
        + _tensor() + b"s.",
        "lists_in_lists": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "list_of_itself": b"\x80\x02]q\x00h\x00a.",
        "no_end": b"\x80\x02" + b"}0" * 100,
        "text_longer_than_the_file": b"\x80\x02X\xff\xff\xff\xff.",
        "number_of_many_digits": b"\x80\x02L" + b"9" * 10_000 + b"L\n.",
        "nothing_on_the_stack": b"\x80\x02R.",
        "wild_memory": b"\x80\x02j\xff\xff\xff\xff.",
        "empty_pickle": b"",
        "unknown_instruction": b"\x80\x02\xff.",
        "a_million_million_numbers": _mapping((_text("a"), _tensor(shape=(10**15,), stride=(1,)))),
        "storage_without_end": _mapping((_text("a"), _tensor(count=10**15))),
        "all_from_one_number": _mapping((_text("a"), _tensor(shape=(10**15,), stride=(0,)))),
        "many_from_one_number": _mapping((_text("a"), _tensor(shape=(10**9,), stride=(0,)))),
        "before_the_first": _mapping((_text("a"), _tensor(offset=-1))),
        "behind_the_last": _mapping((_text("a"), _tensor(offset=10**12))),
        "backwards": _mapping((_text("a"), _tensor(stride=(3, -1)))),
        "negative_side": _mapping((_text("a"), _tensor(shape=(2, -3)))),
        "shape_without_strides": _mapping((_text("a"), _tensor(stride=(1,)))),
        "sides_that_overflow": _mapping(
            (_text("a"), _tensor(shape=(0, 2**62, 2**62), stride=(1, 1, 1)))
        ),
        "kind_unknown": _mapping((_text("a"), _tensor(kind="QInt8Storage"))),
        "kind_from_elsewhere": _mapping((_text("a"), _tensor(kind="ops.Storage"))),
        "storage_elsewhere": _mapping((_text("a"), _tensor(key="../../../../etc/passwd"))),
        "storage_missing": _mapping((_text("a"), _tensor(key="7"))),
    }  # fmt: skip
    for name, data in of_data.items():

        def make(folder, canary, data=data):
            told = f"touch {canary}".encode()
            filled = data.replace(b"X\x03\x00\x00\x00CMD", _text(told.decode()))
            (folder / "x.pth").write_bytes(_archive(filled))
            return folder / "x.pth"

        HOSTILE[name] = make


def _archive_data_with_hook(command):
    ordered = b"ccollections\nOrderedDict\n)R"
    return _mapping((_text("a"), _tensor().replace(ordered, b"cos\nsystem\n" + command + b"R")))


_add_bytes()


def _add_files():
    """Whole files by name."""
    sound = _archive(_mapping((_text("a"), _tensor())))
    flipped_at = sound.index(b"archive/data/0") + len("archive/data/0") + 5
    listed_at = sound.index(b"FloatStorage")
    pair = _mapping((_text("a"), _tensor()))

    def changed(at):
        return sound[:at] + bytes([sound[at] ^ 4]) + sound[at + 1 :]

    def safetensors(header, data=b"\0" * 24):
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return struct.pack("<Q", len(text)) + text + data

    def one(**changes):
        return {"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]} | changes}

    def compact(plan):
        return safetensors({**one(), "__metadata__": {"realitycheck_compact": plan}})

    nested = b'{"a":' + b"[" * 200_000
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    old = magic + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    keys = pickle.dumps(["0"], 2)
    files = {
        "flipped_byte_of_a_tensor": changed(flipped_at),
        "flipped_byte_of_the_list": changed(listed_at),
        "cut_off": sound[: len(sound) // 2],
        "cut_off_at_the_end": sound[:-10],
        "beginning_only": sound[:4],
        "two_lists": _archive(pair, records=[("archive/data.pkl", pair)]),
        "two_folders": _archive(pair, records=[("other/data.pkl", pair)]),
        "two_storages_of_one_name": _archive(
            pair, records=[("archive/data/0", b"\0" * 24), ("archive/data/0", b"\1" * 24)]
        ),
        "name_that_leaves": _archive(pair, records=[("archive/data/../../0", b"\0" * 24)]),
        "absolute_name": _archive(pair, records=[("/etc/data/0", b"\0" * 24)]),
        "bomb": _archive(
            pair, records=[("archive/data/0", bytes(1 << 26))], compressed=["archive/data/0"]
        ),
        "bomb_for_a_list": _archive(bytes(1 << 26), compressed=["archive/data.pkl"]),
        "other_byte_order": _archive(
            pair, records=[("archive/data/0", b"\0" * 24), ("archive/byteorder", b"big")]
        ),
        "short_storage": _archive(pair, records=[("archive/data/0", b"\0" * 8)]),
        "header_without_end": struct.pack("<Q", 10**15) + b"{" + b" " * 100,
        "header_longer_than_the_file": struct.pack("<Q", 120) + b"{" + b" " * 100,
        "header_of_nested_lists": safetensors(nested),
        "header_of_no_mapping": safetensors(b"{1: 2}"),
        "shape_beyond_the_data": safetensors(one(shape=[10**15])),
        "shape_that_overflows": safetensors(one(shape=[2**63, 2**63])),
        "data_beyond_the_file": safetensors(one(data_offsets=[0, 10**15])),
        "data_backwards": safetensors(one(data_offsets=[24, 0])),
        "data_shared": safetensors(one() | {"b": one()["a"]}),
        "dtype_unknown": safetensors(one(dtype="F33")),
        "no_data": safetensors(one(), b""),
        "rows_without_end": compact(json.dumps({"n_rows": {"a": 10**15}})),
        "rows_of_nothing": compact(json.dumps({"n_rows": {"b": 3}})),
        "same_as_nothing": compact(json.dumps({"same_as": {"b": "c"}})),
        "plan_of_nothing": compact("[]"),
        "plan_that_is_no_json": compact("{"),
        "old_without_data": old + pair + keys,
        "old_without_keys": old + pair + pickle.dumps(3, 2),
        "old_with_foreign_keys": old + pair + pickle.dumps(["1", "2"], 2),
        "old_storage_without_end": old + pair + keys + struct.pack("<q", 2**60),
        "old_negative_storage": old + pair + keys + struct.pack("<q", -1) + b"\0" * 24,
        "old_with_little_data": old + pair + keys + struct.pack("<q", 6) + b"\0" * 8,
        "old_text_longer_than_the_file": old + b"\x80\x02X\xff\xff\xff\xff.",
        "only_magic": magic,
        "error_page": b"<!DOCTYPE html><html>",
        "nothing": b"",
    }
    for name, content in files.items():

        def make(folder, canary, content=content):
            (folder / "x.pth").write_bytes(content)
            return folder / "x.pth"

        HOSTILE[name] = make


_add_files()


class _Writing(torch.nn.Module):
    """A module whose archive writes a file while torch's loader opens it."""

    def __init__(self, at: str):
        super().__init__()
        self.at = at
        self.w = torch.nn.Parameter(torch.zeros(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.w

    @torch.jit.export
    def __getstate__(self):
        return self.w, self.at, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, str, bool]):
        self.w = state[0]
        self.at = state[1]
        self.training = state[2]
        torch.save([state[0]], state[1])


def _scripted(folder, canary):
    path = folder / "script.pt"
    torch.jit.save(torch.jit.script(_Writing(str(canary))), path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    path.unlink()
    return members


def _write(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members:
            archive.writestr(zipfile.ZipInfo(name), content)
    return path


def _harmless(code):
    return code[: code.index(b"  def __setstate__")]


@hostile
def script_with_code_on_loading(folder, canary):
    """Torch's loader runs `__setstate__`."""
    return _write(folder / "x.pt", _scripted(folder, canary).items())


@hostile
def script_with_code_twice(folder, canary):
    """Two readers of zip files take the one and the other of two files of one name."""
    members = list(_scripted(folder, canary).items())
    code = [(name, text) for name, text in members if name.endswith(".py")]
    return _write(folder / "x.pt", [*((n, _harmless(t)) for n, t in code), *members])


@hostile
def script_with_harmless_code_last(folder, canary):
    """As above, in the other order."""
    members = list(_scripted(folder, canary).items())
    code = [(name, text) for name, text in members if name.endswith(".py")]
    return _write(folder / "x.pt", [*members, *((n, _harmless(t)) for n, t in code)])


@hostile
def script_with_code_in_capitals(folder, canary):
    """Torch's reader of archives takes `.PY` for `.py`; the state is that of `__getstate__`."""
    members = []
    for name, text in _scripted(folder, canary).items():
        if name.endswith(".py"):
            members += [(name.removesuffix(".py") + ".PY", text), (name, _harmless(text))]
        else:
            members.append((name, text))
    return _write(folder / "x.pt", members)


@hostile
def script_code_in_capitals(folder, canary):
    """As above, in an archive whose tensors are sound."""
    path = folder / "linear.pt"
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2)), path)
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    code = [text for name, text in _scripted(folder, canary).items() if name.endswith(".py")]
    return _write(folder / "x.pt", [*members, ("linear/code/__torch__.PY", code[0])])


@hostile
def script_bomb(folder, canary):
    """Code that unpacks to a hundred times its size."""
    path = folder / "x.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", _mapping((_text("a"), _tensor())), zipfile.ZIP_STORED)
        archive.writestr("x/data/0", b"\0" * 24, zipfile.ZIP_STORED)
        archive.writestr("x/constants.pkl", b"\x80\x02).")
        archive.writestr("x/code/__torch__.py", bytes((1 << 26) + 1))
    return path


@hostile
def script_modules_in_circles(folder, canary):
    """A module that holds itself."""
    data = b"\x80\x02c__torch__\nM\n)\x81q\x00}" + _text("inner") + b"h\x00sb."
    return _write(folder / "x.pt", [("x/data.pkl", data), ("x/constants.pkl", b"\x80\x02).")])


@hostile
def encrypted(folder, canary):
    """A flag says that a file needs a password."""
    content = bytearray(_archive(_mapping((_text("a"), _tensor()))))
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    (folder / "x.pth").write_bytes(content)
    return folder / "x.pth"


@hostile
def tar_layout(folder, canary):
    """The oldest layout of torch, which its own loader unpacks to a folder."""
    with tarfile.open(folder / "x.pth", "w") as archive:
        member = tarfile.TarInfo("sys_info")
        archive.addfile(member, io.BytesIO())
    return folder / "x.pth"


@hostile
def whole_module(folder, canary):
    """A pickled model names its class, which would be imported."""
    torch.save(torch.nn.Linear(3, 2), folder / "x.pth")
    return folder / "x.pth"


@hostile
def sparse(folder, canary):
    """Its parts are not checked by torch when they are loaded."""
    torch.save({"a": torch.eye(3).to_sparse()}, folder / "x.pth")
    return folder / "x.pth"


@hostile
def quantised(folder, canary):
    """A kind of numbers that no network here has."""
    quantised = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    torch.save({"a": quantised}, folder / "x.pth")
    return folder / "x.pth"


@hostile
def array_of_objects(folder, canary):
    """An array of numpy that holds Python objects."""
    import numpy as np

    torch.save({"a": np.array([Call(os.system, f"touch {canary}")])}, folder / "x.pth")
    return folder / "x.pth"
