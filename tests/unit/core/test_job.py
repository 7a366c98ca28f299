"""What every script does around its work."""

import logging
import os
import select
import signal
import subprocess
import sys
import threading
import warnings

import pytest

from realitycheck.core.job import (
    batch_size,
    choose_device,
    counting,
    device_lease,
    job_log,
    leased_gpu,
    progress,
    run_facts,
)
from realitycheck.core.provenance import digest_of

HOLDER = """
import sys
from pathlib import Path
from realitycheck.core.job import leased_gpu

with leased_gpu(sys.argv[2:], folder=Path(sys.argv[1]), poll_s=0.02) as gpu:
    print(gpu, flush=True)
    sys.stdin.readline()
"""


class Holder:
    """A job in a process of its own that holds a GPU until it is told to end."""

    def __init__(self, repository, folder, *gpus):
        self.process = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(folder), *gpus],
            cwd=repository,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def gpu(self, *, within_s=20.0):
        ready, _, _ = select.select([self.process.stdout], [], [], within_s)
        return self.process.stdout.readline().strip() if ready else None

    def end(self):
        if self.process.poll() is None:
            self.process.communicate("\n", timeout=20)


@pytest.fixture
def start(repository, tmp_path):
    """Start jobs that share the GPUs 0 and 1; what still runs is ended with the test."""
    started = []

    def start_one(*gpus):
        started.append(Holder(repository, tmp_path / "leases", *(gpus or ("0", "1"))))
        return started[-1]

    yield start_one
    for holder in started:
        holder.end()


def test_jobs_get_different_gpus_and_the_third_waits(start):
    """Two networks on one GPU run out of memory, and a plain `--cores 16` starts many jobs."""
    first, second = start(), start()
    taken = {first.gpu(), second.gpu()}
    assert taken == {"0", "1"}
    third = start()
    assert third.gpu(within_s=0.6) is None
    first.end()
    assert third.gpu() in taken


def test_gpu_of_a_killed_job_is_free_again(start):
    """A job that ran out of memory cannot tidy up after itself."""
    first = start("0")
    assert first.gpu() == "0"
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait(timeout=20)
    assert start("0").gpu() == "0"


def test_gpu_is_free_after_an_error(tmp_path):
    """A failing job must not block those after it in the same process."""
    with pytest.raises(KeyError), leased_gpu(["MIG-1/2"], folder=tmp_path):
        raise KeyError
    with leased_gpu(["MIG-1/2"], folder=tmp_path) as gpu:
        assert gpu == "MIG-1/2"


