"""The reply ledger: every question is claimed before it is sent, every answer stored before read.

It is an SQLite file and no output of a job: workflow engines delete the outputs of failed jobs, and
an answer is paid for once. Several processes may use one ledger at once. Order of writes of one
question:

1. claim: the question and an attempt that reserves its highest cost, in one transaction, which also
   checks the limit on money; whoever gets no claim does not send;
2. send;
3. reply: raw body and outcome, in one transaction;
4. only then is the body read, and the reserve replaced by the cost.

A process that is killed between 1 and 3 leaves a claim whose owner is dead. The next run sees it
and, if it may, asks once more: the service offers no way to learn whether the first was answered.

The file holds texts, digests of images and replies; no image and no key.
"""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

APPLICATION_ID = 0x52434C47
"""Marks a file as a reply ledger."""

SCHEMA_VERSION = 1

OUTCOMES = (
    "answered",  # a reply with status 200
    "throttled",  # 429: nothing was done
    "unavailable",  # 5xx: nothing was done
    "unreachable",  # no connection: nothing was sent
    "refused",  # 4xx, or a reply that is no answer: the request was turned away
    "unknown",  # sent, but no whole reply came; perhaps paid for
)
"""How an attempt can end."""

_SCHEMA = """
create table request(
    key text primary key,
    doc text not null,      -- everything that determines the answer, JSON
    state text not null,    -- sent | open | answered | failed
    owner text,             -- who has claimed it: host, process, its start time
    lease real              -- until when, unix time
) without rowid;
create table attempt(
    id integer primary key,
    key text not null references request(key),
    run text not null,      -- the run that sent it
    budget text not null,   -- the pot that it was paid from
    sent real not null,     -- unix time
    done real,              -- unix time; null while in flight
    latency_s real,
    http integer,           -- status of the reply
    outcome text,           -- see OUTCOMES; null while in flight
    detail text,            -- what went wrong, in short
    waited_s real,          -- pause that the reply asked for
    headers text,           -- of the reply, JSON
    body text,              -- of the reply, as received
    client text,            -- library that sent it, with version
    cost_usd real,          -- null: no price; highest cost while in flight
    prices text             -- date of the prices
);
create index attempt_of_request on attempt(key);
create index attempt_of_budget on attempt(budget, cost_usd);
"""

# File systems on which several processes of one machine may share memory with a file, as SQLite's
# write-ahead log needs. On others, above all network file systems, the rollback journal is used.
_LOCAL_FILE_SYSTEMS = frozenset(
    [
        "apfs",
        "bcachefs",
        "btrfs",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "hfs",
        "jfs",
        "ntfs",
        "overlay",
        "ramfs",
        "reiserfs",
        "tmpfs",
        "xfs",
        "zfs",
    ]
)


class LedgerError(RuntimeError):
    """A ledger that cannot be used."""


