"""What can be wrong around a ledger: another process holds it, the disk is full, nothing can be
written, clocks are off.
"""

import contextlib
import errno
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from realitycheck.lvlm import ledger_locks, ledger_room, owners
from realitycheck.lvlm.backends.replay import ReplayBackend
from realitycheck.lvlm.ledger import Ledger
from realitycheck.lvlm.ledger_locks import LedgerError, LedgerFullError, LedgerLockedError
from realitycheck.lvlm.run import RunStoppedError

HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("begin " + sys.argv[2])
print("held", flush=True)
input()
"""


@pytest.fixture
def hold():
    """Let another process hold a ledger."""
    running = []

    def start(path, kind="immediate"):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(path), kind],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def let_go(holder):
    holder.stdin.write("\n")
    holder.stdin.flush()
    holder.wait()


@pytest.fixture
def server(servers):
    with servers.gemini.GeminiServer() as running:
        yield running


def claim(ledger, key="k", **settings):
    return ledger.claim(key, "{}", **{"run": "r", "run_began": 0, **settings})


def answer(ledger, attempt_id, body="{}"):
    ledger.finish(attempt_id, outcome="answered", state="answered", body=body)


# ----------------------------------------------------------------------------------------- a lock


@pytest.mark.skipif(not os.path.exists("/proc/locks"), reason="needs Linux's table of locks")
def test_process_that_holds_the_ledger_is_named(tmp_path, hold, monkeypatch, capsys):
    """And it is said soon that the run waits, not after the wait."""
    monkeypatch.setattr(ledger_locks, "TELL_S", 0.0)
    path = tmp_path / "ledger.sqlite"
    with Ledger(path, busy_timeout_s=0.6) as ledger:
        holder = hold(path)
        named = f"process {holder.pid} .python.* on {socket.gethostname()}"
        with pytest.raises(LedgerLockedError, match=f"is locked by {named}.*run again"):
            claim(ledger)
        assert f"is locked by process {holder.pid}" in capsys.readouterr().err
        let_go(holder)
        assert claim(ledger).kind == "granted"


def test_new_ledger_that_is_held_is_named_when_opened(tmp_path, hold):
    path = tmp_path / "ledger.sqlite"
    sqlite3.connect(path).execute("create table t(x)").connection.close()
    holder = hold(path, "exclusive")
    with pytest.raises(LedgerLockedError, match=f"process {holder.pid}|cannot be seen"):
        Ledger(path, busy_timeout_s=0.1)


def test_answer_that_is_paid_for_waits_for_the_ledger(tmp_path, hold):
    """Longer than a question that has not been sent."""
    path = tmp_path / "ledger.sqlite"
    with Ledger(path, busy_timeout_s=0.1) as ledger:
        granted = claim(ledger)
        holder = hold(path)
        threading.Timer(0.6, let_go, [holder]).start()
        answer(ledger, granted.attempt_id, "kept")
        assert ledger.replies(["k"])["k"].body == "kept"


def test_run_that_finds_the_ledger_held_stops_and_can_go_on(
    put, make_questions, server, tmp_path, hold, monkeypatch
):
    put(make_questions(1), server.url)
    monkeypatch.setattr(
        Ledger.__init__, "__kwdefaults__", {"read_only": False, "busy_timeout_s": 0.1}
    )
    holder = hold(tmp_path / "ledger.sqlite")
    with pytest.raises(RunStoppedError, match="is locked by") as caught:
        put(make_questions(3), server.url)
    assert (caught.value.reason, caught.value.exit_code) == ("ledger_locked", 3)
    assert len(server.paid) == 1
    let_go(holder)
    put(make_questions(3), server.url)
    assert len(server.paid) == 3


# ------------------------------------------------------------------------------------- a full disk


def no_room(monkeypatch, code=errno.ENOSPC):
    def fill(_file, _n_bytes):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(ledger_room, "_fill", fill)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_full_disk_is_noticed_before_anything_is_sent(
    put, make_questions, server, monkeypatch, code
):
    """Also where a quota or a limit on file sizes is what is full."""
    no_room(monkeypatch, code)
    with pytest.raises(RunStoppedError, match="has no room for the answers on their way") as caught:
        put(make_questions(8), server.url, rate_limits={"in_flight": 4})
    assert (caught.value.reason, caught.value.is_resumable) == ("disk_full", True)
    assert not server.paid
    monkeypatch.undo()
    rows, _ = put(make_questions(8), server.url)
    assert (rows["status"] == "answered").all()


def test_disk_that_fills_up_loses_no_answer_that_is_paid_for(tmp_path, monkeypatch):
    """Room was held for it; then nothing more is sent."""
    path = tmp_path / "ledger.sqlite"
    body = "x" * 300_000
    with Ledger(path) as ledger:
        ledger.hold_room(4)
        granted = claim(ledger)
        room = ledger._room
        size = ledger.rows("pragma page_count")[0][0]
        ledger.rows(f"pragma max_page_count={size + 2}")
        give_up = room.give_up

        def make_room():
            with contextlib.suppress(sqlite3.ProgrammingError):  # closed
                ledger._db.execute("pragma max_page_count=1000000")
            give_up()

        monkeypatch.setattr(room, "give_up", make_room)
        answer(ledger, granted.attempt_id, body)
        assert not room.is_held
        assert ledger.replies(["k"])["k"].body == body
        no_room(monkeypatch)
        with pytest.raises(LedgerFullError, match=r"8 MB are needed in .*, .* MB are free"):
            claim(ledger, "other")


def test_room_is_really_taken_and_gone_with_the_ledger(tmp_path):
    ledger = Ledger(tmp_path / "ledger.sqlite")
    ledger.hold_room(2)
    claim(ledger)
    held = os.fstat(ledger._room._file.fileno())
    assert held.st_blocks * 512 >= held.st_size == 6_000_000
    ledger.close()
    assert [p.name for p in tmp_path.iterdir()] == ["ledger.sqlite"]


def test_claim_that_finds_no_room_in_the_ledger_says_so(tmp_path):
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        ledger.rows(f"pragma max_page_count={ledger.rows('pragma page_count')[0][0]}")
        with pytest.raises(LedgerFullError, match="database or disk is full.; make room"):
            ledger.claim("k", "x" * 100_000, run="r", run_began=0)


# --------------------------------------------------------------------------- nothing can be written


def read_only_place(monkeypatch, folder):
    """As on a medium that cannot be written, also for root."""
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and access(path, mode))
    connect = sqlite3.connect

    def refuse(path, **settings):
        if str(folder) in str(path) and "mode=ro" not in str(path):
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return connect(path, **settings)

    monkeypatch.setattr(sqlite3, "connect", refuse)


def test_ledger_that_cannot_be_written_will_do_where_all_is_answered(
    put, make_questions, server, tmp_path, monkeypatch
):
    """With the service's backend as well as by replay; a further question is a fault in words."""
    rows, _ = put(make_questions(3), server.url)
    read_only_place(monkeypatch, tmp_path)
    for backend in (None, ReplayBackend("gemini")):
        again, _ = put(make_questions(3), server.url, backend=backend)
        assert again.equals(rows)
    with pytest.raises(LedgerError, match="cannot be opened .*readonly.*may be written"):
        put(make_questions(4), server.url)
    assert len(server.paid) == 3


