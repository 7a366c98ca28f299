"""Running a program: its environment, its time, its log, and its end with that of the job."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from realitycheck.methods.command.settings import PYTHON

#: Lines of a log that a failure shows.
_LAST_LINES = 20
#: Seconds between two looks at a program.
_POLL_S = 0.1
#: Seconds between asking a program to end, when its time is over, and ending it.
_GRACE_S = 5.0

#: Variables that a program is given; all others, keys and tokens among them, only by their names.
_GIVEN = frozenset(
    {
        *("HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "SHELL", "TERM"),
        *("TEMP", "TMP", "TMPDIR", "TZ", "USER", "CUDA_HOME", "CUDA_PATH", "SSL_CERT_FILE"),
    }
)
_GIVEN_PREFIXES = ("LC_",)
#: Variables of its proxies, which only a program with network is given.
_PROXIES = ("http_proxy", "https_proxy", "no_proxy", "all_proxy", "ftp_proxy")
#: What keeps the usual libraries off their hubs.
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_MODE": "offline",
}
#: Ends the program's group when the job is gone, however that ended: then its input ends.
_GUARD = "import os, sys; sys.stdin.buffer.read(); os.killpg(int(sys.argv[1]), 9)"


class ProgramError(RuntimeError):
    """A program that could not be started, failed, or took too long; shows its last lines."""


def command_words(command: str, interpreter: str) -> list[str]:
    """Words of a command: the word python is the interpreter, and files are found from any folder.

    Args:
        command: As in the settings.
        interpreter: Path of the interpreter.
    """
    words = shlex.split(command)
    if words[0] in PYTHON:
        words[0] = interpreter
    return [str(Path(word).absolute()) if Path(word).is_file() else word for word in words]


def environment_for(
    given: Mapping[str, str],
    *,
    named: Sequence[str],
    network: bool,
    interpreter: str,
    threads: int,
    gpu: str | None,
) -> dict[str, str]:
    """Variables of a program.

    Args:
        given: Those of the job.
        named: Names of further ones that it is given.
        network: Whether it may use the network.
        interpreter: Its interpreter, whose folder comes first on the path.
        threads: CPU threads.
        gpu: The GPU that it may see; None: none.

    Raises:
        ProgramError: If one that is named is not set here.
    """
    if absent := [name for name in named if name not in given]:
        raise ProgramError(
            f"environment: {', '.join(absent)} not set where the job runs; set it there, or leave "
            "it out of the method's block"
        )
    wanted = _GIVEN | set(named)
    if network:
        wanted |= {*_PROXIES, *(name.upper() for name in _PROXIES)}
    kept = {
        name: value
        for name, value in given.items()
        if name in wanted or name.startswith(_GIVEN_PREFIXES)
    }
    folder = Path(interpreter).parent
    n = str(threads)
    return {
        **kept,
        **({} if network else _OFFLINE),
        "PATH": os.pathsep.join([str(folder), kept.get("PATH", os.defpath)]),
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": n,
        "MKL_NUM_THREADS": n,
        "OPENBLAS_NUM_THREADS": n,
        "CUDA_VISIBLE_DEVICES": gpu or "",
    }


def run_program(
    words: Sequence[str],
    folder: Path,
    *,
    environment: Mapping[str, str],
    limit_s: float,
    log: Path,
) -> float:
    """Run a program in a folder until it ends.

    What it says goes to its log. It has a process group of its own, which ends with it, at its time
    limit, and with the job, even if that is killed.

    Args:
        words: The program and its arguments.
        folder: Where it starts.
        environment: Its variables.
        limit_s: Time limit in seconds.
        log: File for its output.

    Returns:
        Seconds that it took.

    Raises:
        ProgramError: If it cannot be started, fails, or takes too long.
    """
    found = shutil.which(words[0], path=environment["PATH"])
    if found is None:
        raise ProgramError(
            f"there is no program {words[0]} (PATH: {environment['PATH']}); name one that is there"
        )
    started = time.monotonic()
    with log.open("wb") as said:
        program = subprocess.Popen(
            [found, *words[1:]],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        with _guarded(program):
            in_time = _ended(program, started + limit_s)
    seconds = time.monotonic() - started
    if not in_time:
        raise ProgramError(
            f"{_told(words)}: ended after {limit_s / 60:g} minutes, its time limit; raise minutes, "
            f"or give it less to do{_last_lines(log)}"
        )
    if program.returncode:
        how = (
            f"was ended by {signal.Signals(-program.returncode).name}"
            if program.returncode < 0
            else f"ended with status {program.returncode}"
        )
        raise ProgramError(f"{_told(words)}: {how}{_last_lines(log)}")
    return seconds


@contextmanager
def _guarded(program: subprocess.Popen) -> Iterator[None]:
    """End whatever is left of a program's group when the block, or this process, ends."""
    guard = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _GUARD, str(program.pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        guard.kill()
        guard.wait()
        guard.stdin.close()
        # The program is not reaped yet, so its number, that of the group, is nobody else's.
        with suppress(ProcessLookupError):
            os.killpg(program.pid, signal.SIGKILL)
        program.wait()


def _ended(program: subprocess.Popen, until: float) -> bool:
    """Wait for a program; False if its time is over, when it is asked to end, and given a while."""
    look = os.WEXITED | os.WNOHANG | os.WNOWAIT
    in_time = True
    while os.waitid(os.P_PID, program.pid, look) is None:
        if time.monotonic() > until:
            if not in_time:
                return False
            in_time, until = False, time.monotonic() + _GRACE_S
            os.killpg(program.pid, signal.SIGTERM)
        time.sleep(_POLL_S)
    return in_time


def _told(words: Sequence[str]) -> str:
    return f"the program {shlex.join(words)}"


def _last_lines(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    if not lines:
        return f". It said nothing ({log})"
    shown = "\n".join(f"  {line}" for line in lines[-_LAST_LINES:])
    return f". Its last lines ({log}):\n{shown}"