@dataclass(frozen=True)
class Claim:
    """Answer to the wish to send a question.

    Attributes:
        kind: `granted`: send it; `answered`: the answer is there; `elsewhere`: another process is
            sending it; `failed`: given up on since this run began; `over_budget`: the limit on
            money would be passed.
        attempt_id: Of the granted attempt.
        spent_usd: Money of the budget that is spent or reserved.
    """

    kind: str
    attempt_id: int | None = None
    spent_usd: float = 0.0


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
        busy_timeout_s: How long to wait for another process that writes, in seconds.

    Raises:
        LedgerError: If the file is no ledger of this version, or is missing when only read.
    """

    def __init__(self, path: str | Path, *, read_only: bool = False, busy_timeout_s: float = 60.0):
        self.path = Path(path)
        self.read_only = read_only
        self._busy_timeout_s = busy_timeout_s
        self._lock = threading.Lock()
        if read_only and not self.path.is_file():
            raise LedgerError(
                f"{self.path}: there is no reply ledger; give the file that holds the answers"
            )
        if not read_only:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._db = sqlite3.connect(
                self._uri(),
                uri=True,
                timeout=busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
            )
            self._open()
        except sqlite3.DatabaseError as error:
            raise LedgerError(
                f"{self.path}: cannot be opened as a reply ledger ({error}); name another file, or "
                "check that the folder may be written"
            ) from error

    def _uri(self) -> str:
        uri = self.path.resolve().as_uri()
        if not self.read_only:
            return uri
        # Where nobody can write, SQLite cannot even keep its notes on who is reading.
        is_writable = os.access(self.path.parent, os.W_OK)
        return uri + ("?mode=ro" if is_writable else "?mode=ro&immutable=1")

    def _open(self) -> None:
        if not self.read_only:
            self._set_journal("wal" if is_local(self.path) else "delete")
            self._db.execute("pragma synchronous=full")
            with self._transaction() as db:
                application, n_tables = self._identity()
                if application == 0 and n_tables == 0:
                    for statement in _SCHEMA.split(";\n"):
                        db.execute(statement)
                    db.execute(f"pragma application_id={APPLICATION_ID}")
                    db.execute(f"pragma user_version={SCHEMA_VERSION}")
        application, _ = self._identity()
        version = self._db.execute("pragma user_version").fetchone()[0]
        if application != APPLICATION_ID or version != SCHEMA_VERSION:
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

    def _set_journal(self, mode: str) -> None:
        # Changing the mode needs the file alone, and SQLite does not wait for that by itself.
        deadline = time.monotonic() + self._busy_timeout_s
        while self._db.execute("pragma journal_mode").fetchone()[0] != mode:
            try:
                self._db.execute(f"pragma journal_mode={mode}")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def _identity(self) -> tuple[int, int]:
        application = self._db.execute("pragma application_id").fetchone()[0]
        n_tables = self._db.execute("select count(*) from sqlite_master").fetchone()[0]
        return application, n_tables

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        self._db.execute("begin immediate")
        try:
            yield self._db
        except BaseException:
            self._db.execute("rollback")
            raise
        self._db.execute("commit")

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; the last process to do so folds the log into it."""
        with self._lock:
            self._db.close()

    # -------------------------------------------------------------------------------------- writing

    def claim(
        self,
        key: str,
        doc: str,
        *,
        run: str,
        run_began: float,
        lease_s: float,
        budget: str = "",
        reserve_usd: float | None = None,
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
            run_began: When it began, unix time; failures since then are not tried again.
            lease_s: How long the attempt can take at most, in seconds.
            budget: Pot that the money comes from; the limit counts all attempts ever paid from it.
            reserve_usd: Highest cost of the attempt; None where the model has no price.
            max_cost_usd: Limit of the pot; None: none.
            max_unknown: How many attempts of unknown outcome since the run began may be repeated.
            client: Library that will send it.
            prices: Date of the prices.

        Returns:
            What may be done.
        """
        now = time.time()
        with self._lock, self._transaction() as db:
            row = db.execute(
                "select state, owner, lease from request where key=?", [key]
            ).fetchone()
            if row is not None:
                state, owner, lease = row
                if state == "answered":
                    return Claim("answered")
                if state == "sent":
                    if not _is_abandoned(owner, lease, now):
                        return Claim("elsewhere")
                    self._take_over(db, key, now)
                if state == "failed" and self._n_ended(db, key, run_began):
                    return Claim("failed")
                if self._n_ended(db, key, run_began, outcome="unknown") > max_unknown:
                    db.execute("update request set state='failed', owner=null where key=?", [key])
                    return Claim("failed")
            spent = self._spent(db, budget)
            if max_cost_usd is not None and spent + (reserve_usd or 0.0) > max_cost_usd:
                if row is not None and row[0] == "sent":
                    db.execute("update request set state='open', owner=null where key=?", [key])
                return Claim("over_budget", spent_usd=spent)
            db.execute(
                "insert into request(key, doc, state, owner, lease) values(?, ?, 'sent', ?, ?) "
                "on conflict(key) do update set state='sent', owner=excluded.owner, "
                "lease=excluded.lease",
                [key, doc, owner_of_this_process(), now + lease_s],
            )
            attempt = db.execute(
                "insert into attempt(key, run, budget, sent, client, cost_usd, prices) "
                "values(?, ?, ?, ?, ?, ?, ?)",
                [key, run, budget, now, client, reserve_usd, prices],
            ).lastrowid
            return Claim("granted", attempt, spent)

    @staticmethod
    def _take_over(db: sqlite3.Connection, key: str, now: float) -> None:
        """Close the attempt of an owner that is gone; its cost stays reserved."""
        db.execute(
            "update attempt set outcome='unknown', done=?, detail='the process that sent it ended' "
            "where key=? and outcome is null",
            [now, key],
        )

    @staticmethod
    def _n_ended(
        db: sqlite3.Connection, key: str, since: float, *, outcome: str | None = None
    ) -> int:
        return db.execute(
            "select count(*) from attempt where key=? and done>=? and outcome=coalesce(?, outcome)",
            [key, since, outcome],
        ).fetchone()[0]

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
            cost_usd: What the attempt cost; None: as reserved.
            client: Library that sent it; None: as claimed.
        """
        if outcome not in OUTCOMES:
            raise ValueError(f"outcome: expected one of {', '.join(OUTCOMES)}, got {outcome!r}")
        with self._lock, self._transaction() as db:
            changed = db.execute(
                "update attempt set done=?, latency_s=?, http=?, outcome=?, detail=?, waited_s=?, "
                "headers=?, body=?, cost_usd=coalesce(?, cost_usd), client=coalesce(?, client) "
                "where id=? and body is null",
                [
                    time.time(),
                    latency_s,
                    http,
                    outcome,
                    detail,
                    waited_s,
                    json.dumps(dict(headers or {}), sort_keys=True),
                    body,
                    cost_usd,
                    client,
                    attempt_id,
                ],
            ).rowcount
            if changed != 1:
                raise LedgerError(f"{self.path}: attempt {attempt_id} is not in flight")
            # Another process may have taken the question over and may have its answer.
            db.execute(
                "update request set state=?, owner=null, lease=null where key="
                "(select key from attempt where id=?) and "
                "((state='sent' and owner=?) or ?='answered')",
                [state, attempt_id, owner_of_this_process(), state],
            )

    def set_cost(self, attempt_id: int, cost_usd: float) -> None:
        """Replace what an answered attempt had reserved by what it cost.

        Not worth a wait for the disk: what a power cut takes away is the difference to the reserve.
        """
        with self._lock:
            self._db.execute("pragma synchronous=normal")
            with self._transaction() as db:
                db.execute("update attempt set cost_usd=? where id=?", [cost_usd, attempt_id])
            self._db.execute("pragma synchronous=full")

    def give_up(self, key: str) -> None:
        """Mark a question that nobody is sending as failed."""
        with self._lock, self._transaction() as db:
            db.execute("update request set state='failed' where key=? and state='open'", [key])

    def reopen(self, keys: Iterable[str]) -> None:
        """Let questions be asked again whose stored reply is no answer; the reply is kept."""
        with self._lock, self._transaction() as db:
            for key in keys:
                db.execute(
                    "update attempt set outcome='refused', detail='the reply is no answer' "
                    "where key=? and outcome='answered'",
                    [key],
                )
                db.execute(
                    "update request set state='open' where key=? and state='answered'", [key]
                )

    # -------------------------------------------------------------------------------------- reading

    def replies(self, keys: Iterable[str]) -> dict[str, StoredReply]:
        """What is known of questions; those that were never claimed are left out."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, StoredReply] = {}
        with self._lock:
            for start in range(0, len(wanted), 500):
                chunk = wanted[start : start + 500]
                marks = ",".join("?" * len(chunk))
                rows = self._db.execute(
                    "select r.key, r.state, a.outcome, a.detail, a.body, a.latency_s, a.client, "
                    "a.sent "
                    "from request r left join attempt a on a.id = (select b.id from attempt b "
                    "where b.key = r.key and b.outcome is not null "
                    "order by b.outcome != 'answered', b.id * (b.outcome = 'answered'), b.id desc "
                    f"limit 1) where r.key in ({marks})",
                    chunk,
                )
                for key, state, outcome, detail, body, latency_s, client, sent in rows:
                    body = body if outcome == "answered" else None
                    day = None if sent is None else datetime.fromtimestamp(sent, UTC).date()
                    found[key] = StoredReply(state, outcome, detail, body, latency_s, client, day)
        return found

    def spent_usd(self, budget: str = "") -> float:
        """Money spent from a pot, with what is reserved for questions in flight."""
        with self._lock:
            return self._spent(self._db, budget)

    @staticmethod
    def _spent(db: sqlite3.Connection, budget: str) -> float:
        return float(
            db.execute(
                "select coalesce(sum(cost_usd), 0) from attempt where budget=?", [budget]
            ).fetchone()[0]
        )

    def n_attempts(self, run: str | None = None) -> dict[str, int]:
        """Number of attempts by outcome, of one run or of all; `in_flight` for those without."""
        with self._lock:
            rows = self._db.execute(
                "select coalesce(outcome, 'in_flight'), count(*) from attempt "
                "where run=coalesce(?, run) group by 1 order by 1",
                [run],
            ).fetchall()
        return dict(rows)

    def publish(self, path: str | Path) -> None:
        """Write a copy of the ledger as one file that anyone can replay.

        Raises:
            LedgerError: If the file exists.
        """
        if Path(path).exists():
            raise LedgerError(f"{path}: exists already; name another file")
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with self._lock:
            self._db.execute("vacuum into ?", [str(path)])


# ----------------------------------------------------------------------------------------- who owns


def _host() -> str:
    """Name of this machine as far as process numbers reach: containers have their own."""
    try:
        space = os.readlink("/proc/self/ns/pid")
    except OSError:
        space = ""
    return f"{socket.gethostname()} {space}".strip()


def owner_of_this_process() -> str:
    """This process: machine, number, start time."""
    return f"{_host()}|{os.getpid()}|{_start_time(os.getpid())}"


def _start_time(pid: int) -> float | None:
    """When a living process began, unix time; None if there is none, 0 if it cannot be seen."""
    import psutil

    try:
        process = psutil.Process(pid)
        # A killed process keeps its number until its parent has asked how it ended.
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return None
        return round(process.create_time(), 1)
    except psutil.NoSuchProcess:
        return None
    except psutil.AccessDenied:  # somebody else's process: alive, but not to be looked at
        return 0.0


def _is_abandoned(owner: str | None, lease: float | None, now: float) -> bool:
    """Whether nobody is going to finish a claim.

    On the same machine the owner is looked at; for another one only the lease counts.
    """
    host, pid, started = (owner or "||").rsplit("|", 2)
    if host != _host():
        return lease is None or now > lease
    found = _start_time(int(pid))
    # A few seconds: the start time is computed from the clock, which may be set meanwhile.
    return found is None or (found != 0.0 and abs(found - float(started)) > 5.0)


def is_local(path: str | Path) -> bool:
    """Whether a file lies on a disk of this machine, as far as its mount table says.

    Where nothing is known, the answer is no, which costs a few milliseconds a write.
    """
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return file_system_of(path, mounts=mounts) in _LOCAL_FILE_SYSTEMS


def file_system_of(path: str | Path, *, mounts: str) -> str:
    """Kind of the file system a path lies on.

    Args:
        path: A file or folder; need not exist.
        mounts: A mount table in the form of `/proc/self/mounts`.
    """
    place = Path(path).resolve()
    best, kind = -1, ""
    for line in mounts.splitlines():
        fields = line.split(" ")
        if len(fields) < 3:
            continue
        folder = Path(fields[1].replace("\\040", " "))
        # Of several mounts on one folder the last is the one that is seen.
        if place.is_relative_to(folder) and len(folder.parts) >= best:
            best, kind = len(folder.parts), fields[2]
    return kind
