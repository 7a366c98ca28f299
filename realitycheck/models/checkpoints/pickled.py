"""Pickles read as data: nothing that a file names is imported, called or built.

A pickle is a small program that asks its reader to import and to call things. This reader knows the
instructions that build plain values and the few functions by which torch writes a tensor; a tensor
becomes a description of where its numbers lie. Everything else becomes a `Foreign`, a mere name.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

#: Instructions of the longest pickle that is read: some hundred times those of a large model.
_MAX_STEPS = 5_000_000
_LONGEST_SHOWN = 80


class CheckpointError(ValueError):
    """A checkpoint that is broken, that cannot be read without running code, or does not fit."""


class BrokenCheckpoint(CheckpointError):
    """A file that contradicts itself, or that torch would not have written so."""


@dataclass(frozen=True, eq=False, repr=False)
class StorageAt:
    """Numbers in the file: the key of their place, the kind and count they are said to have."""

    key: str
    dtype: str | None
    count: int


@dataclass(frozen=True, eq=False, repr=False)
class TensorAt:
    """A tensor as the file describes it; nothing of it is checked yet."""

    storage: object
    offset: object
    shape: object
    stride: object
    dtype: str | None


@dataclass(eq=False, repr=False)
class Foreign:
    """Something that is no tensor and no plain value, known by name only.

    Attributes:
        name: Module and name that the file gives, `argparse.Namespace`.
        is_called: Whether the file asks to call it, which could be any function.
        is_instance: Whether it stands for an object of that class.
        state: What the file says of the object's attributes.
    """

    name: str
    is_called: bool = False
    is_instance: bool = False
    state: object = None


@dataclass(frozen=True, eq=False, repr=False)
class NotText:
    """A key of a mapping that is no text; unlike any other, so that hashing takes no time."""

    value: object


@dataclass(repr=False)
class Pickled:
    """Content of one pickle, and the calls of foreign functions in it, in the file's order."""

    root: object
    calls: list[Foreign] = field(default_factory=list)


def shown(value: object) -> str:
    """A text of a file as it can be printed: short, in one line, without control characters."""
    value = value.value if isinstance(value, NotText) else value
    if isinstance(value, str | bytes):
        text = ascii(value[:_LONGEST_SHOWN])
        return text if len(value) <= _LONGEST_SHOWN else f"{text}..."
    is_short = (
        value is None
        or isinstance(value, float)
        or (isinstance(value, int) and abs(value) < 10**20)
    )
    return ascii(value) if is_short else f"a {type(value).__name__}"


_MAPPINGS = {"collections.OrderedDict", "collections.defaultdict", "collections.Counter"}
_PARAMETERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
_TENSOR_CLASSES = {
    "torch.Tensor",
    "torch._tensor.Tensor",
    "torch.nn.parameter.Parameter",
    "torch.nn.parameter.Buffer",
}
#: Functions that only put values together, in files of training programs. They are not called here
#: either; a file with them is no worse for it.
_HARMLESS = {
    *(
        f"{module}.{name}"
        for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
        for name in ("dtype", "scalar", "_reconstruct")
    ),
    *(
        f"{module}.{name}"
        for module in ("builtins", "__builtin__")
        for name in ("set", "frozenset", "bytearray", "slice", "range", "complex", "object")
    ),
    *(
        f"{module}.{name}"
        for module in ("pathlib", "pathlib._local")
        for name in ("Path", "PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
    ),
    *(f"datetime.{name}" for name in ("date", "datetime", "time", "timedelta", "timezone")),
    *(f"{module}._reconstructor" for module in ("copyreg", "copy_reg")),
    "_codecs.encode",
    "collections.deque",
    "torch.device",
    "torch.Size",
    "torch.torch_version.TorchVersion",
}


def read_pickle(file: BinaryIO, *, find_storage: Callable[[object], object]) -> Pickled:
    """Read one pickle from where a file stands; the file then stands behind it.

    Args:
        file: Seekable, binary.
        find_storage: Turns what torch notes of a storage into a `StorageAt` or a `Foreign`.

    Raises:
        BrokenCheckpoint: If the pickle is broken, too long, or holds an instruction that
            `torch.save` never writes.
    """
    reader = _Reader(find_storage)
    try:
        steps = pickletools.genops(file)
        for _ in range(_MAX_STEPS):
            step, argument, _ = next(steps)
            if step.name == "STOP":
                return Pickled(reader.stack.pop(), reader.calls)
            reader.take(step.name, argument)
    except CheckpointError:
        raise
    except StopIteration:
        raise BrokenCheckpoint("its list of tensors has no end") from None
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {shown(str(error))}"
        raise BrokenCheckpoint(f"its list of tensors cannot be read ({reason})") from error
    raise BrokenCheckpoint(f"its list of tensors takes more than {_MAX_STEPS} steps to read")


_SAME = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    "BYTEARRAY8",
}
_NOTHING = {"PROTO", "FRAME"}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MARK = object()


