"""Keys: where they come from, and how they are kept out of everything that is written."""

from __future__ import annotations

import base64
import logging
import os
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

REMOVED = "[key removed]"

MIN_KEY_LENGTH = 8
"""Shorter keys are refused: removing them from texts would damage the texts."""


class MissingKeyError(ValueError):
    """No key where the settings say there is one."""


def read_key(*, env: str | None = None, file: str | Path | None = None) -> str:
    """Read a key from a file or from the environment; the file comes first.

    Args:
        env: Name of the environment variable.
        file: File that holds the key and nothing else.

    Raises:
        MissingKeyError: If there is none; names the places, never a value.
    """
    if file is not None:
        try:
            key, place = Path(file).read_text(encoding="utf-8").strip(), f"the file {file}"
        except OSError as error:
            raise MissingKeyError(
                f"the key file {file} cannot be read ({error.strerror}); put the key there"
            ) from None
    elif env is not None:
        key, place = os.environ.get(env, "").strip(), f"the environment variable {env}"
    else:
        raise MissingKeyError("no key: neither an environment variable nor a file is named")
    if not key:
        raise MissingKeyError(f"no key: {place} is empty; put the key there")
    if len(key) < MIN_KEY_LENGTH or any(c.isspace() or not c.isprintable() for c in key):
        raise MissingKeyError(
            f"{place} does not hold a key: expected at least {MIN_KEY_LENGTH} characters without "
            "white space"
        )
    return key


class Redactor:
    """Removes keys from texts, plain and as they are written in addresses and headers.

    Args:
        secrets: The keys; empty ones are left out.
    """

    def __init__(self, *secrets: str | None):
        self._forms: set[str] = set()
        for secret in secrets:
            self.add(secret)

    def __repr__(self) -> str:
        return f"Redactor({len(self._forms)} forms)"

    def add(self, secret: str | None) -> None:
        """Remove one more key from now on, such as a fresh access token."""
        if secret and len(secret) >= MIN_KEY_LENGTH:
            encoded = base64.b64encode(secret.encode()).decode()
            self._forms |= {secret, quote(secret, safe=""), encoded.rstrip("=")}

    def __call__(self, text: str) -> str:
        """The text without keys."""
        for form in sorted(self._forms, key=len, reverse=True):
            text = text.replace(form, REMOVED)
        return text


_active: list[Redactor] = []
_active_lock = threading.Lock()
_plain_factory = logging.getLogRecordFactory()


@contextmanager
def hidden(redact: Redactor) -> Iterator[None]:
    """Remove keys from every log record that is made meanwhile, tracebacks included.

    Libraries log what they send; their loggers are not ours to configure. Runs in several threads
    may overlap: a key is removed until its run has ended.
    """
    global _plain_factory
    with _active_lock:
        if not _active:
            _plain_factory = logging.getLogRecordFactory()
            logging.setLogRecordFactory(_make_record)
        _active.append(redact)
    try:
        yield
    finally:
        with _active_lock:
            _active.remove(redact)
            if not _active:
                logging.setLogRecordFactory(_plain_factory)


def _make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record = _plain_factory(*args, **kwargs)
    try:
        record.msg, record.args = _without_keys(record.getMessage()), None
    except (TypeError, ValueError):  # a record that cannot be formatted shows its parts
        record.msg, record.args = _without_keys(f"{record.msg} {record.args}"), None
    if record.exc_info and record.exc_info[1] is not None:
        record.exc_text = _without_keys("".join(traceback.format_exception(record.exc_info[1])))
        record.exc_info = None
    return record


def _without_keys(text: str) -> str:
    for redact in tuple(_active):
        text = redact(text)
    return text
