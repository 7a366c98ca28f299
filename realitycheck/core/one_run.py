"""One run at a time in a folder of results, and runs of one working folder only.

A file in the results says which folder the last run worked in, and is locked as long as a run is at
work. The lock is the operating system's: it is gone with the process that held it.
"""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import TextIO

NOTE_NAME = ".realitycheck_run"


class NoLocksError(Exception):
    """The file system of the results has no locks."""


class ResultsInUse(RuntimeError):
    """Results that another run, or runs of another folder, write."""


def check_owner(results: str | Path, folder: str | Path) -> None:
    """Make sure that no other working folder writes these results.

    Folders that lie elsewhere now, or copies of results with their note, do not count.

    Args:
        results: Folder of the results.
        folder: Working folder of this run.

    Raises:
        ResultsInUse: If there is one; names it.
    """
    note = Path(results) / NOTE_NAME
    try:
        told = json.loads(note.read_text(encoding="utf-8"))
        other, place = Path(told["folder"]), told["results"]
    except (OSError, ValueError, TypeError, KeyError):
        return
    is_there = (other / ".snakemake").is_dir() and place == str(Path(results).resolve())
    if is_there and not other.samefile(folder):
        raise ResultsInUse(
            f"{results}: these are the results of runs in {other}; two folders that write into one "
            "would change each other's manifests. Set another results_dir here, or, if no more "
            f"runs start in {other}, delete {note}"
        )


def claim(results: str | Path, folder: str | Path) -> TextIO:
    """Note that this folder's runs write these results, and lock them.

    Args:
        results: Folder of the results; made when needed.
        folder: Working folder of this run.

    Returns:
        The open note; the results are locked until it is closed.

    Raises:
        ResultsInUse: If another run is at work in them.
        NoLocksError: If the file system has no locks; the note is written then.
    """
    Path(results).mkdir(parents=True, exist_ok=True)
    file = (Path(results) / NOTE_NAME).open("a+", encoding="utf-8")
    is_locked = True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise ResultsInUse(
            f"another run is at work in the results {results}; wait until it has ended, or end it, "
            "or set another results_dir"
        ) from None
    except OSError:
        is_locked = False
    told = {"folder": str(Path(folder).resolve()), "results": str(Path(results).resolve())}
    text = json.dumps(told)
    file.seek(0)
    if file.read() != text:  # a run that has nothing to do touches nothing
        file.truncate(0)
        file.write(text)
        file.flush()
    if not is_locked:
        file.close()
        raise NoLocksError(f"{results}: no locks here")
    return file
