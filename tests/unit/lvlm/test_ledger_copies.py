"""What a ledger's owner does with it: back up, check, export; and what a damaged one says."""

import json
import os
import sqlite3
import threading

import pyarrow.parquet as pq
import pytest

from realitycheck.__main__ import main
from realitycheck.lvlm import ledger_schema
from realitycheck.lvlm.ledger import Ledger
from realitycheck.lvlm.ledger_copies import backup, check, export
from realitycheck.lvlm.ledger_locks import LedgerError

DOCS = [json.dumps({"question": n}) for n in range(4)]


def key_of(doc):
    import hashlib

    return hashlib.sha256(doc.encode()).hexdigest()


KEYS = [key_of(doc) for doc in DOCS]


def answer(ledger, number, body):
    claim = ledger.claim(KEYS[number], DOCS[number], run="r", run_began=0)
    ledger.finish(claim.attempt_id, outcome="answered", state="answered", body=body, latency_s=0.3)
    ledger.settle(claim.attempt_id, 0.01)


@pytest.fixture
def path(tmp_path):
    """A ledger with three answers and one question that was turned away."""
    path = tmp_path / "ledger.sqlite"
    with Ledger(path) as ledger:
        for number in range(3):
            answer(ledger, number, f'{{"score": {number}}}')
        claim = ledger.claim(KEYS[3], DOCS[3], run="r", run_began=0)
        ledger.finish(claim.attempt_id, outcome="refused", state="open", body="no", detail="400")
    return path


def edit(path, statement, *values):
    with sqlite3.connect(path) as db:
        db.execute(statement, values)
    db.close()


def as_version_1(path):
    """What the version before wrote: no digests, and a lease by the clock."""
    with sqlite3.connect(path) as db:
        for index in ("attempt_ended", "attempt_held"):
            db.execute(f"drop index {index}")
        for column in ("ended", "owner", "model", "limit_usd", "ceiling_usd", "digest"):
            db.execute(f"alter table attempt drop column {column}")
        db.execute("alter table request add column lease real")
        db.execute("drop table owner")
        db.execute("drop table usage")
        db.execute("pragma user_version=1")
    db.close()


def bodies(path, **settings):
    with Ledger(path, read_only=True, **settings) as ledger:
        return [reply.body for reply in ledger.replies(KEYS).values()]


def flip(path, text, *, bit=0):
    """Turn one bit of the file, in the last letter of a text that it holds."""
    data = bytearray(path.read_bytes())
    place = data.index(text.encode()) + len(text) - 1
    data[place] ^= 1 << bit
    path.write_bytes(data)


def test_backup_holds_what_is_answered_while_runs_write(path, tmp_path):
    """A copy of the file alone would lack what is still in SQLite's log."""
    with Ledger(path) as ledger:
        answer_of_now = '{"score": 99}'
        ledger.set_aside([])
        claim = ledger.claim(KEYS[3], DOCS[3], run="r", run_began=ledger.moment())
        ledger.finish(claim.attempt_id, outcome="answered", state="answered", body=answer_of_now)
        assert answer_of_now.encode() not in path.read_bytes()
        copy = tmp_path / "copies" / "copy.sqlite"
        found = backup(path, copy)
        assert (found.n_answered, found.faults) == (4, [])
    assert bodies(copy)[sorted(KEYS).index(KEYS[3])] == answer_of_now or answer_of_now in bodies(
        copy
    )
    assert [p.name for p in copy.parent.iterdir()] == ["copy.sqlite"]


def test_backup_is_one_file_for_a_medium_that_cannot_be_written(path, tmp_path, monkeypatch):
    copy = tmp_path / "copies" / "copy.sqlite"
    backup(path, copy)
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert len([body for body in bodies(copy) if body]) == 3
    assert [p.name for p in copy.parent.iterdir()] == ["copy.sqlite"]


def test_backup_amid_writing_is_sound_and_whole(tmp_path):
    """It is taken while another thread answers; what was answered before is in it."""
    path, stop = tmp_path / "ledger.sqlite", threading.Event()
    n_answered = 0

    def write():
        nonlocal n_answered
        with Ledger(path) as ledger:
            while not stop.is_set():
                doc = json.dumps({"q": n_answered})
                claim = ledger.claim(key_of(doc), doc, run="r", run_began=0)
                ledger.finish(
                    claim.attempt_id, outcome="answered", state="answered", body="{}" * 900
                )
                n_answered += 1

    thread = threading.Thread(target=write)
    thread.start()
    try:
        while n_answered < 3:
            stop.wait(0.01)
        for number in range(4):
            before = n_answered
            found = backup(path, tmp_path / f"copy{number}.sqlite")
            assert found.faults == [] and found.n_answered >= before
    finally:
        stop.set()
        thread.join()


def test_backup_replaces_an_older_one_but_none_that_holds_more(path, tmp_path):
    """A new ledger in place of a lost one must not wipe out what was saved of the lost one."""
    copy = tmp_path / "copy.sqlite"
    for _ in range(2):
        backup(path, copy)
    path.unlink()
    with Ledger(path) as ledger:
        answer(ledger, 0, "{}")
    with pytest.raises(LedgerError, match="holds 2 answers that the ledger does not"):
        backup(path, copy)
    assert check(copy).n_answered == 3
    with pytest.raises(LedgerError, match="is the ledger itself"):
        backup(path, path)
    (tmp_path / "photo.png").write_bytes(b"no database" * 100)
    with pytest.raises(LedgerError, match="cannot be opened as a reply ledger"):
        backup(path, tmp_path / "photo.png")


