"""The reply ledger: every question is claimed before it is sent, every answer stored before read.

It is an SQLite file and no output of a job: workflow engines delete the outputs of failed jobs, and
an answer is paid for once. Several processes may use one ledger at once. Order of writes of one
question:

1. claim: the question and an attempt that sets aside what it may cost, in one transaction, which
   also checks the limit on money (`realitycheck.lvlm.budget`); whoever gets no claim does not send.
   Room for the answer is held on the disk from then on (`realitycheck.lvlm.ledger_room`);
2. send;
3. reply: raw body, outcome and their digest, in one transaction;
4. only then is the body read, and what was set aside replaced by the cost.

A process that is killed between 1 and 3 leaves a claim whose owner is gone
(`realitycheck.lvlm.owners`). The next run sees it and, if it may, asks once more: the service
offers no way to learn whether the first was answered.

The file holds texts, digests of images and replies; no image and no key. Copies, checks and
exports: `realitycheck.lvlm.ledger_copies`.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, TypeVar

from realitycheck.core.terminal import say
from realitycheck.lvlm import budget as money
from realitycheck.lvlm import owners
from realitycheck.lvlm.file_systems import is_local
from realitycheck.lvlm.ledger_locks import (
    LedgerEmptyError,
    LedgerError,
    LedgerFullError,
    is_full,
    patiently,
)
from realitycheck.lvlm.ledger_room import Room
from realitycheck.lvlm.ledger_schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    bring_up_to_date,
    digest_of,
    identity,
    text_of,
)

T = TypeVar("T")

OUTCOMES = (
    "answered",  # a reply with status 200
    "throttled",  # 429: nothing was done
    "unavailable",  # 5xx: nothing was done
    "unreachable",  # no connection: nothing was sent
    "refused",  # 4xx, or a reply that is no answer: the request was turned away
    "unknown",  # sent, but no whole reply came; perhaps paid for
    "damaged",  # the stored reply was found damaged and set aside
)
"""How an attempt can end."""

STATES = ("sent", "open", "answered", "failed")
"""What can become of a question."""

PAID_PATIENCE_S = 600.0
"""How long an answer that has come in is held for a ledger that cannot be written, in seconds."""


@dataclass(frozen=True)
class Claim:
    """Whether a question may be sent.

    Attributes:
        kind: `granted`: send it; `answered`: the answer is there; `elsewhere`: another process is
            sending it; `failed`: given up on since this run began; `wait`: others must be answered
            before there is money for it; `over_budget`: the limit on money would be passed.
        attempt_id: Of the granted attempt.
        spent_usd: Money of the budget that is spent or set aside.
        owner: Who is sending it, in words.
    """

    kind: str
    attempt_id: int | None = None
    spent_usd: float = 0.0
    owner: str = ""


@dataclass(frozen=True)
class StoredReply:
    """What the ledger knows of a question.

    Attributes:
        state: `sent`, `open`, `answered` or `failed`.
        outcome: How the last finished attempt ended.
        detail: What went wrong in it.
        body: Raw body of the answer; None without one.
        latency_s: Time from sending to the whole answer, in seconds.
        client: Library that sent it, and what it left out for the model's sake.
        day: When it was sent, UTC; None without an attempt that ended.
    """

    state: str
    outcome: str | None
    detail: str | None
    body: str | None
    latency_s: float | None
    client: str | None = None
    day: date | None = None


class Ledger:
    """Questions, attempts and replies in one SQLite file; safe for threads and processes.

    Args:
        path: The file; made if it does not exist.
        read_only: Whether it is only read; then it must exist, and nothing beside it is written.
        busy_timeout_s: How long to wait for another process that holds it, in seconds.

    Raises:
        LedgerError: If the file is no ledger of this version, or is missing when only read.
        realitycheck.lvlm.ledger_locks.LedgerLockedError: If another process holds it.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False, busy_timeout_s: float = 20.0):
        self.path = Path(path)
        self.read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.Lock()
        self._watch = owners.Watch()
        self._room: Room | None = None
        self._copy: tempfile.TemporaryDirectory | None = None
        self.is_current = False
        if read_only and not self.path.is_file():
            raise LedgerError(
                f"{self.path}: there is no reply ledger; give the file that holds the answers"
            )
        try:
            if not read_only:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(
                self._uri(),
                uri=True,
                timeout=0.2,
                isolation_level=None,
                check_same_thread=False,
            )
            self._db.text_factory = text_of
            patiently(self._open, path=self.path, patience_s=busy_timeout_s)
        except (sqlite3.DatabaseError, OSError) as error:
            raise LedgerError(
                f"{self.path}: cannot be opened as a reply ledger ({error}); name another file, or "
                "check that the folder may be written and has room"
            ) from error

    def _uri(self) -> str:
        path = self.path.resolve()
        if not self.read_only:
            return path.as_uri()
        if os.access(path.parent, os.W_OK):
            return path.as_uri() + "?mode=ro"
        # Where nobody can write, SQLite cannot even keep its notes on who is reading, and so not
        # read a log that a killed process has left.
        log = path.with_name(path.name + "-wal")
        if log.exists() and log.stat().st_size:
            self._copy = tempfile.TemporaryDirectory()
            for file in (path, log):
                shutil.copy(file, self._copy.name)
            return Path(self._copy.name, path.name).as_uri()
        return path.as_uri() + "?mode=ro&immutable=1"

    def _open(self) -> None:
        if not self.read_only:
            mode = "wal" if is_local(self.path) else "delete"
            if self._db.execute("pragma journal_mode").fetchone()[0] != mode:
                self._db.execute(f"pragma journal_mode={mode}")
            self._db.execute("pragma synchronous=full")
            if identity(self._db)[:2] != (APPLICATION_ID, SCHEMA_VERSION):
                self._transact(bring_up_to_date)
        application, version, n_tables = identity(self._db)
        if application == 0 and n_tables == 0:
            raise LedgerEmptyError(f"{self.path}: holds no reply ledger yet; run again")
        known = (1, SCHEMA_VERSION) if self.read_only else (SCHEMA_VERSION,)
        if application != APPLICATION_ID or version not in known:
            self._db.close()
            raise LedgerError(
                f"{self.path}: expected a reply ledger of version {SCHEMA_VERSION}, found "
                + (
                    f"version {version}"
                    if application == APPLICATION_ID
                    else "another SQLite database"
                )
                + "; name another file"
            )
        self.is_current = version >= 2

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        self._db.execute("begin immediate")
        try:
            result = work(self._db)
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise
        return result

    def _write(self, work: Callable[[sqlite3.Connection], T], *, is_paid: bool = False) -> T:
        """Do some work in one transaction.

        Args:
            work: The work; may be done anew after a wait.
            is_paid: Whether money is lost if it cannot be written. Then the room held for it is
                given up, and it waits long.
        """
        patience_s = PAID_PATIENCE_S if is_paid else self._busy_timeout_s
        deadline = time.monotonic() + patience_s
        is_told = False
        with self._lock:
            while True:
                try:
                    return patiently(
                        lambda: self._transact(work), path=self.path, patience_s=patience_s
                    )
                except sqlite3.DatabaseError as error:
                    if not is_full(error):
                        raise LedgerError(f"{self.path}: cannot be written ({error})") from error
                    if not is_paid or time.monotonic() > deadline:
                        raise LedgerFullError(
                            f"{self.path}: cannot be written ({error}); make room on its disk, or "
                            "mend it, and the same command goes on from there"
                        ) from error
                    if self._room is not None and self._room.is_held:
                        self._room.give_up()
                        continue
                    if not is_told:
                        is_told = True
                        say(
                            f"{self.path}: {error}; an answer waits in memory up to "
                            f"{patience_s:.0f} s until there is room"
                        )
                time.sleep(0.5)

    def rows(self, statement: str, values: Iterable[Any] = ()) -> list[tuple]:
        """What a statement that reads gives."""
        with self._lock:
            try:
                return patiently(
                    lambda: self._db.execute(statement, list(values)).fetchall(),
                    path=self.path,
                    patience_s=self._busy_timeout_s,
                )
            except sqlite3.DatabaseError as error:
                raise LedgerError(
                    f"{self.path}: cannot be read ({error}); put a backup in its place (see "
                    "`realitycheck ledger check`)"
                ) from error

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the last process to do so folds the log into it."""
        with self._lock:
            self._db.close()
            if self._room is not None:
                self._room.give_up()
            if self._copy is not None:
                self._copy.cleanup()

    # -------------------------------------------------------------------------------------- writing

    def hold_room(self, n_replies: int) -> None:
        """Hold room on the disk before every claim, for so many answers on their way at once."""
        self._room = Room(self.path, n_replies=n_replies)

    def beat(self) -> None:
        """Let other machines see that this process is at work; every `owners.BEAT_S` seconds."""
        self._write(owners.beat)

    def moment(self) -> int:
        """Now, for `claim`: how many attempts have ever ended."""
        return self.rows("select coalesce(max(ended), 0) from attempt")[0][0]

    def claim(
        self,
        key: str,
        doc: str,
        *,
        run: str,
        run_began: int,
        budget: str = "",
        model: str = "",
        stake: money.Stake | None = None,
        max_cost_usd: float | None = None,
        max_unknown: int = 1,
        client: str = "",
        prices: str | None = None,
    ) -> Claim:
        """Ask for the right to send a question.

        Args:
            key: The question's key.
            doc: Its stored form.
            run: Name of this run.
            run_began: `moment` of its beginning; failures since then are not tried again.
            budget: What the money comes from; the limit counts all attempts ever paid from it.
            model: The model asked, by whose answers it is known what one may cost.
            stake: What the attempt may cost; None where the model has no price.
            max_cost_usd: Limit of the budget; None: none.
            max_unknown: How many attempts of unknown outcome since the run began may be repeated.
            client: Library that will send it.
            prices: Date of the prices.

        Raises:
            LedgerFullError: If the disk has no room for the answer.
        """
        if self._room is not None:
            self._room.hold()

        def is_gone(owner: str | None) -> bool:
            return self._watch.is_gone(self._db, owner)

        def work(db: sqlite3.Connection) -> Claim:
            row = db.execute("select state, owner from request where key=?", [key]).fetchone()
            if row is not None:
                state, owner = row
                if state == "answered":
                    return Claim("answered")
                if state == "sent":
                    if not is_gone(owner):
                        return Claim("elsewhere", owner=owners.words_for(owner))
                    _take_over(db, key)
                if state == "failed" and _n_ended(db, key, run_began):
                    return Claim("failed")
                if _n_ended(db, key, run_began, outcome="unknown") > max_unknown:
                    db.execute("update request set state='failed', owner=null where key=?", [key])
                    return Claim("failed")
            pot = money.read_pot(db, budget, model=model, is_gone=is_gone)
            stake_now = stake or money.Stake(0.0, 0.0)
            kind = "granted" if max_cost_usd is None else pot.decide(stake_now, max_cost_usd)
            if kind != "granted":
                if row is not None and row[0] == "sent":
                    db.execute("update request set state='open', owner=null where key=?", [key])
                return Claim(kind, spent_usd=pot.total_usd)
            reserve, ceiling = pot.hold(stake_now)
            owner = owners.this_process()
            db.execute(
                "insert into request(key, doc, state, owner) values(?, ?, 'sent', ?) "
                "on conflict(key) do update set state='sent', owner=excluded.owner",
                [key, doc, owner],
            )
            attempt = db.execute(
                "insert into attempt(key, run, budget, model, sent, client, cost_usd, limit_usd, "
                "ceiling_usd, prices, owner) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    *(key, run, budget, model, time.time(), client),
                    *((None, None, None) if stake is None else (reserve, stake.limit_usd, ceiling)),
                    *(prices, owner),
                ],
            ).lastrowid
            return Claim("granted", attempt, pot.total_usd)

        return self._write(work)

    def finish(
        self,
        attempt_id: int,
        *,
        outcome: str,
        state: str,
        latency_s: float | None = None,
        http: int | None = None,
        detail: str | None = None,
        waited_s: float | None = None,
        headers: Mapping[str, str] | None = None,
        body: str | None = None,
        cost_usd: float | None = None,
        client: str | None = None,
    ) -> None:
        """Store how an attempt ended, in one transaction.

        Args:
            attempt_id: From `claim`.
            outcome: One of `OUTCOMES`.
            state: What becomes of the question: `answered`, `open` (may be sent again) or `failed`.
            latency_s: Time from sending to the end, in seconds.
            http: Status of the reply.
            detail: What went wrong, in short.
            waited_s: Pause that the reply asked for, in seconds.
            headers: Of the reply.
            body: Raw body of the reply.
            cost_usd: What the attempt cost; None: as reserved. That of an answer is not known
                before it is read: see `settle`.
            client: Library that sent it; None: as claimed.
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome: expected one of {', '.join(OUTCOMES)}, got {outcome!r}")

        def work(db: sqlite3.Connection) -> int:
            row = db.execute("select key from attempt where id=?", [attempt_id]).fetchone()
            digest = row and digest_of(row[0], outcome, http, latency_s, detail, body)
            changed = db.execute(
                "update attempt set done=?, ended=(select coalesce(max(ended), 0)+1 from attempt), "
                "latency_s=?, http=?, outcome=?, detail=?, waited_s=?, headers=?, body=?, "
                "digest=?, cost_usd=coalesce(?, cost_usd), client=coalesce(?, client), "
                "owner=case when ?='answered' then owner end where id=? and body is null",
                [
                    *(time.time(), latency_s, http, outcome, detail, waited_s),
                    *(json.dumps(dict(headers or {}), sort_keys=True), body, digest),
                    *(cost_usd, client, outcome, attempt_id),
                ],
            ).rowcount
            # Another process may have taken the question over and may have its answer.
            db.execute(
                "update request set state=?, owner=null where key="
                "(select key from attempt where id=?) and "
                "((state='sent' and owner=?) or ?='answered')",
                [state, attempt_id, owners.this_process(), state],
            )
            return changed

        if self._write(work, is_paid=body is not None) != 1:
            raise LedgerError(f"{self.path}: attempt {attempt_id} is not in flight")

    def settle(self, attempt_id: int, cost_usd: float | None) -> None:
        """Replace what an answered attempt had set aside by what it cost; None: not to be known."""
        self._write(lambda db: money.settle(db, attempt_id, cost_usd), is_paid=True)

    def give_up(self, key: str) -> None:
        """Mark a question that nobody is sending as failed."""
        self._write(
            lambda db: db.execute(
                "update request set state='failed' where key=? and state='open'", [key]
            )
        )

    def set_aside(self, attempt_ids: Iterable[int]) -> None:
        """Take stored replies for lost, so that their questions are asked again."""

        def work(db: sqlite3.Connection) -> None:
            for number in attempt_ids:
                db.execute(
                    "update request set state='open' where state!='sent' and "
                    "key=(select key from attempt where id=?)",
                    [number],
                )
                db.execute("update attempt set outcome='damaged', digest=null where id=?", [number])

        self._write(work)

    def reopen(self, keys: Iterable[str]) -> None:
        """Let questions be asked again whose stored reply is no answer; the reply is kept."""

        def work(db: sqlite3.Connection) -> None:
            for key in keys:
                for number, *facts in db.execute(
                    "select id, http, latency_s, body from attempt "
                    "where key=? and outcome='answered'",
                    [key],
                ).fetchall():
                    http, latency_s, body = facts
                    detail = "the reply is no answer"
                    db.execute(
                        "update attempt set outcome='refused', detail=?, digest=? where id=?",
                        [detail, digest_of(key, "refused", http, latency_s, detail, body), number],
                    )
                db.execute(
                    "update request set state='open' where key=? and state='answered'", [key]
                )

        self._write(work)

    # -------------------------------------------------------------------------------------- reading

    def copy_to(self, path: str | Path) -> None:
        """Copy everything that has been stored, log included, into one file of SQLite's."""
        to = sqlite3.connect(path, isolation_level=None)
        try:
            with self._lock:
                patiently(
                    lambda: self._db.backup(to), path=self.path, patience_s=self._busy_timeout_s
                )
            # A file that can be read where nothing can be written beside it.
            to.execute("pragma journal_mode=delete")
        finally:
            to.close()

    def replies(self, keys: Iterable[str]) -> dict[str, StoredReply]:
        """What is known of questions; those that were never claimed are left out.

        Raises:
            LedgerError: If a stored reply is not what was stored.
        """
        wanted = list(dict.fromkeys(keys))
        found: dict[str, StoredReply] = {}
        damaged = []
        digest = "a.digest" if self.is_current else "null"
        for start in range(0, len(wanted), 500):
            chunk = wanted[start : start + 500]
            marks = ",".join("?" * len(chunk))
            rows = self.rows(
                "select r.key, r.state, a.outcome, a.detail, a.body, a.latency_s, a.client, "
                f"a.sent, a.http, {digest} from request r left join attempt a on a.id = "
                "(select b.id from attempt b where b.key = r.key and b.outcome is not null "
                "order by b.outcome != 'answered', b.id * (b.outcome = 'answered'), b.id desc "
                f"limit 1) where r.key in ({marks})",
                chunk,
            )
            for key, state, outcome, detail, body, latency_s, client, sent, http, stored in rows:
                has_answer = outcome == "answered" and isinstance(body, str)
                digest_now = digest_of(key, outcome, http, latency_s, detail, body)
                if (
                    state not in STATES
                    or (state == "answered" and not has_answer)
                    or stored not in (None, digest_now)
                ):
                    damaged.append(key)
                body = body if outcome == "answered" else None
                day = None if sent is None else datetime.fromtimestamp(sent, UTC).date()
                found[key] = StoredReply(state, outcome, detail, body, latency_s, client, day)
        if damaged:
            raise LedgerError(
                f"{self.path}: {len(damaged)} stored replies are damaged (first: {damaged[0]}); "
                "put a backup in its place, or have these questions asked and paid for again: "
                f"realitycheck ledger check --set-aside {self.path}"
            )
        return found

    def spent_usd(self, budget: str = "", *, in_flight: bool = True) -> float:
        """Money spent from a pot, with or without what is set aside for questions in flight."""
        total = self.rows(money.TOTAL, [budget])[0][0]
        if in_flight or not self.is_current:
            return float(total)
        held = self.rows(f"{money.TOTAL} and owner is not null", [budget])[0][0]
        return float(total - held)

    def n_attempts(self, run: str | None = None) -> dict[str, int]:
        """Number of attempts by outcome, of one run or of all; `in_flight` for those without."""
        return dict(
            self.rows(
                "select coalesce(outcome, 'in_flight'), count(*) from attempt "
                "where run=coalesce(?, run) group by 1 order by 1",
                [run],
            )
        )


def _take_over(db: sqlite3.Connection, key: str) -> None:
    """Close the attempt of an owner that is gone; its cost stays reserved."""
    db.execute(
        "update attempt set outcome='unknown', done=?, owner=null, "
        "ended=(select coalesce(max(ended), 0)+1 from attempt), "
        "detail='the process that sent it ended' where key=? and outcome is null",
        [time.time(), key],
    )


def _n_ended(db: sqlite3.Connection, key: str, since: int, *, outcome: str | None = None) -> int:
    return db.execute(
        "select count(*) from attempt where key=? and ended>? and outcome=coalesce(?, outcome)",
        [key, since, outcome],
    ).fetchone()[0]
