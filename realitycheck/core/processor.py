"""Tell what kind of processor this is, so that a figure or a red test can be told apart by it."""

import os
import platform
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

#: Variables that keep a library from using all that the processor has.
RESTRICTIONS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")


def widest_instructions(cpuinfo: Path = _CPUINFO) -> str:
    """Name the widest vector instructions of the processor, for example `AVX2`.

    Args:
        cpuinfo: The kernel's list of flags; without it, or without a flag known here, the
            machine's type is given, for example `arm64`.
    """
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    listed = next((line for line in lines if line.startswith("flags")), "")
    flags = set(listed.partition(":")[2].split())
    return next((name for name, flag in _KINDS if flag in flags), platform.machine())


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
