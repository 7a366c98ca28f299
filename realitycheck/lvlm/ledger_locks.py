"""Waiting for a ledger that another process holds, aloud; and naming that process."""

from __future__ import annotations

import logging
import os
import socket
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from realitycheck.core.terminal import say

log = logging.getLogger(__name__)

T = TypeVar("T")

TELL_S = 2.0
"""After so many seconds of waiting it is said who is waited for."""

_POLL_S = 0.05


class LedgerError(RuntimeError):
    """A ledger that cannot be used."""


class LedgerEmptyError(LedgerError):
    """A file in which somebody is about to make a ledger."""


class LedgerLockedError(LedgerError):
    """Another process holds the ledger and does not let go."""


class LedgerFullError(LedgerError):
    """The disk of the ledger has no room."""


def patiently(work: Callable[[], T], *, path: Path, patience_s: float) -> T:
    """Do what needs a lock of SQLite's, and wait while another process has it.

    Args:
        work: What to do; is begun anew after every wait.
        path: The ledger.
        patience_s: How long to wait, in seconds.

    Raises:
        LedgerLockedError: If the lock was not to be had; names who has it.
    """
    began = time.monotonic()
    is_told = False
    while True:
        try:
            return work()
        except sqlite3.OperationalError as error:
            if not is_locked(error):
                raise
            waited = time.monotonic() - began
            if waited > patience_s:
                raise LedgerLockedError(
                    f"{path} is locked by {holders(path)}, for {waited:.0f} s now; let that end, "
                    "or end it, and run again"
                ) from error
            if not is_told and waited > TELL_S:
                is_told = True
                say(f"{path} is locked by {holders(path)}; waiting up to {patience_s:.0f} s for it")
        time.sleep(_POLL_S)


def is_locked(error: sqlite3.Error) -> bool:
    """Whether an error of SQLite's says that another connection is in the way."""
    return _code(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def is_full(error: sqlite3.Error) -> bool:
    """Whether an error of SQLite's says that the disk takes no more."""
    return _code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


def holders(path: Path) -> str:
    """The processes that hold locks on a ledger, in words.

    As far as Linux's table of locks tells; readers of a write-ahead log are left out, since nobody
    waits for them.
    """
    files = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]
    inodes = {str(file.stat().st_ino) for file in files if file.exists()}
    try:
        table = Path("/proc/locks").read_text(encoding="ascii", errors="replace")
    except OSError:
        table = ""
    # 1: POSIX  ADVISORY  WRITE 4321 08:01:131111 0 EOF
    rows = [line.split() for line in table.splitlines() if "->" not in line]
    found = {kind: set() for kind in ("WRITE", "READ")}
    for row in rows:
        if len(row) >= 6 and row[5].rsplit(":", 1)[-1] in inodes and row[3] in found:
            found[row[3]].add(int(row[4]))
    pids = found["WRITE"] - {os.getpid(), -1, 0} or found["READ"] - {os.getpid(), -1, 0}
    if not pids:
        return "a process that cannot be seen from here (in another container, or elsewhere?)"
    host = socket.gethostname()
    return " and ".join(f"process {pid} ({_name_of(pid)}) on {host}" for pid in sorted(pids))


def _name_of(pid: int) -> str:
    import psutil

    try:
        return psutil.Process(pid).name()
    except psutil.Error:
        return "name unknown"
