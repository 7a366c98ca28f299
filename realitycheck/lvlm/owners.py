"""Who has claimed a question, and whether that process is still there.

Clocks play no part: they differ between machines and are set while runs go on. On the same machine
the process itself is looked at. For another machine, or a container with process numbers of its
own, it counts whether the owner's heartbeat still moves while we watch.
"""

from __future__ import annotations

import functools
import os
import socket
import sqlite3
import time
from pathlib import Path

BEAT_S = 10.0
"""Seconds between two heartbeats of a process that has questions in flight."""

SILENCE_S = 90.0
"""Seconds for which we watch an owner elsewhere, without a heartbeat, before it counts as gone."""


@functools.cache
def _place() -> str:
    """This machine since it was started, as far as process numbers reach."""
    facts = [socket.gethostname()]
    for read in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip(),
        lambda: os.readlink("/proc/self/ns/pid"),
    ):
        try:
            facts.append(read())
        except OSError:
            continue
    return " ".join(facts)


def this_process() -> str:
    """This process: machine, number, start."""
    return f"{_place()}|{os.getpid()}|{start_of(os.getpid())}"


def start_of(pid: int) -> str | None:
    """When a process began, in a form that no clock changes; None if there is none.

    `unknown` for a process that is there but may not be looked at.
    """
    if Path("/proc/self/stat").exists():
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            return _start_of_hidden(pid)
        except PermissionError:
            return "unknown"
        # The name stands in brackets and may hold any sign. Then: state, …, ticks since the boot.
        fields = stat.rpartition(")")[2].split()
        # A killed process keeps its number until its parent has asked how it ended.
        return None if fields[0] in "ZX" else fields[19]
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return f"{process.create_time():.1f}"
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:
        return "unknown"


def _start_of_hidden(pid: int) -> str | None:
    """The processes of others may be hidden from /proc; they still exist."""
    try:
        os.kill(pid, 0)
    except PermissionError:
        return "unknown"
    except (ProcessLookupError, OverflowError):
        return None
    return "unknown"


def words_for(owner: str) -> str:
    """An owner in words, for messages."""
    place, pid, _ = owner.rsplit("|", 2)
    return f"process {pid} on {place.split(' ')[0]}"


class Watch:
    """Tells owners that are gone from those that are at work; for one connection to a ledger."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int | None, float]] = {}

    def is_gone(self, db: sqlite3.Connection, owner: str | None) -> bool:
        """Whether nobody is going to finish what an owner has claimed.

        Args:
            db: The ledger.
            owner: As `this_process` wrote it; None: nobody.
        """
        if not owner or owner.count("|") < 2:
            return True
        place, pid, started = owner.rsplit("|", 2)
        if place == _place():
            found = start_of(int(pid))
            return found is None or found not in ("unknown", started)
        row = db.execute("select beat from owner where name=?", [owner]).fetchone()
        beat = None if row is None else row[0]
        now = time.monotonic()
        last, since = self._seen.get(owner, (None, None))
        if since is None or beat != last:
            self._seen[owner] = (beat, now)
            return False
        return now - since > SILENCE_S


def beat(db: sqlite3.Connection) -> None:
    """Let others see that this process is at work."""
    db.execute(
        "insert into owner(name, beat) values(?, 1) on conflict(name) do update set beat=beat+1",
        [this_process()],
    )