class _Reader:
    """The stack and the memory of a pickle while it is read."""

    def __init__(self, find_storage: Callable[[object], object]):
        self.stack: list = []
        self.calls: list[Foreign] = []
        self._memory: dict[int, object] = {}
        self._find_storage = find_storage

    def take(self, step: str, argument: object) -> None:
        """Do one instruction."""
        stack = self.stack
        if step in _SAME:
            stack.append(argument)
        elif step in _CONSTANTS:
            stack.append(_CONSTANTS[step])
        elif step in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            at = len(self._memory) if step == "MEMOIZE" else argument
            self._memory[at] = stack[-1]
        elif step in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(self._memory[argument])
        elif step == "MARK":
            stack.append(_MARK)
        elif step in _SHORT_TUPLES:
            n = _SHORT_TUPLES[step]
            stack[-n:] = [tuple(self._last(n))]
        elif step == "TUPLE":
            stack.append(tuple(self._since_mark()))
        elif step in ("EMPTY_LIST", "EMPTY_DICT"):
            stack.append([] if step == "EMPTY_LIST" else {})
        elif step == "EMPTY_SET":
            stack.append(Foreign("builtins.set", is_instance=True))
        elif step == "LIST":
            stack.append(self._since_mark())
        elif step == "DICT":
            values = self._since_mark()
            stack.append({})
            self._set_items(values)
        elif step == "FROZENSET":
            self._since_mark()
            stack.append(Foreign("builtins.frozenset", is_instance=True))
        elif step in ("APPEND", "APPENDS", "ADDITEMS"):
            values = [stack.pop()] if step == "APPEND" else self._since_mark()
            if isinstance(stack[-1], list):
                stack[-1].extend(values)
            elif not isinstance(stack[-1], Foreign):
                raise ValueError("an entry for what is no list")
        elif step in ("SETITEM", "SETITEMS"):
            self._set_items(self._pop(2) if step == "SETITEM" else self._since_mark())
        elif step == "BINPERSID":
            stack.append(self._find_storage(stack.pop()))
        else:
            self._take_object(step, argument)

    def _take_object(self, step: str, argument: object) -> None:
        """Do an instruction that names, calls or fills something."""
        stack = self.stack
        if step == "GLOBAL":
            stack.append(Foreign(str(argument).replace(" ", ".", 1)))
        elif step == "STACK_GLOBAL":
            module, name = self._pop(2)
            if not (isinstance(module, str) and isinstance(name, str)):
                raise ValueError("a name that is no text")
            stack.append(Foreign(f"{module}.{name}"))
        elif step == "REDUCE":
            function, arguments = self._pop(2)
            stack.append(self._called(function, arguments))
        elif step in ("NEWOBJ", "NEWOBJ_EX"):
            kind = self._pop(2 if step == "NEWOBJ" else 3)[0]
            is_mapping = isinstance(kind, Foreign) and kind.name in _MAPPINGS
            stack.append({} if is_mapping else Foreign(_name(kind), is_instance=True))
        elif step == "BUILD":
            state = stack.pop()
            if isinstance(stack[-1], Foreign) and stack[-1].is_instance:
                stack[-1].state = state
        elif step not in _NOTHING:
            raise BrokenCheckpoint(
                f"it holds the instruction {step}, which torch.save never writes"
            )

    def _last(self, n: int) -> list:
        found = self.stack[-n:]
        if len(found) < n or any(value is _MARK for value in found):
            raise IndexError("too few values")
        return found

    def _pop(self, n: int) -> list:
        found = self._last(n)
        del self.stack[-n:]
        return found

    def _since_mark(self) -> list:
        stack = self.stack
        at = len(stack) - 1
        while stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError("too few values")
        found = stack[at + 1 :]
        del stack[at:]
        return found

    def _set_items(self, values: list) -> None:
        target = self.stack[-1]
        if isinstance(target, Foreign):
            return
        if not isinstance(target, dict) or len(values) % 2:
            raise ValueError("an entry for what is no mapping")
        for key, value in zip(values[::2], values[1::2], strict=True):
            target[key if isinstance(key, str) else NotText(key)] = value

    def _called(self, function: object, arguments: object) -> object:
        if not isinstance(arguments, tuple):
            raise ValueError("a call without a list of arguments")
        name = _name(function)
        if name == "torch._utils._rebuild_from_type_v2" and _name(arguments[1]) in _TENSOR_CLASSES:
            return self._called(arguments[0], arguments[2])
        if name in ("torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"):
            return TensorAt(*arguments[:4], dtype=None)
        if name == "torch._utils._rebuild_tensor_v3":
            return TensorAt(*arguments[:4], dtype=_name(arguments[6]).removeprefix("torch."))
        if name in _PARAMETERS:
            return arguments[0]
        if name in _MAPPINGS:
            return _mapping(arguments)
        made = Foreign(name, is_instance=True)
        if name not in _HARMLESS and not name.startswith("torch.jit._pickle."):
            made.is_called = True
            self.calls.append(made)
        return made


def _name(value: object) -> str:
    if not isinstance(value, Foreign):
        raise ValueError("a call of what is no function")
    return value.name


def _mapping(arguments: tuple) -> dict:
    """An ordered mapping, whose pairs older protocols give with the call."""
    pairs = arguments[-1] if arguments and isinstance(arguments[-1], list) else []
    return {key if isinstance(key, str) else NotText(key): value for key, value in pairs}


def place_of(wanted: object, root: object) -> str:
    """Say where in a pickle's content something stands: `['args']['lr']`, or nothing."""
    for keys, value in _inner(root):
        if value is wanted:
            return "".join(f"[{shown(key)}]" for key in keys)
    return ""


def _inner(root: object) -> Iterator[tuple[tuple, object]]:
    """Everything in a pickle's content with the keys that lead to it, each object once."""
    waiting, seen = [((), root)], set()
    while waiting:
        keys, value = waiting.pop()
        yield keys, value
        if id(value) in seen or len(keys) > 20:
            continue
        seen.add(id(value))
        if isinstance(value, Foreign):
            value = value.state
        if isinstance(value, Mapping):
            waiting.extend(((*keys, key), inner) for key, inner in value.items())
        elif isinstance(value, list | tuple):
            waiting.extend(((*keys, i), inner) for i, inner in enumerate(value))
