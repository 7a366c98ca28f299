"""Room on the ledger's disk for the answers that are on their way.

A question that has been sent is paid for, so its answer must find room. As much is held by a file
without a name beside the ledger, which is gone with its process; where the disk is full when an
answer comes, the file is given up for it, and nothing more is sent.
"""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from pathlib import Path
from typing import IO

from realitycheck.lvlm.ledger_locks import LedgerFullError

REPLY_BYTES = 1_000_000
"""Room for one answer and what SQLite writes with it, in bytes; the longest have a third of it."""

BASE_BYTES = 4_000_000
"""Room for the ledger's own logs, in bytes."""


class Room:
    """Holds room beside a file.

    Args:
        path: The ledger.
        n_replies: Answers that can be on their way at once.
    """

    def __init__(self, path: Path, *, n_replies: int):
        self._path = path
        self._n_bytes = BASE_BYTES + n_replies * REPLY_BYTES
        self._file: IO[bytes] | None = None

    @property
    def is_held(self) -> bool:
        """Whether the room is there."""
        return self._file is not None

    def hold(self) -> None:
        """Make sure that the room is there.

        Raises:
            LedgerFullError: If it is not to be had.
        """
        if self._file is not None:
            return
        file = None
        try:
            file = tempfile.TemporaryFile(dir=self._path.parent)  # noqa: SIM115
            _fill(file, self._n_bytes)
        except OSError as error:
            if file is not None:
                file.close()
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise LedgerFullError(self.message()) from error
        self._file = file

    def give_up(self) -> None:
        """Let the ledger have the room."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def message(self) -> str:
        """That there is no room, in words."""
        free = shutil.disk_usage(self._path.parent).free
        return (
            f"{self._path}: the disk has no room for the answers on their way "
            f"({self._n_bytes / 1e6:.0f} MB are needed in {self._path.parent}, "
            f"{free / 1e6:.1f} MB are free); nothing more is sent. Make room, and the same command "
            "goes on from there"
        )


def _fill(file: IO[bytes], n_bytes: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            return os.posix_fallocate(file.fileno(), 0, n_bytes)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
    block = bytes(1_000_000)
    for _ in range(0, n_bytes, len(block)):
        file.write(block)
    file.flush()
    return None
