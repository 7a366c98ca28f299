"""What a ledger's owner does with it: back it up, check it, take it elsewhere as a table.

All of it works while runs write.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from realitycheck.core.files import write_atomically
from realitycheck.lvlm.ledger import STATES, Ledger
from realitycheck.lvlm.ledger_locks import LedgerError
from realitycheck.lvlm.ledger_schema import digest_of

_BATCH = 500


@dataclass
class Findings:
    """What a check of a ledger found.

    Attributes:
        n_questions: Questions.
        n_answered: Of these, with an answer.
        n_attempts: Attempts that have ended.
        n_without_digest: Of these, without a digest: by an old version, or set aside as damaged.
        faults: What is wrong, in sentences.
        damaged: Attempts that are not as they were stored.
    """

    n_questions: int = 0
    n_answered: int = 0
    n_attempts: int = 0
    n_without_digest: int = 0
    faults: list[str] = field(default_factory=list)
    damaged: list[int] = field(default_factory=list)

    def text(self) -> str:
        """The findings in one line."""
        return (
            f"{self.n_questions} questions, {self.n_answered} answered; {self.n_attempts} attempts"
            + (f", {self.n_without_digest} without a digest" if self.n_without_digest else "")
            + (f"; faults: {len(self.faults)}" if self.faults else "; no fault")
        )


def check(path: str | Path) -> Findings:
    """Read every page and every reply of a ledger, and compare them with their digests.

    Raises:
        LedgerError: If it cannot be read at all.
    """
    found = Findings()
    with Ledger(path, read_only=True) as ledger:
        lines = [row[0] for row in ledger.rows("pragma integrity_check")]
        found.faults += [f"SQLite: {line}" for line in lines if line != "ok"]
        try:
            _check_rows(ledger, found)
        except LedgerError as error:
            found.faults.append(str(error))
    return found


def _check_rows(ledger: Ledger, found: Findings) -> None:
    answered = set()
    digest = "digest" if ledger.is_current else "null"
    for number, key, *facts, stored in _pages(
        ledger, f"id, key, outcome, http, latency_s, detail, body, {digest}", "attempt", "id", 0
    ):
        if facts[0] is None:
            continue
        found.n_attempts += 1
        found.n_without_digest += stored is None
        if stored not in (None, digest_of(key, *facts)) or not all(map(_is_text, facts)):
            found.damaged.append(number)
            found.faults.append(f"attempt {number} of question {key}: is not what was stored")
        elif facts[0] == "answered" and isinstance(facts[-1], str):
            answered.add(key)
    for key, doc, state in _pages(ledger, "key, doc, state", "request", "key", ""):
        found.n_questions += 1
        found.n_answered += key in answered
        is_doc = isinstance(doc, str)
        text = doc.encode("utf-8", "surrogateescape") if is_doc else b""
        if hashlib.sha256(text).hexdigest() != key:
            found.faults.append(f"question {key}: its text does not belong to its key")
        if state not in STATES:
            found.faults.append(f"question {key}: has the unknown state {state!r}")
        if state == "answered" and key not in answered:
            found.faults.append(f"question {key}: is answered, but has no sound answer")


def _is_text(value: Any) -> bool:
    """Whether a value, if a text, is one; bytes that are none stand in it as surrogates."""
    return not isinstance(value, str) or value.isascii() or not any(map(_is_surrogate, value))


def _is_surrogate(sign: str) -> bool:
    return "\ud800" <= sign <= "\udfff"


def _pages(
    ledger: Ledger, columns: str, table: str, by: str, last: Any
) -> Iterator[tuple[Any, ...]]:
    """Rows of a table in the order of its key, a few at a time."""
    position = [name.strip() for name in columns.split(",")].index(by)
    while True:
        rows = ledger.rows(
            f"select {columns} from {table} where {by}>? order by {by} limit {_BATCH}", [last]
        )
        yield from rows
        if len(rows) < _BATCH:
            return
        last = rows[-1][position]


def backup(path: str | Path, to: str | Path) -> Findings:
    """Copy a ledger as one file, whole or not at all, and check the copy.

    An earlier backup is replaced, but not by one that holds less.

    Args:
        path: The ledger; runs may be writing it.
        to: The copy.

    Raises:
        LedgerError: If the copy is not sound, or `to` holds something else or more.
    """
    path, to = Path(path), Path(to)
    if to.exists() and os.path.samefile(path, to):
        raise LedgerError(f"{to}: is the ledger itself; name another file")
    found = Findings()

    def write(temporary: str) -> None:
        nonlocal found
        with Ledger(path, read_only=True) as ledger:
            ledger.copy_to(temporary)
        found = check(temporary)
        if found.faults:
            raise LedgerError(f"{path}: {_first(found.faults)}; no backup was written")
        if to.exists():
            _check_holds_no_less(temporary, to)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())

    try:
        write_atomically(to, write)
    except (OSError, sqlite3.DatabaseError) as error:
        raise LedgerError(f"{to}: cannot be written ({error}); name another place") from error
    return found


def _first(faults: list[str]) -> str:
    return faults[0] + (f" (and {len(faults) - 1} more)" if len(faults) > 1 else "")


def _check_holds_no_less(new: str, old: Path) -> None:
    answered = []
    for path in (new, old):
        with Ledger(path, read_only=True) as ledger:
            rows = ledger.rows("select key from attempt where outcome='answered'")
        answered.append({key for (key,) in rows})
    n_lacking = len(answered[1] - answered[0])
    if n_lacking:
        raise LedgerError(
            f"{old}: holds {n_lacking} answers that the ledger does not; name another file, so "
            "that they are not lost"
        )


def export(path: str | Path, to: str | Path) -> int:
    """Write all attempts with their questions as a table.

    Args:
        path: The ledger.
        to: `.jsonl`: one JSON object per line; `.parquet`: the same columns.

    Returns:
        Number of rows.

    Raises:
        LedgerError: If a reply is damaged, or the name ends otherwise.
    """
    path, to = Path(path), Path(to)
    if to.suffix not in (".jsonl", ".parquet"):
        raise LedgerError(f"{to}: expected a name that ends in .jsonl or .parquet")
    found = check(path)
    if found.faults:
        raise LedgerError(f"{path}: {_first(found.faults)}; nothing was exported")
    n_rows = 0

    def write(temporary: str) -> None:
        nonlocal n_rows
        n_rows = _write_rows(path, temporary)

    try:
        write_atomically(to, write)
    except OSError as error:
        raise LedgerError(f"{to}: cannot be written ({error}); name another place") from error
    return n_rows


_EXPORTED = (
    *("a.key", "a.run", "a.budget", "a.model", "a.sent", "a.done", "a.latency_s", "a.http"),
    *("a.outcome", "a.detail", "a.waited_s", "a.headers", "a.body", "a.client", "a.cost_usd"),
    *("a.prices", "r.state", "r.doc"),
)
_REAL = {"sent", "done", "latency_s", "waited_s", "cost_usd"}


def _write_rows(path: Path, to: str) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [column.partition(".")[2] for column in _EXPORTED]
    kinds = {name: "float64" if name in _REAL else "string" for name in names} | {"http": "int64"}
    schema = pa.schema([(name, pa.type_for_alias(kinds[name])) for name in names])
    n_rows, last = 0, 0
    with Ledger(path, read_only=True) as ledger:
        # A ledger of version 1 does not name the model.
        columns = [c if ledger.is_current or c != "a.model" else "null" for c in _EXPORTED]
        statement = (
            f"select a.id, {', '.join(columns)} from attempt a join request r on r.key=a.key "
            f"where a.id>? order by a.id limit {_BATCH}"
        )
        is_parquet = to.endswith(".parquet")
        with pq.ParquetWriter(to, schema) if is_parquet else open(to, "w", encoding="utf-8") as out:
            while found := ledger.rows(statement, [last]):
                last = found[-1][0]
                n_rows += len(found)
                rows = [dict(zip(names, row[1:], strict=True)) for row in found]
                if is_parquet:
                    out.write_table(pa.Table.from_pylist(rows, schema=schema))
                else:
                    out.writelines(json.dumps(row) + "\n" for row in rows)
    return n_rows
