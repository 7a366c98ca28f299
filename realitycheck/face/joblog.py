"""Read what a job says in its log: how far it is, what it wants said, and why it stopped."""

from __future__ import annotations

import os
import re

#: Beginning of a record that `realitycheck.core.job` writes; other lines may stand between.
_RECORD = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ ([A-Z]+) ([\w.]+): ", re.MULTILINE)
_COUNT = re.compile(r"^(?:.*: )?(\d+ of \d+.*)$")
_SAID = "realitycheck.said"
_END_OF_LOG_BYTES = 1_000_000


class JobLog:
    """The log of one job, from its start on.

    What stood in the file before, of an earlier run, is told by its date and size and not read.
    """

    def __init__(self, path: str):
        """Remember the file as it is before the job writes."""
        self.path = path
        self._before = self._seen = self._stamp()
        self._records: list[tuple[str, str, str]] = []
        self._n_said = 0

    def exists(self) -> bool:
        """Whether the job has written."""
        return self._stamp() not in (None, self._before)

    def last_stop(self) -> str | None:
        """The message of the last error."""
        errors = [text for level, _, text in self._read() if level == "ERROR"]
        return errors[-1] if errors else None

    def how_far(self) -> str | None:
        """How far the job is, such as `12 of 40`."""
        for level, _, text in reversed(self._read()):
            if level == "INFO" and (found := _COUNT.match(text)):
                return found[1]
        return None

    def newly_said(self) -> list[str]:
        """What the job wants whoever watches to read, and was not returned before."""
        said = [text for _, name, text in self._read() if name == _SAID]
        new = said[self._n_said :]
        self._n_said = len(said)
        return new

    def _read(self) -> list[tuple[str, str, str]]:
        """Level, logger and text of each record; read again only if the file has changed."""
        stamp = self._stamp()
        if stamp != self._seen and stamp is not None:
            self._seen = stamp
            try:
                with open(self.path, "rb") as file:
                    file.seek(max(0, os.fstat(file.fileno()).st_size - _END_OF_LOG_BYTES))
                    text = file.read().decode("utf-8", errors="replace")
            except OSError:
                return self._records
            heads = list(_RECORD.finditer(text))
            ends = [head.start() for head in heads[1:]] + [len(text)]
            self._records = [
                (head[1], head[2], text[head.end() : end].strip())
                for head, end in zip(heads, ends, strict=False)
            ]
        return self._records

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size
