"""What a person sees in the end of a run that broke off: what happened, and what to do."""

import fcntl
import os
import signal
import subprocess
import time

import pytest

SETTINGS = {
    "datasets": {
        "sat": {"format": "synthetic_sat", "n_ok": 2, "n_nok": 2, "image_size_px": 96},
        "parts": {"format": "folder", "root": "data/parts"},
    },
    "methods": {"pixel_difference": {"min_area_px": 5}},
    "evaluation": {"n_resamples": 200},
}
#: The job that is ended from outside; it is the first one and needs nothing.
FIRST = "generate_dataset"


@pytest.fixture
def watched(new_run, tmp_path):
    """Start a run on a terminal, interfere once a job is there, and give its last 15 lines.

    The job waits until then, as behind the same job of an earlier run.
    """
    run = new_run(tmp_path, SETTINGS)
    lock = run.folder / "logs" / FIRST / ".sat.log.lock"
    lock.parent.mkdir(parents=True)
    for name in "ab":
        run.add_part("OK", name)
        run.add_part("NOK", f"x{name}")

    def watch(interfere=None):
        ours, theirs = os.openpty()
        held = lock.open("a")
        fcntl.flock(held, fcntl.LOCK_EX)
        process = subprocess.Popen(
            run.command(f"results/manifests/{'sat' if interfere else 'parts'}.parquet"),
            cwd=run.folder,
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        if interfere:
            interfere(process)
        held.close()
        said = b""
        while chunk := read(ours):
            said += chunk
        os.close(ours)
        assert process.wait(60) != 0
        assert b"\x1b[J" in said, "a bar was drawn"
        assert b"Reason:" not in said and b"Select jobs" not in said
        last = said.decode().rpartition("\x1b[J")[2].splitlines()[-15:]
        return " ".join(" ".join(last).split())

    return run, watch


def read(terminal):
    """The next output; nothing where the other end is closed."""
    try:
        return os.read(terminal, 65536)
    except OSError:
        return b""


def job_of(process):
    """Wait for the first job of a run; its process."""
    while process.poll() is None:
        listed = subprocess.check_output(["ps", "-A", "-ww", "-o", "pid=,sess=,args="], text=True)
        for line in listed.splitlines():
            pid, session, command = line.split(None, 2)
            is_job = command.endswith(f".{FIRST}.py") and "bash" not in command.split()[0]
            if is_job and session == str(process.pid):
                return int(pid)
        time.sleep(0.05)
    pytest.fail("the run ended before its first job began")


def test_missing_mask_is_told_in_our_words(watched):
    run, watch = watched
    (run.folder / "data" / "parts" / "masks" / "xa.png").unlink()
    end = watch()
    assert "data/parts/NOK/xa.png: expected a mask" in end and "draw the mask; or" in end
    assert "Log: logs/prepare_dataset/parts.log" in end
    assert "When the cause above is mended, run again: what is finished is kept" in end
    assert "Full record:" in end and ".snakemake.log" in end


def test_killed_job_is_told_with_what_may_have_killed_it(watched):
    _, watch = watched
    end = watch(lambda process: os.kill(job_of(process), signal.SIGKILL))
    assert "Data set sat: generate" in end
    assert "It was killed from outside (signal 9)" in end and "run fewer jobs at once" in end
    assert "run again: what is finished is kept" in end


def test_interrupted_run_says_how_to_go_on(watched):
    """Ctrl-C reaches Snakemake and its jobs alike."""
    _, watch = watched

    def interrupt(process):
        job_of(process)
        os.killpg(process.pid, signal.SIGINT)

    end = watch(interrupt)
    assert "Interrupted after 0 of" in end
    assert "To go on, run again: what is finished is kept" in end
    assert "Failed" not in end