@pytest.mark.parametrize("text", ['{"score": 1}', "answered"])
def test_flipped_bit_is_noticed_when_read_and_by_the_check(path, tmp_path, text):
    """It would change a score unnoticed."""
    edit(path, "pragma journal_mode=delete")
    edit(path, "delete from attempt where id != 2") if text == "answered" else None
    if text == "answered":
        edit(path, "update attempt set outcome='answerfd' where id=2")
    else:
        flip(path, '{"score": 1', bit=1)
    with pytest.raises(LedgerError, match="stored replies are damaged .first: .* put a backup"):
        bodies(path)
    assert any("is not what was stored" in fault for fault in check(path).faults)
    with pytest.raises(LedgerError, match="is not what was stored.*no backup was written"):
        backup(path, tmp_path / "copy.sqlite")
    assert not (tmp_path / "copy.sqlite").exists()


def test_every_flipped_bit_of_a_reply_is_noticed(path):
    """Not only where the text is no text any more."""
    whole = path.read_bytes()
    for bit in range(8):
        flip(path, '{"score": 2', bit=bit)
        assert check(path).faults, bit
        path.write_bytes(whole)
    assert not check(path).faults


def test_damaged_replies_can_be_set_aside_and_are_asked_again(path, capsys):
    flip(path, '{"score": 1', bit=1)
    assert main(["ledger", "check", str(path)]) == 1
    assert main(["ledger", "check", "--set-aside", str(path)]) == 0
    assert "1 damaged replies set aside" in capsys.readouterr().out
    with Ledger(path) as ledger:
        assert ledger.claim(KEYS[1], DOCS[1], run="r", run_began=ledger.moment()).kind == "granted"
        assert ledger.claim(KEYS[0], DOCS[0], run="r", run_began=0).kind == "answered"


def test_damaged_pages_are_said_in_words(path, capsys):
    data = bytearray(path.read_bytes())
    data[4096:12288] = b"\xff" * 8192
    path.write_bytes(data)
    assert main(["ledger", "check", str(path)]) == 1
    out = capsys.readouterr()
    assert "malformed" in out.err or "SQLite:" in out.err


def test_ledger_of_the_version_before_keeps_keys_and_answers(path):
    """They get a digest when it is first opened for writing, and can be read before."""
    as_version_1(path)
    before = bodies(path)
    assert check(path).n_without_digest == 4
    with Ledger(path) as ledger:
        assert ledger.claim(KEYS[0], DOCS[0], run="r", run_began=0).kind == "answered"
        assert ledger.claim(KEYS[3], DOCS[3], run="r", run_began=ledger.moment()).kind == "granted"
    assert bodies(path) == before and len([body for body in before if body]) == 3
    assert check(path).n_without_digest == 0
    flip(path, '{"score": 1', bit=1)
    with pytest.raises(LedgerError, match="1 stored replies are damaged"):
        bodies(path)


def test_new_version_and_old_have_the_same_columns(path, tmp_path):
    def columns(file):
        with sqlite3.connect(file) as db:
            found = {
                table: {row[1] for row in db.execute(f"pragma table_info({table})")}
                for table in ("request", "attempt", "owner", "usage")
            }
        db.close()
        return found

    new = columns(path)
    as_version_1(path)
    Ledger(path).close()
    old = columns(path)
    old["request"].discard("lease")
    assert new == old
    assert ledger_schema.SCHEMA_VERSION == 2


@pytest.mark.parametrize("is_old", [False, True])
def test_export_has_a_row_for_each_attempt(path, tmp_path, is_old):
    if is_old:
        as_version_1(path)
    assert export(path, tmp_path / "all.jsonl") == 4
    assert export(path, tmp_path / "all.parquet") == 4
    lines = (tmp_path / "all.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert [row["key"] for row in rows] == KEYS
    assert [row["body"] for row in rows] == [*(f'{{"score": {n}}}' for n in range(3)), "no"]
    assert rows[0]["doc"] == DOCS[0] and rows[0]["cost_usd"] == 0.01
    assert pq.read_table(tmp_path / "all.parquet").to_pylist() == rows
    with pytest.raises(LedgerError, match=r"ends in .jsonl or .parquet"):
        export(path, tmp_path / "all.csv")


def test_commands_say_what_they_did(path, tmp_path, capsys):
    assert main(["ledger", "backup", str(path), str(tmp_path / "b.sqlite")]) == 0
    assert main(["ledger", "check", str(path)]) == 0
    assert main(["ledger", "export", str(path), str(tmp_path / "e.jsonl")]) == 0
    out = capsys.readouterr().out
    assert "b.sqlite: 4 questions, 3 answered; 4 attempts; no fault" in out
    assert "e.jsonl: 4 attempts" in out
    assert main(["ledger", "check", str(tmp_path / "none.sqlite")]) == 1
    assert "there is no reply ledger" in capsys.readouterr().err
