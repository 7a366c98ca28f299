"""Mutated checkpoints at the loaders: they load, or end in `CheckpointError`.

Sound files of every layout are damaged by bytes, by fields and by whole instructions, with
checksums put right in half of the zip archives. A failure is another error, a file that a
checkpoint wrote, a load that takes longer than `TIME_BOUND_S`, or more than `MEMORY_BOUND` of
memory beyond the start.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import resource
import signal
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from realitycheck.models.checkpoints.known import SHIPPED_FOLDER
from realitycheck.models.checkpoints.pickled import CheckpointError
from realitycheck.models.checkpoints.read import load_state
from realitycheck.models.clip.model import load_clip
from realitycheck.models.saliency import load_saliency
from realitycheck.models.sam.load import load_sam
from realitycheck.models.sam.model import PARTS
from training.miniature_clip import write_miniature_clip, write_miniature_saliency
from training.miniatures import VARIANTS, write_miniature_sam

TIME_BOUND_S = 20
MEMORY_BOUND = 1 << 30  # bytes of address space beyond what the process has at the start

#: Numbers that a damaged field may hold.
_EXTREMES = (0, 1, 255, 2**31 - 1, 2**31, 2**32 - 1, 2**62, 2**63 - 1, 10**15)

Load = Callable[[Path], object]


def run(n: int, seed: int, folder: Path) -> int:
    """Load `n` mutated checkpoints; print what failed; return the number of failures."""
    warnings.simplefilter("ignore")
    canary = folder / "canary"
    sound = _sound(folder)
    for path, load in sound:
        load(path)
    contents = [path.read_bytes() for path, _ in sound]
    n_failures = n_loaded = 0
    with _bounded_memory():
        for i in range(n):
            rng = random.Random(f"{seed}/{i}")
            at = i % len(sound)
            content, how = _mutated(contents[at], rng, canary, contents)
            path = folder / f"mutated-{i}"
            path.write_bytes(content)
            trouble = ""
            try:
                with _bounded_time():
                    sound[at][1](path)
                n_loaded += 1
            except CheckpointError as error:
                if not str(error).isprintable() and "\n  import torch\n" not in str(error):
                    trouble = f"a message that cannot be printed: {error!r}"
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                trouble = f"{type(error).__name__}: {error}"
            if canary.exists():
                trouble = "it ran code"
                canary.unlink()
            if trouble:
                n_failures += 1
                print(f"{path} ({sound[at][0].name}, {how}): {trouble[:300]}")
            else:
                path.unlink()
    print(f"{n_loaded} of {n} loaded all the same; the others were refused by name")
    return n_failures


def _sound(folder: Path) -> list[tuple[Path, Load]]:
    """Sound checkpoints of every layout, with the loader that each belongs to."""
    torch.manual_seed(0)
    state = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4)).state_dict()
    training = {
        "model": {f"module.{key}": value for key, value in state.items()},
        "args": argparse.Namespace(lr=1),
        "optimizer": {"state": {0: {"step": torch.ones(())}}, "param_groups": [{"params": [0]}]},
    }
    plain, old, script, beside = (folder / name for name in ("plain", "old", "script", "beside"))
    torch.save(state, plain)
    torch.save(training, beside, pickle_protocol=4)
    torch.save(training, old, _use_new_zipfile_serialization=False)
    torch.jit.save(torch.jit.script(torch.nn.Linear(3, 2).half()), script)
    sam, clip, saliency = (
        write_miniature_sam(folder),
        write_miniature_clip(folder),
        write_miniature_saliency(folder),
    )
    return [
        *((path, load_state) for path in (plain, old, script, beside)),
        (SHIPPED_FOLDER / "clip.safetensors", load_state),
        (sam, lambda path: load_sam(path, parts=PARTS[1:])),
        (clip, load_clip),
        (saliency, lambda path: load_saliency(path, variant=VARIANTS["saliency"])),
    ]


def _mutated(
    content: bytes, rng: random.Random, canary: Path, others: list[bytes]
) -> tuple[bytes, str]:
    """A damaged copy, and how it was damaged."""
    if content[:2] == b"PK" and rng.random() < 0.5:
        return _rezipped(content, rng, canary)
    changed = bytearray(content)
    # Lists and headers stand at the ends, and are small beside the numbers.
    span = min(len(changed), 4096)
    start = rng.choice((0, max(0, len(changed) - span), rng.randrange(len(changed))))
    for _ in range(rng.choice((1, 1, 3, 30))):
        at = min(start + rng.randrange(span), len(changed) - 1)
        kind = rng.choice(("flip", "byte", "field", "cut", "insert", "double", "splice"))
        length = rng.choice((1, 4, 16, 200))
        if kind == "flip":
            changed[at] ^= 1 << rng.randrange(8)
        elif kind == "byte":
            changed[at] = rng.randrange(256)
        elif kind == "field":
            changed[at : at + 8] = struct.pack("<Q", rng.choice(_EXTREMES))
        elif kind == "cut":
            del changed[at : at + length]
        elif kind == "insert":
            changed[at:at] = rng.randbytes(length)
        elif kind == "double":
            changed[at:at] = changed[at : at + length]
        else:
            other = rng.choice(others)
            changed[at : at + length] = other[at % len(other) :][:length]
        if not changed:
            break
    if rng.random() < 0.1:
        del changed[rng.randrange(len(changed) + 1) :]
        kind = "truncation"
    return bytes(changed), kind


def _rezipped(content: bytes, rng: random.Random, canary: Path) -> tuple[bytes, str]:
    """A zip archive with a changed list of tensors, or with other files, and right checksums."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    at = next(i for i, (name, _) in enumerate(members) if name.endswith("/data.pkl"))
    name, listed = members[at]
    command = f"touch {canary}".encode()
    call = b"cos\nsystem\n(X" + struct.pack("<I", len(command)) + command + b"tR"
    kind = rng.choice(("call", "calls", "list", "list", "double", "rename", "drop"))
    if kind in ("call", "calls"):
        for _ in range(1 if kind == "call" else 20):
            place = rng.randrange(2, len(listed))
            listed = listed[:place] + call + rng.choice((b"", b"0", b"b", b"s")) + listed[place:]
        members[at] = name, listed
    elif kind == "list":
        members[at] = name, _mutated(listed, rng, canary, [listed])[0]
    elif kind == "double":
        members.append((rng.choice(members)[0], rng.choice(members)[1]))
    elif kind == "rename":
        chosen = rng.randrange(len(members))
        new = rng.choice(("../" + members[chosen][0], members[chosen][0].upper(), "x", "a\0b"))
        members[chosen] = new, members[chosen][1]
    else:
        del members[rng.randrange(len(members))]
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    return written.getvalue(), f"{kind} in the archive"


@contextlib.contextmanager
def _bounded_time() -> Iterator[None]:
    def stop(*_):
        raise TimeoutError(f"it took longer than {TIME_BOUND_S} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(TIME_BOUND_S)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _bounded_memory() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY_BOUND, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
