"""The tables of a reply ledger, their versions, and the digest that guards every reply."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from typing import Any

APPLICATION_ID = 0x52434C47
"""Marks a file as a reply ledger."""

SCHEMA_VERSION = 2
"""Version 1 had no digests, and judged by the clock whether an owner was still at work."""

_TABLES = """
create table request(
    key text primary key,
    doc text not null,      -- everything that determines the answer, JSON
    state text not null,    -- sent | open | answered | failed
    owner text              -- who has claimed it, see realitycheck.lvlm.owners
) without rowid;
create table attempt(
    id integer primary key,
    key text not null references request(key),
    run text not null,      -- the run that sent it
    budget text not null,   -- the pot that it was paid from
    sent real not null,     -- unix time; for people, nothing depends on it
    done real,              -- unix time; null while in flight
    latency_s real,
    http integer,           -- status of the reply
    outcome text,           -- see OUTCOMES; null while in flight
    detail text,            -- what went wrong, in short
    waited_s real,          -- pause that the reply asked for
    headers text,           -- of the reply, JSON
    body text,              -- of the reply, as received
    client text,            -- library that sent it, with version
    cost_usd real,          -- null: no price; what is set aside until the cost is known
    prices text             -- date of the prices
);
create index attempt_of_request on attempt(key);
create index attempt_of_budget on attempt(budget, cost_usd);
"""

_SINCE_VERSION_2 = """
alter table attempt add column ended integer;    -- counts attempts in the order in which they ended
alter table attempt add column owner text;       -- for whom cost_usd is set aside; null: settled
alter table attempt add column model text;       -- as requested
alter table attempt add column limit_usd real;   -- see realitycheck.lvlm.budget
alter table attempt add column ceiling_usd real;
alter table attempt add column digest text;      -- see digest_of
create index attempt_ended on attempt(ended);
create index attempt_held on attempt(budget) where owner is not null;
create table owner(name text primary key, beat integer not null) without rowid;
create table usage(
    budget text not null,
    model text not null,
    n_seen integer not null,        -- answers whose cost is known
    highest_ratio real not null,    -- of their costs to their own limits
    primary key(budget, model)
) without rowid;
"""


def identity(db: sqlite3.Connection) -> tuple[int, int, int]:
    """Application id, version and number of tables and indices of a database."""
    application = db.execute("pragma application_id").fetchone()[0]
    version = db.execute("pragma user_version").fetchone()[0]
    n_tables = db.execute("select count(*) from sqlite_master").fetchone()[0]
    return application, version, n_tables


def bring_up_to_date(db: sqlite3.Connection) -> None:
    """Make the tables of an empty database, or add to those of version 1; else do nothing.

    Questions, keys and answers stay as they are; answers without a digest get one.

    Args:
        db: In a transaction for writing.
    """
    application, version, n_tables = identity(db)
    if application == 0 and n_tables == 0:
        _execute(db, _TABLES)
        db.execute(f"pragma application_id={APPLICATION_ID}")
    elif (application, version) != (APPLICATION_ID, 1):
        return
    _execute(db, _SINCE_VERSION_2)
    last = 0
    while rows := db.execute(
        "select id, key, outcome, http, latency_s, detail, body from attempt "
        "where id>? and outcome is not null order by id limit 100",
        [last],
    ).fetchall():
        last = rows[-1][0]
        db.executemany(
            "update attempt set digest=? where id=?",
            [(digest_of(*facts), number) for number, *facts in rows],
        )
    db.execute(f"pragma user_version={SCHEMA_VERSION}")


def _execute(db: sqlite3.Connection, statements: str) -> None:
    bare = "\n".join(line.split("--")[0] for line in statements.splitlines())
    for statement in filter(str.strip, bare.split(";")):
        db.execute(statement)


def digest_of(key: str, outcome: Any, http: Any, latency_s: Any, detail: Any, body: Any) -> str:
    """Digest of an attempt that has ended, 64 hexadecimal digits."""
    return hashlib.sha256(
        json.dumps([key, outcome, http, latency_s, detail, body], default=repr).encode()
    ).hexdigest()


def text_of(raw: bytes) -> str:
    """Text of a column; bytes that are no UTF-8, as a damaged file may hold, become surrogates."""
    return raw.decode("utf-8", "surrogateescape")
