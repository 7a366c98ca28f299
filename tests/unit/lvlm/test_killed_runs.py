"""What is left when a run is killed, ended or doubled: nothing is lost and little is paid twice.

Real processes and a real kill -9, because that is what a cluster does.
"""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from realitycheck.lvlm.ledger import Ledger

N, IN_FLIGHT = 200, 8
PROCESS = Path(__file__).with_name("asking_process.py")


@pytest.fixture
def start(tmp_path):
    """Start a process that asks; all are ended after the test."""
    running = []

    def run(url, n=N, in_flight=IN_FLIGHT, *more):
        command = [sys.executable, PROCESS, url, tmp_path / "ledger.sqlite", n, in_flight, *more]
        process = subprocess.Popen(
            [str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        running.append(process)
        return process

    yield run
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finished(process):
    """Wait for a process; what it printed."""
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err.decode()
    return json.loads(out)


def wait_for(server, n):
    deadline = time.monotonic() + 60
    while len(server.paid) < n:
        assert time.monotonic() < deadline, f"{len(server.paid)} of {n} requests came in"
        time.sleep(0.002)


def test_kill_9_repeats_at_most_what_was_in_flight(servers, start, tmp_path):
    """The service has no way to say whether it has answered those eight; all others are safe."""
    with servers.gemini.GeminiServer(wait_s=0.05) as server:
        first = start(server.url)
        wait_for(server, 100)
        first.send_signal(signal.SIGKILL)
        first.wait()
        time.sleep(0.1)
        n_before = len(server.paid)
        assert n_before < N
        result = finished(start(server.url))
    assert result["statuses"] == ["answered"] * N
    assert server.repeats() <= IN_FLIGHT
    assert len(server.paid) == N + server.repeats()
    with Ledger(tmp_path / "ledger.sqlite", read_only=True) as ledger:
        attempts = ledger.n_attempts()
        # What may have been paid without an answer is seen and stays counted as spent. A claim that
        # had not been sent yet looks the same.
        assert attempts["answered"] == N
        assert server.repeats() <= attempts.get("unknown", 0) <= IN_FLIGHT
        assert ledger.spent_usd("m") > N * 0.001


def test_kill_9_of_a_run_that_is_killed_again_still_ends(servers, start):
    with servers.gemini.GeminiServer(wait_s=0.05) as server:
        for n in (20, 45):
            process = start(server.url, 60)
            wait_for(server, n)
            process.kill()
            process.wait()
        result = finished(start(server.url, 60))
    assert result["statuses"] == ["answered"] * 60
    assert server.repeats() <= 2 * IN_FLIGHT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_lets_the_answers_on_their_way_come_in(servers, start, number):
    """So nothing is repeated at all."""
    with servers.gemini.GeminiServer(wait_s=0.1) as server:
        first = start(server.url, 60)
        wait_for(server, 20)
        first.send_signal(number)
        out, err = first.communicate(timeout=30)
        assert (first.returncode, out.decode().strip()) == (3, "stopped signal"), err.decode()
        n_before = len(server.paid)
        assert n_before < 60
        assert all(a.served == 200 for a in server.paid)
        result = finished(start(server.url, 60))
    assert result["requests"] == {"answered": 60 - n_before}
    assert server.repeats() == 0
    assert len(server.paid) == 60


def test_second_interrupt_does_not_wait(servers, start):
    """A human who presses again wants to leave; the claims are given back at once."""
    silent = servers.Served(body={}, wait_s=20)
    # With a limit on money, as many go at once as have been answered before: four after seven.
    plan = dict.fromkeys(range(8, 12), silent)
    with servers.gemini.GeminiServer(plan) as server:
        first = start(server.url, 12, 4)
        wait_for(server, 11)
        first.send_signal(signal.SIGINT)
        time.sleep(0.3)
        began = time.monotonic()
        first.send_signal(signal.SIGINT)
        out, err = first.communicate(timeout=15)
        assert (first.returncode, out.decode().strip()) == (3, "stopped signal"), err.decode()
        assert time.monotonic() - began < 10
        result = finished(start(server.url, 12, 4))
    assert result["statuses"] == ["answered"] * 12


def test_any_number_of_sigterms_repeats_nothing(servers, start):
    """Whoever ends jobs sends several; the answers on their way are paid for all the same."""
    with servers.gemini.GeminiServer(wait_s=0.4) as server:
        first = start(server.url, 24)
        wait_for(server, 8)
        for _ in range(6):
            first.send_signal(signal.SIGTERM)
            time.sleep(0.03)
        out, err = first.communicate(timeout=30)
        assert (first.returncode, out.decode().strip()) == (3, "stopped signal"), err.decode()
        result = finished(start(server.url, 24))
    assert result["statuses"] == ["answered"] * 24
    assert server.repeats() == 0


def test_two_runs_at_once_ask_nothing_twice(servers, start):
    """Two workflows, one ledger; both end with the whole table."""
    with servers.gemini.GeminiServer(wait_s=0.05) as server:
        processes = [start(server.url, 80) for _ in range(2)]
        results = [finished(process) for process in processes]
    assert [r["statuses"] for r in results] == [["answered"] * 80] * 2
    assert server.repeats() == 0
    assert len(server.paid) == 80
    assert sum(r["requests"].get("answered", 0) for r in results) == 80


def test_survivor_takes_over_what_a_killed_run_had_on_its_way(servers, start):
    """It does not wait for the lease of a process that is gone."""
    with servers.gemini.GeminiServer(wait_s=0.05) as server:
        victim, survivor = (start(server.url, 80) for _ in range(2))
        wait_for(server, 30)
        victim.kill()
        result = finished(survivor)
    assert result["statuses"] == ["answered"] * 80
    assert server.repeats() <= IN_FLIGHT
