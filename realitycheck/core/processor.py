"""Tell what kind of processor this is, so that a figure or a red test can be told apart by it."""

import os
import platform
import subprocess
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

#: Widest first: the name, and the flag that the kernel lists for it.
_KINDS = (
    ("AVX-512 with AMX and bfloat16", "amx_bf16"),
    ("AVX-512 with bfloat16", "avx512_bf16"),
    ("AVX-512", "avx512f"),
    ("AVX2", "avx2"),
    ("AVX", "avx"),
    ("SSE4.2", "sse4_2"),
)

#: Flags of processors that multiply in bfloat16; `bf16` is ARM's.
_BFLOAT16 = {"amx_bf16", "avx512_bf16", "avx_ne_convert", "bf16"}

#: Variables that keep a library from using all that the processor has.
RESTRICTIONS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")


def widest_instructions(cpuinfo: Path = _CPUINFO) -> str:
    """Name the widest vector instructions of the processor, for example `AVX2`.

    Args:
        cpuinfo: The kernel's list of flags; without it, or without a flag known here, the
            machine's type is given, for example `arm64`.
    """
    flags = _flags(cpuinfo)
    return next((name for name, flag in _KINDS if flag in flags), platform.machine())


def has_bfloat16(cpuinfo: Path = _CPUINFO) -> bool | None:
    """Whether the processor multiplies in bfloat16; None where the system has no list of flags."""
    flags = _flags(cpuinfo)
    return bool(flags & _BFLOAT16) if flags else None


def gpus() -> list[tuple[str, float]]:
    """Name and compute capability of each NVIDIA GPU, as far as the driver's tool tells.

    torch would say the same seconds later. Those that `CUDA_VISIBLE_DEVICES` hides by their numbers
    are left out.
    """
    asked = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    try:
        told = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True).stdout
        rows = [line.rpartition(",") for line in told.splitlines() if line.strip()]
        found = [(name.strip(), float(capability)) for name, _, capability in rows]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return found
    numbers = [part.strip() for part in shown.split(",") if part.strip()]
    if not all(number.isdigit() for number in numbers):
        return found
    return [found[int(number)] for number in numbers if int(number) < len(found)]


def _flags(cpuinfo: Path) -> set[str]:
    """Instructions that the kernel lists: `flags`, on ARM `Features`."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    listed = next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return set(listed.partition(":")[2].split())


def describe() -> str:
    """Say in a line: widest instructions, cores, threads asked for, libraries held back."""
    threads = os.environ.get("OMP_NUM_THREADS")
    held_back = [f"{name}={os.environ[name]}" for name in RESTRICTIONS if name in os.environ]
    return ", ".join(
        [
            widest_instructions(),
            f"{os.cpu_count()} cores",
            f"{threads} threads per process" if threads else "threads as the libraries choose",
            *held_back,
        ]
    )
