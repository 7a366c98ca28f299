"""The processor's kind is named by the kernel's flags."""

import platform

import pytest

from realitycheck.core.processor import (
    RESTRICTIONS,
    describe,
    gpus,
    has_bfloat16,
    widest_instructions,
)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fma sse4_2 avx avx2", "AVX2"),
        ("sse4_2 avx avx2 avx512f", "AVX-512"),
        ("avx2 avx512f avx512_bf16", "AVX-512 with bfloat16"),
        ("avx2 avx512f avx512_bf16 amx_bf16 amx_tile", "AVX-512 with AMX and bfloat16"),
        ("fpu sse4_2", "SSE4.2"),
        ("fpu", platform.machine()),
    ],
)
def test_widest_instructions_are_named(tmp_path, flags, expected):
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: avx512f look-alike\nflags\t\t: {flags}\n")
    assert widest_instructions(path) == expected


def test_machine_without_a_list_of_flags_gives_its_type(tmp_path):
    assert widest_instructions(tmp_path / "absent") == platform.machine()


def test_line_names_threads_and_what_is_held_back(monkeypatch):
    for name in RESTRICTIONS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "3 threads per process" in describe() and "=" not in describe()
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    assert describe().endswith("ATEN_CPU_CAPABILITY=avx2")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: avx2 avx512f", False),
        ("flags\t\t: avx2 avx512f avx512_bf16", True),
        ("Features\t: fp asimd bf16 i8mm", True),
        ("Features\t: fp asimd", False),
        ("model name\t: bf16", None),
    ],
)
def test_bfloat16_is_told_by_the_flags(tmp_path, line, expected):
    """Of Intel and AMD, and of ARM; a machine that lists none is not judged."""
    path = tmp_path / "cpuinfo"
    path.write_text(f"processor\t: 0\n{line}\n")
    assert has_bfloat16(path) is expected


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, [("Tesla T4", 7.5), ("NVIDIA H100, 80GB", 9.0)]),
        ("1", [("NVIDIA H100, 80GB", 9.0)]),
        ("", []),
        ("GPU-5f", [("Tesla T4", 7.5), ("NVIDIA H100, 80GB", 9.0)]),
    ],
)
def test_gpus_are_those_that_a_job_would_see(monkeypatch, tmp_path, visible, expected):
    """The driver's tool is asked, for torch takes seconds to say the same."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'Tesla T4, 7.5'\necho 'NVIDIA H100, 80GB, 9.0'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus() == expected


def test_machine_without_the_drivers_tool_has_no_gpu(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpus() == []
