"""The reply ledger: who may send, what is stored, what a dead process leaves behind."""

import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading

import psutil
import pytest

from realitycheck.lvlm import ledger as module
from realitycheck.lvlm import owners
from realitycheck.lvlm.budget import Stake
from realitycheck.lvlm.file_systems import file_system_of
from realitycheck.lvlm.ledger import Ledger
from realitycheck.lvlm.ledger_locks import LedgerError


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with Ledger(path) as opened:
        yield opened


def claim(ledger, key="k", **settings):
    known = {"run": "r", "run_began": 0}
    return ledger.claim(key, "{}", **{**known, **settings})


def answer(ledger, attempt_id, body="{}"):
    ledger.finish(attempt_id, outcome="answered", state="answered", http=200, body=body)


def edit(path, statement, *values):
    with sqlite3.connect(path) as db:
        db.execute(statement, values)
    db.close()


def test_answer_is_kept_and_not_asked_again(ledger):
    granted = claim(ledger)
    assert granted.kind == "granted"
    ledger.finish(
        granted.attempt_id,
        outcome="answered",
        state="answered",
        body='{"a": 1}',
        latency_s=1.5,
        headers={"date": "today"},
    )
    assert claim(ledger).kind == "answered"
    reply = ledger.replies(["k", "other"])["k"]
    assert (reply.state, reply.outcome, reply.body, reply.latency_s) == (
        "answered",
        "answered",
        '{"a": 1}',
        1.5,
    )
    assert "other" not in ledger.replies(["k", "other"])


def test_question_in_flight_is_not_sent_by_another(path, ledger):
    """Also not by another connection, as another process has one."""
    assert claim(ledger).kind == "granted"
    with Ledger(path) as other:
        assert claim(other).kind == "elsewhere"


def test_throttled_question_may_be_sent_by_whoever_comes_first(path, ledger):
    ledger.finish(claim(ledger).attempt_id, outcome="throttled", state="open", body="slow down")
    with Ledger(path) as other:
        assert claim(other).kind == "granted"
    assert ledger.replies(["k"])["k"].body is None


def _claim_and_die(path):
    ledger = Ledger(path)
    ledger.claim("k", "{}", run="dead", run_began=0, stake=Stake(0.5, 0.5))
    os._exit(9)


def die_with_a_claim(path):
    child = multiprocessing.get_context("spawn").Process(target=_claim_and_die, args=(path,))
    child.start()
    child.join()
    assert child.exitcode == 9


def test_claim_of_a_dead_process_is_taken_over_once(path, ledger, monkeypatch):
    """Its owner is looked for; and what it spent stays counted."""
    owner = _dead_owner()
    claim(ledger, run="dead", stake=Stake(0.5, 0.5))
    edit(path, "update request set owner=?", owner)
    began = ledger.moment()
    taken = claim(ledger, run_began=began, stake=Stake(0.5, 0.5))
    assert taken.kind == "granted"
    assert ledger.spent_usd() == 1.0
    assert ledger.n_attempts("dead") == {"unknown": 1}
    ledger.finish(taken.attempt_id, outcome="unknown", state="open")
    assert claim(ledger, run_began=began).kind == "failed"


def _dead_owner():
    """This process, had it begun at another time: its number has been given to somebody else."""
    place, pid, started = owners.this_process().rsplit("|", 2)
    return f"{place}|{pid}|{int(started) - 1000}"


def test_owner_without_a_process_is_dead(path, ledger):
    die_with_a_claim(path)
    assert claim(ledger).kind == "granted"


def test_what_may_have_been_paid_is_not_repeated_where_that_is_forbidden(path, ledger):
    claim(ledger)
    edit(path, "update request set owner=?", _dead_owner())
    assert claim(ledger, max_unknown=0).kind == "failed"
    assert ledger.replies(["k"])["k"].state == "failed"


