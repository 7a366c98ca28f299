"""Lines on a stream and, where it is a terminal, a bar below them."""

from __future__ import annotations

import os
import textwrap
import threading
from collections.abc import Iterable
from logging import LogRecord
from typing import TextIO

from realitycheck.face.events import Face

_SECONDS_BETWEEN_TICKS = 0.5
_TICKS_BETWEEN_LINES = 120
_WIDTH_OF_BAR = 20
#: Back to the line's begin, and delete all from here on.
_ERASE = "\r\x1b[J"


class Screen:
    """Writes what a face says.

    On a terminal a bar stands below the lines, drawn anew twice a second. The cursor is left at its
    begin, so that whatever another program writes there stands, and the bar moves on below it.
    Elsewhere there are lines only, without control characters, and once a minute one that says what
    is at work.
    """

    def __init__(self, stream: TextIO, face: Face, *, ticks: bool = True):
        """Begin to show.

        Args:
            stream: Where to.
            face: What to show.
            ticks: Whether to show the bar, or what is at work, from time to time.
        """
        self._stream = stream
        self._face = face
        self._is_terminal = stream.isatty() and os.environ.get("TERM") != "dumb"
        self._is_drawn = False
        self._lock = threading.RLock()
        self._closed = threading.Event()
        if ticks:
            threading.Thread(target=self._tick, name="face", daemon=True).start()

    def show(self, record: LogRecord) -> None:
        """Write what stands for a log record."""
        with self._lock:
            self.say(self._face.lines(record))

    def say(self, lines: Iterable[str]) -> None:
        """Write lines above the bar."""
        with self._lock:
            text = self._text(lines)
            if text and not self._closed.is_set():
                self._write(self._erased() + text)
                self.draw()

    def draw(self) -> None:
        """Draw the bar, on a terminal, if anything is at work."""
        with self._lock:
            if not self._is_terminal or self._closed.is_set():
                return
            width, height = self._size()
            rows = [line[:width] for line in self.bar()[:height]]
            text = self._erased()
            if rows:
                up = f"\x1b[{len(rows) - 1}A" if len(rows) > 1 else ""
                text += "\n".join(rows) + up + "\r"
                self._is_drawn = True
            self._write(text)

    def bar(self) -> list[str]:
        """The lines of the bar: how far the run is, and each job at work."""
        face = self._face
        if not face.total:
            return []
        filled = _WIDTH_OF_BAR * face.done // face.total
        shape = "#" * filled + "." * (_WIDTH_OF_BAR - filled)
        return [f"[{shape}] {face.progress()}", *(f"  {line}" for line in face.at_work())]

    def close(self) -> None:
        """Remove the bar and write the last words, once."""
        with self._lock:
            if self._closed.is_set():
                return
            text = self._erased() + self._text(self._face.last_words())
            self._closed.set()
            self._write(text)

    def _tick(self) -> None:
        n_ticks = 0
        while not self._closed.wait(_SECONDS_BETWEEN_TICKS):
            n_ticks += 1
            self.tick(is_line_due=n_ticks % _TICKS_BETWEEN_LINES == 0)

    def tick(self, *, is_line_due: bool) -> None:
        """Show how things stand: in the bar, or, where there is none and it is due, in a line."""
        with self._lock:
            self.say(self._face.newly_said())
            if self._is_terminal:
                self.draw()
            elif is_line_due and (jobs := self._face.at_work()):
                self.say([f"{self._face.progress()}; at work: {'; '.join(jobs)}"])

    def _text(self, lines: Iterable[str]) -> str:
        """Lines as they are written: on a terminal broken between words, below their begin."""
        broken = [part for line in lines for part in line.split("\n")]
        if self._is_terminal:
            width, _ = self._size()
            broken = [row for line in broken for row in _wrapped(line, width)]
        return "".join(f"{line}\n" for line in broken)

    def _size(self) -> tuple[int, int]:
        """Columns, one less than there are, and rows that a bar may take."""
        try:
            size = os.get_terminal_size(self._stream.fileno())
        except (OSError, ValueError):
            size = os.terminal_size((0, 0))
        return (size.columns or 80) - 1, max(1, (size.lines or 24) - 2)

    def _erased(self) -> str:
        erased = _ERASE if self._is_drawn else ""
        self._is_drawn = False
        return erased

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a terminal that was closed ends no run
            self._closed.set()


def _wrapped(line: str, width: int) -> list[str]:
    margin = line[: len(line) - len(line.lstrip())]
    rows = textwrap.wrap(
        line,
        width,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
    return rows or [""]