@pytest.fixture
def two_gpus(monkeypatch, tmp_path):
    """A machine with two GPUs, as far as torch says; gives the list of those chosen."""
    import torch

    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    for name in ("SLURM_JOB_ID", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return chosen


def test_leased_gpu_becomes_the_current_one(two_gpus):
    """torch must be told by index: CUDA reads CUDA_VISIBLE_DEVICES once, when it is first asked
    how many devices there are."""
    with device_lease("auto") as first, device_lease("cuda") as second:
        assert (first, second) == ("cuda", "cuda")
    assert two_gpus == [0, 1]


def test_index_counts_among_the_visible_gpus(two_gpus, monkeypatch):
    """With CUDA_VISIBLE_DEVICES=6,3 torch calls GPU 6 number 0."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "6, 3")
    with device_lease("cuda"), device_lease("cuda"):
        pass
    assert two_gpus == [0, 1]


def test_gpu_given_by_the_scheduler_needs_no_lease(two_gpus, monkeypatch, tmp_path):
    """On a cluster each job sees its own GPU only, and they may all be called 0."""
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with device_lease("cuda"), device_lease("cuda"), device_lease("cuda") as third:
        assert third == "cuda"
    assert two_gpus == []
    assert list(tmp_path.iterdir()) == []


def test_allocation_of_several_gpus_is_leased_within(two_gpus, monkeypatch):
    """The whole workflow may run inside one job of the scheduler; its jobs then share nothing."""
    monkeypatch.setenv("SLURM_JOB_ID", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with device_lease("cuda"), device_lease("cuda"):
        pass
    assert two_gpus == [0, 1]


def test_auto_takes_the_best_device_there_is(monkeypatch):
    """The same settings run on any machine."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert choose_device("auto") == "cpu"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device("auto") == "cuda"
    assert choose_device("cpu") == "cpu"


def test_absent_device_is_refused(monkeypatch):
    """A run that was meant for a GPU must not crawl on a CPU for a week."""
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(
        RuntimeError,
        match=r"compute.device is 'cuda', but this machine has no such device \(there is: cpu\); "
        "set compute.device: auto",
    ):
        choose_device("cuda")


def test_batch_is_as_told_or_fits_the_device():
    """A CPU gains nothing from batches."""
    assert batch_size("3", device="cpu") == 3
    assert batch_size("auto", device="cpu") == 1
    assert batch_size("auto", device="cuda") > 1


def test_batch_is_halved_on_every_further_attempt():
    """The attempt before may have run out of memory; at one image there is no less to ask for."""
    asked = [batch_size("6", device="cuda", attempt=n) for n in (1, 2, 3, 4)]
    assert asked == [6, 3, 1, 1]


def test_failing_job_logs_everything_and_prints_what_to_do(tmp_path, capsys):
    """The terminal is for the person, the log for whoever looks for the cause."""
    path = tmp_path / "logs" / "job.log"
    with pytest.raises(SystemExit) as caught, job_log(path):
        raise ValueError("a.png: broken; copy it again")
    assert caught.value.code == 1
    shown = capsys.readouterr().err
    assert shown == f"\nValueError: a.png: broken; copy it again\n(log: {path})\n"
    text = path.read_text()
    assert "Traceback (most recent call last)" in text
    assert 'raise ValueError("a.png: broken; copy it again")' in text


def test_log_holds_messages_and_warnings_of_its_own_job_only(tmp_path):
    """A warning of a library may explain a number; a later job has a log of its own."""
    path = tmp_path / "job.log"
    path.write_text("of an earlier run")
    log = logging.getLogger("realitycheck")
    n_handlers = len(logging.getLogger().handlers)
    with job_log(path):
        log.info("23 images")
        warnings.warn("values were clipped", stacklevel=1)
    log.info("after")
    text = path.read_text()
    assert "INFO realitycheck: 23 images" in text
    assert "values were clipped" in text
    assert "earlier" not in text
    assert "after" not in text
    assert len(logging.getLogger().handlers) == n_handlers


def test_job_waits_for_the_one_of_a_killed_run(tmp_path):
    """Its output must be the later one, or that of old settings would stay.

    Snakemake removes a log before it starts a job.
    """
    path = tmp_path / "job.log"
    order = []

    def again():
        with job_log(path):
            order.append("later")

    with job_log(path):
        path.unlink()
        later = threading.Thread(target=again)
        later.start()
        later.join(0.3)
        order.append("earlier")
    later.join()
    assert order == ["earlier", "later"]


def test_finished_job_raises_nothing(tmp_path, capsys):
    """Silence means success."""
    with job_log(tmp_path / "job.log"):
        pass
    assert capsys.readouterr() == ("", "")


def test_progress_passes_items_through_and_ends_with_the_total(capsys):
    """Whoever watches knows when it is done."""
    assert list(progress("abc", total=3, what="images encoded")) == ["a", "b", "c"]
    assert capsys.readouterr().err == "images encoded: 3 of 3\n"


def test_progress_counts_what_is_finished_not_what_is_begun(monkeypatch, capsys):
    """An item is done when the next is asked for."""
    monkeypatch.setattr("realitycheck.core.job._SECONDS_BETWEEN_LOG_LINES", -1.0)
    shown = []
    for item in progress("abc", total=3, what="x"):
        shown.append((item, capsys.readouterr().err))
    shown.append(("end", capsys.readouterr().err))
    assert shown == [
        ("a", ""),
        ("b", "x: 1 of 3\n"),
        ("c", "x: 2 of 3\n"),
        ("end", "x: 3 of 3\n"),
    ]


def test_progress_is_a_line_now_and_then_where_nobody_watches(monkeypatch, capsys):
    """A thousand images must not make a thousand lines in a cluster's log."""
    now = iter(range(100))
    monkeypatch.setattr("realitycheck.core.job.time.monotonic", lambda: next(now) * 4.0)
    with counting("images") as count:
        for done in range(1, 8):
            count(done, 7)
    assert capsys.readouterr().err.splitlines() == ["images: 3 of 7", "images: 6 of 7"] + [
        "images: 7 of 7"
    ]


def test_progress_is_a_bar_where_a_person_watches(monkeypatch, capsys):
    """The bar shows how long it will still take."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress("ab", total=2, what="images")) == ["a", "b"]
    assert "2/2" in capsys.readouterr().err


def test_facts_trace_a_number_to_its_settings():
    """Two tables with one digest were made alike."""
    facts = run_facts(
        {"seed": 3, "code": "ab", "variant": "vit_h"},
        weights={"sam": "cd"},
        device="cpu",
        distributions=("numpy",),
    )
    import numpy as np

    assert facts == {
        "settings_digest": digest_of({"variant": "vit_h", "code": "ab", "seed": 3}),
        "seed": 3,
        "code": "ab",
        "weights": {"sam": "cd"},
        "device": "cpu",
        "versions": {"numpy": np.__version__},
    }
    assert run_facts({}) == {"settings_digest": digest_of({})}