def test_log_of_a_killed_run_counts_where_nothing_can_be_written(tmp_path, monkeypatch):
    """Its answers are not in the file yet; passing over the log would lose them in silence."""
    path = tmp_path / "ledger.sqlite"
    code = (
        "import os, sys\n"
        "from realitycheck.lvlm.ledger import Ledger\n"
        "ledger = Ledger(sys.argv[1])\n"
        "claim = ledger.claim('k', '{}', run='r', run_began=0)\n"
        "ledger.finish(claim.attempt_id, outcome='answered', state='answered', body='there')\n"
        "os._exit(9)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, path], env=environment, check=False)
    assert (tmp_path / "ledger.sqlite-wal").stat().st_size
    read_only_place(monkeypatch, tmp_path)
    before = sorted(p.name for p in tmp_path.iterdir())
    with Ledger(path, read_only=True) as ledger:
        assert ledger.replies(["k"])["k"].body == "there"
    assert sorted(p.name for p in tmp_path.iterdir()) == before


# ------------------------------------------------------------------------------------------- clocks


@pytest.mark.parametrize("days", [-1, 1, 400])
def test_clock_that_was_off_gives_up_on_nothing(put, make_questions, servers, monkeypatch, days):
    """Questions that failed "tomorrow" were taken for given up by a run of today."""
    now = time.time
    with servers.gemini.GeminiServer(lambda _: servers.gemini.failure(500)) as server:
        with monkeypatch.context() as other:
            other.setattr(time, "time", lambda: now() + days * 86_400)
            with pytest.raises(RunStoppedError):
                put(make_questions(2), server.url, rate_limits={"max_tries": 2})
        server.plan = {}
        rows, cost = put(make_questions(2), server.url)
    assert rows["status"].tolist() == ["answered"] * 2
    assert cost.n_requests == {"answered": 2}


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs /proc")
def test_clock_that_is_set_does_not_make_a_living_process_a_dead_one(tmp_path, monkeypatch):
    """When a process began is counted in ticks since the boot."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        claim(ledger)
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() + 86_400)
        assert claim(ledger).kind == "elsewhere"
    assert owners.start_of(os.getpid()).isdigit()
    assert owners.start_of(2**22 + 5) is None


def test_process_of_another_boot_or_machine_is_not_looked_up_by_its_number(tmp_path, monkeypatch):
    """Its number may be somebody else's here."""
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        claim(ledger)
        here = owners._place()
        monkeypatch.setattr(owners, "_place", lambda: f"{here} after a restart")
        assert claim(ledger).kind == "elsewhere"
        later = time.monotonic() + owners.SILENCE_S + 1
        monkeypatch.setattr(owners.time, "monotonic", lambda: later)
        assert claim(ledger).kind == "granted"


def test_heart_beats_as_long_as_a_run_goes_on(put, make_questions, servers, tmp_path, monkeypatch):
    monkeypatch.setattr("realitycheck.lvlm.run.BEAT_S", 0.02)
    with servers.gemini.GeminiServer(wait_s=0.3) as server:
        put(make_questions(1), server.url)
    with Ledger(tmp_path / "ledger.sqlite", read_only=True) as ledger:
        ((name, beats),) = ledger.rows("select name, beat from owner")
    assert name == owners.this_process() and beats > 2
