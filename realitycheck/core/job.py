"""What every script does around its work: log, progress, device, facts of the run."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import platform
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO, TypeVar

from realitycheck.core.imports import without_garbage_collection
from realitycheck.core.provenance import digest_of, versions
from realitycheck.core.room import explained
from realitycheck.core.terminal import is_shown_from_logs

Item = TypeVar("Item")
log = logging.getLogger("realitycheck")

_SECONDS_BETWEEN_LOG_LINES = 10.0
#: Exit status of a job that Ctrl-C ended, as shells have it.
_INTERRUPTED = 130


@contextlib.contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Write the log of a job to a file, and a failing job's message to the terminal as well.

    Warnings go to the log. On an error the log gets the whole traceback and, last, the message,
    which says what to do and is what the terminal gets; the job fails. A full disk, a folder that
    cannot be written and memory that ran out are told in words of our own
    (`realitycheck.core.room`).

    A file beside the log is locked as long as the job runs (not the log itself, which Snakemake
    removes before each job). So a job that is started again, while the one of a killed run still
    goes on, waits for it, and its output is the one that stays.
    """
    try:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("a")
        _wait_for_earlier_job(lock, path)
        handler = _LogFile(path, mode="w", encoding="utf-8")
    except OSError as error:
        print(f"\n{path}: {explained(error) or error}", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    except KeyboardInterrupt:  # while it waited for the job of an earlier run
        raise SystemExit(_INTERRUPTED) from None
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    logging.captureWarnings(True)
    log.setLevel(logging.INFO)
    log.propagate = True
    try:
        yield
    except KeyboardInterrupt:
        log.info("interrupted")
        raise SystemExit(_INTERRUPTED) from None
    except Exception as error:
        told = explained(error)
        if told is None:
            log.error("%s", "".join(traceback.format_exception(error)))
            told = f"{type(error).__name__}: {error}"
        log.error("%s", told)
        if not is_shown_from_logs() or handler.is_told:
            print(f"\n{told}\n(log: {path})", file=sys.stderr, flush=True)
        raise SystemExit(1) from None
    finally:
        logging.captureWarnings(False)
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # what a full disk did not take was told by the handler
            handler.close()
        lock.close()


class _LogFile(logging.FileHandler):
    """A log that says once, in few words, when it cannot be written."""

    is_told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        if not self.is_told:
            self.is_told = True
            error = sys.exc_info()[1]
            told = error is not None and explained(error) or error
            print(f"{self.baseFilename}: the log has gaps: {told}", file=sys.stderr, flush=True)


def _wait_for_earlier_job(lock: TextIO, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{path}: waiting for the same job of an earlier run", file=sys.stderr, flush=True)
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError:
        # A file system without locks; there the earlier jobs must have ended before (README).
        return


def progress(items: Iterable[Item], *, total: int, what: str) -> Iterator[Item]:
    """Pass items through and show how many of them are done.

    A bar where a person watches, else a line in the log now and then.

    Args:
        items: The items.
        total: How many there will be.
        what: What is counted, such as "synthetic_sat: images encoded".
    """
    with counting(what) as count:
        for done, item in enumerate(items, start=1):
            yield item
            count(done, total)


@contextlib.contextmanager
def counting(what: str) -> Iterator[Callable[[int, int], None]]:
    """Give a callback (done, of all) that shows how far some work is, as `progress` does."""
    shown = time.monotonic()
    bar: Any = None

    def count(done: int, total: int) -> None:
        nonlocal bar, shown
        if sys.stderr.isatty() and not is_shown_from_logs():
            if bar is None:
                from tqdm import tqdm

                bar = tqdm(total=total, desc=what, unit="", dynamic_ncols=True)
            bar.update(done - bar.n)
        elif done == total or time.monotonic() - shown > _SECONDS_BETWEEN_LOG_LINES:
            shown = time.monotonic()
            log.info("%s: %d of %d", what, done, total)
            if not is_shown_from_logs():
                print(f"{what}: {done} of {total}", file=sys.stderr, flush=True)

    try:
        yield count
    finally:
        if bar is not None:
            bar.close()


# ------------------------------------------------------------------------------------------- device


@contextlib.contextmanager
def device_lease(wanted: str | None, *, threads: int = 1) -> Iterator[str]:
    """Hold a device for the length of a job.

    On CUDA the job takes one GPU for itself by a lock file, and waits while all are taken, so that
    two jobs never share one, even without a profile and between two runs of the workflow. Where the
    scheduler has already given the job one GPU of its own (SLURM), that one is used and no lock is
    taken; of several, as in an allocation that the whole workflow runs in, each job takes one.

    Args:
        wanted: `auto`, `cpu`, `cuda` or `mps`. None: the job runs no network; torch is left alone.
        threads: CPU threads for torch.

    Yields:
        The device's name for torch: `cpu`, `cuda` or `mps`.

    Raises:
        RuntimeError: If the wanted device is not there.
    """
    if wanted is None:
        yield "cpu"
        return
    with without_garbage_collection():
        import torch

    torch.set_num_threads(threads)
    device = choose_device(wanted)
    gpus = _visible_gpus() if device == "cuda" else []
    if not gpus or ("SLURM_JOB_ID" in os.environ and len(gpus) == 1):
        log.info("device: %s", device)
        yield device
        return
    with leased_gpu(gpus) as gpu:
        # Not through CUDA_VISIBLE_DEVICES: CUDA read that once, when its devices were counted.
        torch.cuda.set_device(gpus.index(gpu))
        log.info("device: cuda, GPU %s", gpu)
        yield device


def choose_device(wanted: str) -> str:
    """Turn `auto` into the best device there is, and make sure that a named one is there."""
    import torch

    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return next(name for name, there in present.items() if there)
    if not present[wanted]:
        raise RuntimeError(
            f"compute.device is '{wanted}', but this machine has no such device (there is: "
            f"{', '.join(n for n, there in present.items() if there)}); set compute.device: auto"
        )
    return wanted


def batch_size(wanted: str, *, device: str, attempt: int = 1) -> int:
    """Turn `auto` into the number of images that go through an image encoder together.

    Args:
        wanted: `auto` or a number.
        device: The device's name for torch.
        attempt: Which attempt of the job this is. Each after the first halves the batch, since the
            one before may have run out of memory.
    """
    first = int(wanted) if wanted != "auto" else 8 if device == "cuda" else 1
    return max(1, first >> (attempt - 1))


def gpu_of(device: str) -> str | None:
    """Name of the GPU that this job holds, for a program that it starts; None on a processor.

    Args:
        device: From `device_lease`.
    """
    if device != "cuda":
        return None
    import torch

    return _visible_gpus()[torch.cuda.current_device()]


def _visible_gpus() -> list[str]:
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named:
        return [part.strip() for part in named.split(",") if part.strip()]
    import torch

    return [str(index) for index in range(torch.cuda.device_count())]


@contextlib.contextmanager
def leased_gpu(
    gpus: list[str], *, folder: Path | None = None, poll_s: float = 1.0
) -> Iterator[str]:
    """Hold one of several GPUs by a lock file; wait while all are taken.

    The lock is the operating system's own: it is gone with the process that held it, however that
    ended.

    Args:
        gpus: Names of the GPUs.
        folder: Where the lock files lie; default: one folder for each user and machine.
        poll_s: Seconds between two looks.
    """
    from filelock import FileLock, Timeout

    if folder is None:
        folder = Path(tempfile.gettempdir()) / f"realitycheck-leases-{os.getuid()}"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    waiting_since = time.monotonic()
    told = False
    while True:
        for gpu in gpus:
            lock = FileLock(folder / f"{platform.node()}-gpu-{gpu.replace('/', '_')}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            try:
                yield gpu
            finally:
                lock.release()
            return
        if not told and time.monotonic() - waiting_since > 10:
            log.info("all %d GPUs are taken by other jobs; waiting for one", len(gpus))
            told = True
        time.sleep(poll_s)


# -------------------------------------------------------------------------------------------- facts


def run_facts(
    settings: Mapping[str, Any],
    *,
    weights: Mapping[str, str] | None = None,
    device: str | None = None,
    distributions: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Facts that go into a table's metadata, so that every number can be traced.

    Args:
        settings: The settings that the job used (its params).
        weights: Digest of each network's files.
        device: Device the networks ran on.
        distributions: Installed packages whose versions matter.
    """
    facts: dict[str, Any] = {"settings_digest": digest_of(dict(settings))}
    for key in ("seed", "precision", "code"):
        if key in settings:
            facts[key] = settings[key]
    if weights:
        facts["weights"] = dict(weights)
    if device:
        facts["device"] = device
    if distributions:
        facts["versions"] = versions(*distributions)
    return facts
