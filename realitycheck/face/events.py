"""Turn the events of a run, as Snakemake logs them, into the lines that a person reads."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from logging import ERROR, WARNING, LogRecord
from pathlib import Path

from realitycheck.face.joblog import JobLog

AGAIN = "run again: what is finished is kept, and only the rest is computed"
_INTERRUPTS = {2, 130}
_KILLS = {9, 137}
_STATUS = re.compile(r"exit status (\d+)|died with <Signals\.\w+: (\d+)>")
#: What Snakemake says of a run that ended early; the last words say it better.
_ENDINGS = ("Exiting because a job execution failed", "WorkflowError:\nAt least one job did not")
#: Of a job's name: the only shard of its data set, and the prompt of a method that takes none.
_NEEDLESS = re.compile(r",? (?:shard )?0-of-1\b|, prompt none\b")
_RESTART = re.compile(r"Trying to restart job (\d+)\.")
#: What Snakemake says on its way to a run; before one is begun, all else it says is the answer to
#: another command, such as --unlock.
_BEFORE_RUNS = ("Assuming unrestricted shared filesystem", "Building DAG of jobs", "Using ")
#: Warnings with a list of files, which the log has.
_DETAILS = ("Restored previous version of", "Removing output files of failed job")
#: Where Snakemake puts what a rule file raised, with the lines of code that stood behind it.
_HEAD = re.compile(r"^(?:WorkflowError|SnakemakeRuleParameterError)(?: in .*)?:?\n")
_TRACE = re.compile(r'\n  File "[^\n]*", line \d+, in [^\n]*(?:\n[^\n]*)*\Z')


@dataclass
class Job:
    """A job that was started.

    Attributes:
        name: Its rule's message, or else the rule's name.
        rule: Its rule.
        started: When, in seconds since 1970.
        logs: Its logs.
        benchmark: Where Snakemake writes how long it took.
        is_step: Whether it computes anything; a target rule only names files.
    """

    name: str
    rule: str
    started: float
    logs: list[JobLog] = field(default_factory=list)
    benchmark: str | None = None
    is_step: bool = True


@dataclass
class Failure:
    """Why a job failed: what it said, the exit status of its process, where its log is."""

    job: Job
    seconds: float
    said: str | None
    status: int | None
    log: str | None


class Face:
    """Says what goes on: one line for each job that ends, warnings and stops in full.

    Attributes:
        done: Steps that have ended.
        total: Steps that the run has; 0 before that is known.
    """

    def __init__(self, *, dry_run: bool = False, clock: Callable[[], float] = time.time):
        """Begin with nothing known.

        Args:
            dry_run: Whether the run only plans.
            clock: Gives seconds since 1970.
        """
        self.done = self.total = 0
        self._dry_run = dry_run
        self._clock = clock
        self._started = clock()
        self._jobs: dict[int, Job] = {}
        self._names: dict[str, str] = {}
        self._failures: dict[int, Failure] = {}
        self._errors: list[str] = []
        self._table: str | None = None
        self._log: str | None = None
        self._is_run = self._is_interrupted = self._is_ended = False

    def lines(self, record: LogRecord) -> list[str]:
        """The lines that stand for one of Snakemake's log records; mostly none."""
        event = getattr(record, "event", None)
        if event is None:
            return self._message(record)
        self._is_run |= event == "workflow_started"
        handler = {
            "run_info": self._plan,
            "job_info": self._job_begins,
            "job_finished": self._job_ends,
            "job_error": self._job_fails,
            "group_error": self._group_fails,
            "progress": self._progress,
            "error": self._error,
        }.get(event)
        return handler(record) if handler else []

    def progress(self) -> str:
        """How far the run is, for example `12 of 80 steps, about 3 min left`."""
        text = f"{self.done} of {self.total} steps"
        if self.total / 10 <= self.done < self.total:
            passed = self._clock() - self._started
            left = passed / self.done * (self.total - self.done)
            text += f", about {duration(left if left < 120 else 60 * round(left / 60))} left"
        return text

    def at_work(self) -> list[str]:
        """Each job at work: its name, how far it is where it says so, and since when."""
        now = self._clock()
        said = []
        for job in list(self._jobs.values()):
            if job.is_step:
                counts = [count for log in job.logs if (count := log.how_far())]
                parts = [job.name, *counts, duration(now - job.started)]
                said.append(", ".join(parts))
        return said

    def newly_said(self) -> list[str]:
        """What jobs at work want whoever watches to read, and was not returned before."""
        return [text for job in list(self._jobs.values()) for text in _said(job)]

    def last_words(self) -> list[str]:
        """How the run ended, and what to do."""
        said = [self._table] if self._table else []
        record = [f"Full record: {self._log}"] if self._log else []
        counted = self.progress().partition(",")[0]
        for failure in self._failures.values():
            if failure.said or not self._is_interrupted:  # else it was ended with the run
                said += _block(failure)
        if self._is_interrupted:
            when = f"after {counted}" if self.total else "before the first step"
            return [*said, f"Interrupted {when}. To go on, {AGAIN}.", *record]
        for text in self._errors:
            said += ["", _own_words(text)]
        if self._failures or self._errors:
            said.append("")
            if self.total:
                failed = f", {len(self._failures)} failed" if self._failures else ""
                said.append(
                    f"Stopped: {counted} done{failed}. When the cause above is mended, {AGAIN}."
                )
            return [*said, *record]
        if self._is_ended:
            took = duration(self._clock() - self._started)
            return [*said, f"Finished: {self.done} steps in {took}.", *record]
        return said

    # --------------------------------------------------------------------------------------- events

    def _plan(self, record: LogRecord) -> list[str]:
        if self._dry_run:
            self._table = record.getMessage().rstrip()
            return []
        self.total = record.stats["total"]
        return [f"{self.total} steps to do."]

    def _job_begins(self, record: LogRecord) -> list[str]:
        if not self._dry_run:
            name = _NEEDLESS.sub("", record.rule_msg or record.rule_name)
            self._failures.pop(record.jobid, None)
            self._names[str(record.jobid)] = name
            self._jobs[record.jobid] = Job(
                name=name,
                rule=record.rule_name,
                started=self._clock(),
                logs=[JobLog(str(path)) for path in record.log],
                benchmark=record.benchmark,
                is_step=bool(record.rule_msg or record.log),
            )
        return []

    def _job_ends(self, record: LogRecord) -> list[str]:
        job = self._jobs.pop(record.job_id, None)
        if job is None or not job.is_step:
            return []
        return [*_said(job), f"{duration(self._seconds(job)):>11}  {job.name}"]

    def _job_fails(self, record: LogRecord) -> list[str]:
        job = self._jobs.pop(record.jobid, None) or Job(
            record.rule_name, record.rule_name, self._clock()
        )
        error = self._error_of(job.rule)
        found = _STATUS.search(error or "")
        status = int(found[1] or found[2]) if found else None
        said = next((text for log in job.logs if (text := log.last_stop())), None)
        if said is None and found is None:
            said = " ".join(filter(None, [getattr(record, "rule_msg", None), error])) or None
        if status in _INTERRUPTS and said is None:
            return []
        own = [log.path for log in job.logs]
        written = [log.path for log in job.logs if log.exists()]
        others = [path for path in map(str, record.log) if path not in own and Path(path).is_file()]
        log = next(iter(written + others), None)
        seconds = self._clock() - job.started
        self._failures[record.jobid] = Failure(job, seconds, said, status, log)
        return [*_said(job), f"{'FAILED':>11}  {job.name}"]

    def _group_fails(self, record: LogRecord) -> list[str]:
        names = ", ".join(info["rule_name"] for info in record.job_error_info)
        self._errors.append(f"A group of jobs failed ({names}): {record.msg}")
        return [f"{'FAILED':>11}  {names}"]

    def _progress(self, record: LogRecord) -> list[str]:
        self.done, self.total = record.done, record.total
        return []

    def _error(self, record: LogRecord) -> list[str]:
        text = record.getMessage()
        if getattr(record, "exception", None) == "KeyboardInterrupt":
            self._is_interrupted = True
        elif not text.startswith(_ENDINGS):
            self._errors.append(text)
        return []

    def _message(self, record: LogRecord) -> list[str]:
        """A record that is no event: ours and warnings in full, of the rest what a person needs."""
        text = record.getMessage().strip()
        if record.levelno >= ERROR:
            if not text.startswith(_ENDINGS):
                self._errors.append(text)
            return []
        if record.levelno >= WARNING:
            if text.startswith(_DETAILS):
                return []
            return [f"Warning: {_own_words(text)}"]
        if again := _RESTART.fullmatch(text):
            return [f"{'again':>11}  {self._names.get(again[1], again[1])}"]
        if text.startswith("Nothing to be done"):
            return ["Nothing to be done: all results are there and up to date."]
        if text.startswith("Terminating processes on user request"):
            self._is_interrupted = True
            return ["Interrupted; the jobs at work are ended."]
        if text.startswith("Will exit after finishing"):
            return ["Asked to stop; the jobs at work are finished first."]
        if text.startswith("Complete log(s):"):
            self._log = text.partition(": ")[2]
        if text.startswith("Elapsed time:"):
            self._is_ended = True
        is_ours = Path(record.pathname).suffix == ".smk" or record.filename == "Snakefile"
        is_other_command = not self._is_run and not text.startswith(_BEFORE_RUNS)
        return [text] if is_ours or is_other_command else []

    # ------------------------------------------------------------------------------------- in parts

    def _error_of(self, rule: str) -> str | None:
        """What Snakemake said of a job of this rule, just before it said that the job failed."""
        named = [text for text in self._errors if re.search(rf"\b{re.escape(rule)}\b", text)]
        codes = [text for text in self._errors if _STATUS.search(text)]
        chosen = next(iter(named or codes), None)
        if chosen is not None:
            self._errors.remove(chosen)
        return chosen

    def _seconds(self, job: Job) -> float:
        """How long a job ran: on a cluster that is not how long it has been under way."""
        try:
            path = Path(job.benchmark or "")
            if path.stat().st_mtime >= job.started:
                return float(path.read_text().splitlines()[1].split("\t")[0])
        except (OSError, ValueError, IndexError):
            pass
        return self._clock() - job.started


def duration(seconds: float) -> str:
    """Say a length of time, for example `42 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _said(job: Job) -> list[str]:
    return [text for log in job.logs for text in log.newly_said()]


def _block(failure: Failure) -> list[str]:
    """What is said of a job that failed."""
    said = failure.said
    if said is None and failure.status in _KILLS:
        said = (
            "It was killed from outside (signal 9): by the system, as it does when memory runs "
            "out, or by somebody. If it was memory: close other programs, or run fewer jobs at "
            "once (--cores)"
        )
    elif said is None and failure.log is None:
        said = "It ended before its log was begun; what it said stands further up"
    elif said is None:
        said = "It ended without a word of its own; what libraries said is in its log"
    status = f", exit status {failure.status}" if failure.status not in {None, 1, *_KILLS} else ""
    head = f"Failed after {duration(failure.seconds)}{status}: {failure.job.name}"
    return ["", head, f"  {said}", *([f"  Log: {failure.log}"] if failure.log else [])]


def _own_words(text: str) -> str:
    """Leave of an error what was raised in words, without the place in the rule files."""
    return _TRACE.sub("", _HEAD.sub("", text)).strip()
