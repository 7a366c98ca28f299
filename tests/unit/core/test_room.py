"""What a job says when a disk is full, a folder is closed, or memory runs out."""

import errno
import logging
import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from safetensors import SafetensorError

from realitycheck.core import room
from realitycheck.core.job import job_log
from realitycheck.core.room import NoRoomError, check_folder, check_free, explained


class OutOfMemoryError(RuntimeError):
    """As torch calls its error of a GPU; it is told by its name."""


def refused(number, path=None):
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: refused(errno.ENOSPC, f"{folder}/results/a/b.parquet"),
        lambda folder: refused(errno.EDQUOT, f"{folder}/x"),
        lambda folder: OSError("[Errno 28] Error writing bytes to file. Detail: No space left"),
        lambda folder: SafetensorError("I/O error: No space left on device (os error 28)"),
        lambda folder: sqlite3.OperationalError("database or disk is full"),
        lambda folder: refused(errno.EFBIG),
    ],
)
def test_full_disk_names_folder_need_and_what_happens_next(make, tmp_path, monkeypatch):
    """Each library has words of its own for it."""
    monkeypatch.chdir(tmp_path)
    told = explained(make(tmp_path))
    assert f"{tmp_path}: " in told and "MB free" in told
    assert "Needed: " in told and "Make room" in told and "run again" in told


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: refused(errno.EROFS, f"{folder}/results/b.parquet"),
        lambda folder: sqlite3.OperationalError("attempt to write a readonly database"),
    ],
)
def test_read_only_disk_is_named(make, tmp_path, monkeypatch):
    """As a cluster's after a fault of its own."""
    monkeypatch.chdir(tmp_path)
    told = explained(make(tmp_path))
    assert told.startswith(f"{tmp_path} is on a read-only disk. Make it writable")


def test_folder_of_somebody_else_is_told_only_where_it_cannot_be_written(tmp_path, monkeypatch):
    """A file that may not be read is another trouble, with a message of its own."""
    error = refused(errno.EACCES, f"{tmp_path}/x")
    assert explained(error) is None
    monkeypatch.setattr(room.os, "access", lambda *_: False)
    assert explained(error).startswith(f"{tmp_path} cannot be written by this user")
    with pytest.raises(NoRoomError, match="cannot be written by this user"):
        check_folder(tmp_path / "results" / "later")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError("Unable to allocate 1.00 TiB for an array"), "1.00 TiB more were needed"),
        (
            RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4096"),
            "MB free on this machine",
        ),
        (
            OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has …"),
            "memory of the GPU ran out, when 20.00 MiB more were needed",
        ),
    ],
)
def test_memory_that_ran_out_says_how_much_and_what_then(error, expected):
    """Above all which knob is to be turned."""
    told = explained(error)
    assert expected in told and "twice the memory and half the batch" in told


def test_real_allocation_is_told_with_its_size():
    """numpy's own words, whatever they are."""
    with pytest.raises(MemoryError) as caught:
        np.zeros(1 << 60, dtype=np.uint8)
    assert "when 1.00 EiB more were needed" in explained(caught.value)


def test_other_errors_keep_their_words(tmp_path):
    """They say what to do themselves."""
    for error in (ValueError("28 images"), FileNotFoundError(2, "nothing", "x"), KeyError("a")):
        assert explained(error) is None


def test_cause_counts():
    """Whatever a layer in between made of it."""
    try:
        try:
            raise refused(errno.ENOSPC)
        except OSError as error:
            raise ValueError("could not write") from error
    except ValueError as error:
        assert "No space is left" in explained(error)


def test_job_tells_it_in_log_and_terminal_without_a_traceback(tmp_path, capsys):
    """The one place that all jobs pass."""
    path = tmp_path / "job.log"
    with pytest.raises(SystemExit), job_log(path):
        raise refused(errno.ENOSPC, str(tmp_path / "a.png"))
    said = capsys.readouterr().err
    for text in (said, path.read_text()):
        assert "No space is left" in text and "Traceback" not in text and "Errno" not in text


def test_log_that_cannot_be_written_is_told_once(tmp_path, capsys):
    """On a full disk every line of the log would else print a traceback."""
    with job_log(tmp_path / "job.log"):
        handler = logging.getLogger().handlers[-1]
        handler.setStream(Path("/dev/full").open("w"))  # noqa: SIM115
        for _ in range(3):
            logging.getLogger("realitycheck").warning("line")
    said = capsys.readouterr().err
    assert said.count("the log has gaps: No space is left") == 1 and "Traceback" not in said


def test_log_in_a_closed_folder_ends_the_job_in_words(tmp_path, capsys, monkeypatch):
    """The first file that a job opens is its log."""

    def mkdir(*_, **__):
        raise refused(errno.EROFS, str(tmp_path / "logs"))

    monkeypatch.setattr("pathlib.Path.mkdir", mkdir)
    with pytest.raises(SystemExit), job_log(tmp_path / "logs" / "job.log"):
        raise AssertionError
    assert f"{tmp_path} is on a read-only disk" in capsys.readouterr().err


def test_run_starts_only_with_room(tmp_path, monkeypatch):
    """Before the first job: how much is needed, and how much there is."""
    check_folder(tmp_path / "results")
    check_free(tmp_path / "results")
    monkeypatch.setattr(room, "free_bytes", lambda _: 1_000_000)
    with pytest.raises(NoRoomError, match="5 MB of free disk are needed, but there are 1 MB"):
        check_free(tmp_path / "results")