@pytest.mark.skipif(not hasattr(os, "waitid"), reason="needs waitid")
def test_killed_owner_is_dead_before_its_parent_has_looked(path, ledger):
    """Its number stays taken until then; a survivor that waited for it would wait for ever."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        place = owners.this_process().rsplit("|", 2)[0]
        claim(ledger)
        owner = f"{place}|{child.pid}|{owners.start_of(child.pid)}"
        edit(path, "update request set owner=?", owner)
        assert claim(ledger).kind == "elsewhere"
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert psutil.pid_exists(child.pid)
        assert claim(ledger).kind == "granted"
    finally:
        child.kill()
        child.communicate()


def test_owner_on_another_machine_counts_as_long_as_its_heart_beats(path, ledger, monkeypatch):
    """Its processes cannot be looked at from here, and its clock may show another day."""
    now = 1000.0
    monkeypatch.setattr(owners.time, "monotonic", lambda: now)
    claim(ledger)
    edit(path, "update request set owner='far away|1|1'")
    edit(path, "insert into owner values('far away|1|1', 1)")
    for _ in range(3):
        assert claim(ledger).kind == "elsewhere"
        now += owners.SILENCE_S - 1
        edit(path, "update owner set beat=beat+1")
    assert claim(ledger).owner == "process 1 on far"
    now += owners.SILENCE_S + 1
    assert claim(ledger).kind == "granted"


def test_late_answer_of_a_claim_that_was_taken_over_is_kept(path, ledger):
    """It is paid for, whoever got it."""
    first = claim(ledger)
    edit(path, "update request set owner=?", _dead_owner())
    second = claim(ledger)
    answer(ledger, first.attempt_id, "first")
    ledger.finish(second.attempt_id, outcome="throttled", state="open")
    assert ledger.replies(["k"])["k"].body == "first"
    assert claim(ledger).kind == "answered"


def test_first_of_two_answers_counts(path, ledger):
    """So the table does not change when the second comes in."""
    first = claim(ledger)
    edit(path, "update request set owner=?", _dead_owner())
    second = claim(ledger)
    answer(ledger, second.attempt_id, "second")
    answer(ledger, first.attempt_id, "first")
    assert ledger.replies(["k"])["k"].body == "first"


def test_answer_cannot_be_overwritten(ledger):
    granted = claim(ledger)
    answer(ledger, granted.attempt_id, "one")
    with pytest.raises(LedgerError, match="attempt 1 is not in flight"):
        answer(ledger, granted.attempt_id, "two")


def test_failed_question_is_tried_again_by_a_later_run_only(ledger):
    """A run that began before would otherwise repeat what the other has just given up."""
    before = ledger.moment()
    ledger.finish(claim(ledger).attempt_id, outcome="unavailable", state="open")
    ledger.give_up("k")
    assert claim(ledger, run_began=before).kind == "failed"
    assert claim(ledger, run_began=ledger.moment()).kind == "granted"


def test_money_is_reserved_with_the_claim(ledger):
    """The limit holds for what is in flight, too."""
    limits = {"stake": Stake(0.4, 0.4), "max_cost_usd": 1.0, "budget": "b"}
    granted = claim(ledger, "k0", **limits)
    refused = claim(ledger, "k1", **limits)
    assert (refused.kind, refused.spent_usd) == ("wait", 0.4)
    answer(ledger, granted.attempt_id)
    assert claim(ledger, "k1", **limits).kind == "wait", "its cost is not known yet"
    ledger.settle(granted.attempt_id, 0.1)
    assert claim(ledger, "k1", **limits).kind == "granted"
    assert ledger.spent_usd("b") == pytest.approx(0.5)
    assert ledger.spent_usd("b", in_flight=False) == pytest.approx(0.1)
    assert ledger.spent_usd("other") == 0


def test_budgets_do_not_mix(ledger):
    claim(ledger, "a", stake=Stake(1.0, 1.0), budget="one")
    limits = {"stake": Stake(0.4, 0.4), "max_cost_usd": 0.5, "budget": "two"}
    assert claim(ledger, "b", **limits).kind == "granted"


def test_unpaid_attempts_give_their_reserve_back(ledger):
    granted = claim(ledger, stake=Stake(0.4, 0.4))
    ledger.finish(granted.attempt_id, outcome="throttled", state="open", cost_usd=0.0)
    assert ledger.spent_usd() == 0


@pytest.mark.parametrize("is_local", [True, False])
def test_every_question_is_granted_once_among_connections(path, monkeypatch, is_local):
    """The claim is one transaction, whichever journal the file system allows."""
    monkeypatch.setattr(module, "is_local", lambda _: is_local)
    granted = []

    def work(ledger):
        for i in range(40):
            if claim(ledger, f"k{i}").kind == "granted":
                granted.append(i)

    ledgers = [Ledger(path) for _ in range(3)]
    threads = [threading.Thread(target=work, args=(led,)) for led in ledgers for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for opened in ledgers:
        opened.close()
    assert sorted(granted) == list(range(40))


def test_more_questions_than_a_statement_takes_are_read(ledger):
    for i in range(0, 1200, 400):
        answer(ledger, claim(ledger, f"k{i}").attempt_id, f"body {i}")
    replies = ledger.replies([f"k{i}" for i in range(1200)])
    assert {key: r.body for key, r in replies.items()} == {
        f"k{i}": f"body {i}" for i in (0, 400, 800)
    }


def test_ledger_is_open_to_readers_while_it_is_written(path, ledger):
    answer(ledger, claim(ledger).attempt_id, "there")
    with Ledger(path, read_only=True) as reader:
        assert reader.replies(["k"])["k"].body == "there"
        with pytest.raises(LedgerError, match="readonly"):
            claim(reader, "other")


def test_last_to_leave_folds_the_log_into_the_file(path):
    with Ledger(path) as ledger:
        answer(ledger, claim(ledger).attempt_id)
    assert [p.name for p in path.parent.iterdir()] == [path.name]


def test_missing_ledger_is_not_made_for_a_reader(path):
    with pytest.raises(LedgerError, match="there is no reply ledger"):
        Ledger(path, read_only=True)
    assert not path.exists()


def test_other_files_are_refused_and_left_alone(path):
    path.write_text("not a database, but long enough to be looked at as one" * 10)
    with pytest.raises(LedgerError, match="cannot be opened as a reply ledger"):
        Ledger(path)
    path.unlink()
    edit(path, "create table photos(id)")
    with pytest.raises(LedgerError, match="found another SQLite database; name another file"):
        Ledger(path)


def test_ledger_of_another_version_is_refused(path):
    Ledger(path).close()
    edit(path, "pragma user_version=99")
    with pytest.raises(LedgerError, match="version 2, found version 99"):
        Ledger(path)


@pytest.mark.parametrize(("is_local", "journal"), [(True, "wal"), (False, "delete")])
def test_log_in_shared_memory_is_used_on_local_disks_only(path, monkeypatch, is_local, journal):
    """SQLite's write-ahead log does not work on network file systems."""
    monkeypatch.setattr(module, "is_local", lambda _: is_local)
    with Ledger(path) as ledger:
        answer(ledger, claim(ledger).attempt_id, "there")
        with sqlite3.connect(path) as db:
            assert db.execute("pragma journal_mode").fetchone() == (journal,)
        db.close()
    with Ledger(path, read_only=True) as reader:
        assert reader.replies(["k"])["k"].body == "there"


def test_file_system_is_that_of_the_innermost_mount():
    mounts = "\n".join(
        [
            "/dev/sda1 / ext4 rw 0 0",
            "server:/home /home nfs4 rw 0 0",
            "tmpfs /home/me/fast tmpfs rw 0 0",
            "fs /home/my\\040files lustre rw 0 0",
            "overlay /data ext4 rw 0 0",
            "server:/data /data nfs rw 0 0",
        ]
    )
    kinds = {
        "/var/ledger": "ext4",
        "/home/me/ledger": "nfs4",
        "/home/me/fast/ledger": "tmpfs",
        "/home/me/faster": "nfs4",
        "/home/my files/ledger": "lustre",
        "/data/ledger": "nfs",
    }
    assert {path: file_system_of(path, mounts=mounts) for path in kinds} == kinds


def test_unknown_outcomes_are_refused(ledger):
    with pytest.raises(ValueError, match="outcome: expected one of answered, .*, got 'lost'"):
        ledger.finish(1, outcome="lost", state="open")
