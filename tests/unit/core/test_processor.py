"""The processor's kind is named by the kernel's flags."""

import platform

import pytest

from realitycheck.core.processor import RESTRICTIONS, describe, widest_instructions


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
