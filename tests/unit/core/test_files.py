"""Files appear whole or not at all; what killed jobs leave is swept, and nothing else."""

import os
import subprocess
import sys
import time

import pytest

from realitycheck.core import files as writing
from realitycheck.core.files import sweep, write_atomically, write_text
from realitycheck.core.images import write_png
from realitycheck.core.store import FinishedRows

WRITER = """
import sys, time
from realitycheck.core.files import write_atomically

def write(temporary):
    print(temporary, flush=True)
    time.sleep(60)

write_atomically(sys.argv[1], write)
"""


@pytest.fixture
def writer(tmp_path, repository):
    """A job that writes a file below `tmp_path` and does not come to its end."""
    job = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "deep" / "table.parquet")],
        stdout=subprocess.PIPE,
        text=True,
        cwd=repository,
    )
    yield job, job.stdout.readline().strip()
    job.kill()
    job.wait()


def test_leftovers_of_a_killed_job_are_swept_and_those_of_a_living_one_are_not(writer, tmp_path):
    """A run may begin while a job of the one before still writes."""
    job, temporary = writer
    write_text("whole", tmp_path / "deep" / "whole.txt")
    assert sweep(tmp_path) == []
    job.kill()
    job.wait()
    assert os.path.exists(temporary)
    assert [str(path) for path in sweep(tmp_path)] == [temporary]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["whole.txt"]


def test_other_files_are_never_swept(tmp_path):
    """Whatever they are called, they are not ours."""
    for name in ("writing-x", ".write", ".hidden", "a.tmp", ".writing"):
        (tmp_path / name).write_text("x")
    assert sweep(tmp_path) == []


def test_leftovers_of_other_machines_wait_a_day(tmp_path):
    """Where a disk is shared, the lock of another node may not show here."""
    left = tmp_path / ".writing-another_node-abc"
    left.write_text("half")
    assert sweep(tmp_path) == []
    os.utime(left, (time.time() - 25 * 3600,) * 2)
    assert sweep(tmp_path) == [left]


def test_nothing_is_swept_without_locks(tmp_path, monkeypatch):
    """There nobody knows whether its writer lives."""

    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(writing.fcntl, "flock", refuse)
    (tmp_path / f".writing-{writing._machine()}-abc").write_text("half")
    assert sweep(tmp_path) == []
    write_text("text", tmp_path / "a.txt")
    assert (tmp_path / "a.txt").read_text() == "text"


@pytest.mark.parametrize("n_lost", [1, 3])
def test_file_that_is_swept_before_it_is_locked_is_begun_again(n_lost, tmp_path, monkeypatch):
    """Between the two lies a moment."""
    locked, lost = writing.fcntl.flock, []

    def sweep_first(handle, how):
        if len(lost) < n_lost:
            lost.extend(tmp_path.glob(".writing-*"))
            lost[-1].unlink()
        locked(handle, how)

    monkeypatch.setattr(writing.fcntl, "flock", sweep_first)
    write_text("text", tmp_path / "a.txt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert len(lost) == n_lost


def test_everything_that_is_written_in_one_step_is_known_to_the_sweep(tmp_path, monkeypatch):
    """Tables, pictures and rows of finished images alike."""
    import numpy as np

    seen = []

    def note(source, target):
        seen.append(os.path.basename(source))
        os.rename(source, target)

    monkeypatch.setattr(writing.os, "replace", note)
    write_png(np.zeros((2, 2), np.uint8), tmp_path / ("n" * 250 + ".png"))
    FinishedRows(tmp_path, facts={}).put("image", [])
    write_atomically(tmp_path / "t", lambda temporary: None)
    assert len(seen) == 3
    assert all(name.startswith(".writing-") for name in seen)
