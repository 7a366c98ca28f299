"""What a run shows, from scripted events: lines, the bar, and how it ended."""

import io
import logging

import pytest
from snakemake.logging import LoggerManager
from snakemake.settings.types import OutputSettings
from snakemake_interface_logger_plugins.common import LogEvent

from realitycheck.core.terminal import SHOWN_FROM_LOGS, is_shown_from_logs
from realitycheck.face.events import Face, duration
from realitycheck.face.handler import show_run
from realitycheck.face.joblog import JobLog
from realitycheck.face.screen import Screen

HEAD = "2026-01-02 03:04:05,678"
KILLED = (
    'RuleException:\nCalledProcessError in file "/w/rules/4_segment.smk", line 95:\n'
    "Command 'set -euo pipefail;  python /w/.snakemake/scripts/tmp1.segment.py' "
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal; it has no size, so 80 columns are taken."""

    def isatty(self):
        return True


class Run:
    """A face, the screen before it, and a clock that is set by hand."""

    def __init__(self, tmp_path, *, terminal=False, dry_run=False):
        self.folder, self.now = tmp_path, 1000.0
        self.stream = Terminal() if terminal else io.StringIO()
        self.face = Face(dry_run=dry_run, clock=lambda: self.now)
        self.screen = Screen(self.stream, self.face, ticks=False)

    def message(self, text, *, level=logging.INFO, path="/snakemake/workflow.py", **fields):
        record = logging.LogRecord("snakemake", level, path, 1, text, None, None)
        record.__dict__.update(fields)
        self.screen.show(record)

    def event(self, event, text="", *, level=logging.INFO, **fields):
        self.message(text, level=level, event=event, **fields)

    def plan(self, total=3):
        self.event(LogEvent.WORKFLOW_STARTED)
        self.event(LogEvent.RUN_INFO, "Job stats:\n...", stats={"segment": total, "total": total})

    def log(self, number):
        return self.folder / f"{number}.log"

    def begin(self, number, name="chips: few_shot, prompt plain", rule="segment", benchmark=None):
        self.event(
            LogEvent.JOB_INFO,
            jobid=number,
            rule_name=rule,
            rule_msg=name,
            log=[str(self.log(number))] if name else [],
            benchmark=benchmark,
        )

    def write(self, number, *records):
        self.log(number).write_text("".join(f"{HEAD} {record}\n" for record in records))

    def end(self, number, done=1, total=3):
        self.event(LogEvent.JOB_FINISHED, job_id=number)
        self.event(LogEvent.PROGRESS, done=done, total=total)

    def fail(self, number, error, *, rule="segment", message=None, logs=()):
        if error:
            self.event(LogEvent.ERROR, error, level=logging.ERROR, exception="RuleException")
        log = [str(self.log(number)), *logs]
        fields = {"jobid": number, "rule_name": rule, "rule_msg": message, "log": log}
        self.event(LogEvent.JOB_ERROR, level=logging.ERROR, **fields)

    def stop(self):
        self.message("Exiting because a job execution failed. Look above", level=logging.ERROR)
        self.message("Complete log(s): /w/.snakemake/log/1.log")
        self.message("Elapsed time: 0:00:07")
        text = "WorkflowError:\nAt least one job did not complete successfully."
        self.event(LogEvent.ERROR, text, level=logging.ERROR, exception="WorkflowError")

    def close(self):
        self.screen.close()
        return self.stream.getvalue()


@pytest.fixture
def run(tmp_path):
    return Run(tmp_path)


def test_finished_run_has_a_line_per_job_and_says_where_its_record_is(run):
    """Seconds and the rule's message; target rules, which compute nothing, have none."""
    run.message("Building DAG of jobs...")
    run.plan()
    run.message("Select jobs to execute...")
    run.message("Execute 2 jobs...", event=LogEvent.JOB_STARTED, jobs=[1, 2])
    run.begin(1)
    run.begin(2, name=None, rule="tables")
    run.now += 12.4
    run.end(1)
    run.end(2, done=2)
    run.message("Updating checkpoint dependencies.")
    run.message("Report: results/report.html", path="/w/rules/common.smk")
    run.message("Complete log(s): /w/.snakemake/log/1.log")
    run.message("Elapsed time: 0:00:12")
    assert run.close().splitlines() == [
        "3 steps to do.",
        "       12 s  chips: few_shot, prompt plain",
        "Report: results/report.html",
        "Finished: 2 steps in 12 s.",
        "Full record: /w/.snakemake/log/1.log",
    ]


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("chips: few_shot, prompt plain, 0-of-1", "chips: few_shot, prompt plain"),
        ("Data set chips: align shard 0-of-1", "Data set chips: align"),
        ("Data set chips: align shard train-0-of-1", "Data set chips: align shard train-0-of-1"),
        ("Data set chips: align shard 0-of-12", "Data set chips: align shard 0-of-12"),
        ("chips: score few_shot, prompt none", "chips: score few_shot"),
    ],
)
def test_name_of_a_job_leaves_out_what_tells_nothing(run, message, shown):
    run.begin(1, name=message)
    run.end(1)
    assert run.close() == f"        0 s  {shown}\n"


def test_seconds_are_those_that_the_job_ran(run, tmp_path):
    """On a cluster a job waits; its benchmark is of the job alone, an older one of another."""
    for name in ("new", "old"):
        (tmp_path / name).write_text("s\th:m:s\n42.4\t0:00:42\n")
    run.now = (tmp_path / "new").stat().st_mtime - 1
    run.begin(1, benchmark=str(tmp_path / "new"))
    run.end(1)
    run.now += 100
    run.begin(2, benchmark=str(tmp_path / "old"))
    run.now += 7
    run.end(2)
    assert [line.split("  c")[0].strip() for line in run.close().splitlines()] == ["42 s", "7 s"]


def test_failed_job_shows_its_own_words_its_log_and_what_to_do(run):
    """The message is the log's last error, however many lines it has; the traceback stays there."""
    run.plan()
    run.begin(1)
    run.write(
        1,
        "INFO realitycheck: device: cpu",
        "ERROR realitycheck: Traceback (most recent call last):\n  File x\nDatasetError: 1 fault",
        "ERROR realitycheck: DatasetError: 1 fault\n  x.png: expected a mask; draw it",
    )
    run.now += 3
    run.fail(1, KILLED + "returned non-zero exit status 1.")
    run.message("Restored previous version of results/a (updating job failed).", level=30)
    run.stop()
    assert run.close().splitlines() == [
        "3 steps to do.",
        "     FAILED  chips: few_shot, prompt plain",
        "",
        "Failed after 3 s: chips: few_shot, prompt plain",
        "  DatasetError: 1 fault",
        "  x.png: expected a mask; draw it",
        f"  Log: {run.log(1)}",
        "",
        "Stopped: 0 of 3 steps done, 1 failed. When the cause above is mended, run again: what is "
        "finished is kept, and only the rest is computed.",
        "Full record: /w/.snakemake/log/1.log",
    ]


@pytest.mark.parametrize(
    "status", ["died with <Signals.SIGKILL: 9>.", "returned non-zero exit status 137."]
)
def test_killed_job_is_told_from_one_that_stopped_by_itself(run, status):
    """It has no words of its own; what an earlier run left in its log is not taken for them."""
    run.write(1, "ERROR realitycheck: of an earlier run")
    run.begin(1)
    run.fail(1, KILLED + status)
    run.stop()
    said = run.close()
    assert "killed from outside (signal 9)" in said and "fewer jobs at once (--cores)" in said
    assert "earlier run" not in said and "Command 'set" not in said and "Log:" not in said


def test_errors_of_two_jobs_go_to_the_right_one(run):
    """Jobs end in threads: both errors may come before both jobs are said to have failed."""
    run.begin(1, name="one", rule="detect")
    run.begin(2, name="two", rule="plot")
    of_both = [f"In rule {rule}: exit status {n}" for rule, n in (("plot", 7), ("detect", 9))]
    for text in of_both:
        run.event(LogEvent.ERROR, text, level=logging.ERROR, exception="RuleException")
    run.fail(1, None, rule="detect")
    run.fail(2, None, rule="plot")
    said = run.close()
    assert "exit status 7: two\n  It ended before its log was begun" in said
    assert "one\n  It was killed" in said


def test_error_that_names_no_exit_status_is_shown_itself(run):
    """Such as a file that a job left out."""
    run.begin(1)
    run.fail(1, "MissingOutputException in rule segment: Missing files after 5 seconds:\na.parquet")
    assert "Missing files after 5 seconds:\na.parquet" in run.close()


def test_cluster_says_why_a_job_ended(run, tmp_path):
    """The scheduler's word, and its own log where the job left none."""
    log = tmp_path / "slurm.log"
    log.write_text("oom-kill")
    run.begin(1)
    run.fail(1, None, message="SLURM-job '7' failed, status is: 'OUT_OF_MEMORY'.", logs=[str(log)])
    said = run.close()
    assert "OUT_OF_MEMORY" in said and f"Log: {log}" in said


def test_job_that_succeeds_at_the_second_attempt_has_not_failed(run):
    """Profiles send a job again that ran out of memory or time."""
    run.plan()
    run.begin(1)
    run.fail(1, KILLED + "died with <Signals.SIGKILL: 9>.")
    run.message("Trying to restart job 1.")
    run.begin(1)
    run.end(1)
    run.message("Elapsed time: 0:00:12")
    said = run.close()
    assert "      again  chips: few_shot, prompt plain\n" in said
    assert "killed" not in said and "Finished: 1 steps" in said


def test_interrupted_run_says_how_to_go_on_and_blames_no_job(run):
    """Ctrl-C reaches the jobs as well; their ends are no failures, earlier ones are."""
    run.plan()
    run.begin(1, name="real")
    run.write(1, "ERROR realitycheck: ValueError: real fault")
    run.fail(1, KILLED + "returned non-zero exit status 1.")
    run.begin(2)
    run.begin(3)
    run.fail(2, KILLED + "died with <Signals.SIGINT: 2>.")
    run.message("Terminating processes on user request, this might take some time.")
    run.fail(3, KILLED + "returned non-zero exit status 130.")
    run.stop()
    said = run.close()
    assert said.count("FAILED") == 1 and "real fault" in said and "status 130" not in said
    assert "Interrupted after 0 of 3 steps. To go on, run again: what is finished is kept" in said
    assert "Stopped" not in said


def test_interrupt_while_planning(run):
    run.event(LogEvent.ERROR, "Cancelling snakemake", level=40, exception="KeyboardInterrupt")
    assert run.close().startswith("Interrupted before the first step.")


def test_stop_of_our_own_is_shown_without_the_place_in_the_rules(run):
    """Whoever runs the workflow did not write it."""
    faults = "the settings have 2 faults:\n  - a\n  - b"
    text = f'WorkflowError in file "/w/rules/common.smk", line 28:\n{faults}'
    run.event(LogEvent.ERROR, text, level=logging.ERROR, exception="WorkflowError")
    assert run.close() == f"\n{faults}\n\n"


def test_warnings_are_shown_in_full(run):
    """Each line of them; details of files that were put back are in the log only."""
    run.message("compute.precision: slow\nhere", level=logging.WARNING, path="/w/rules/common.smk")
    run.message("Restored previous version of a", level=logging.WARNING)
    assert run.close() == "Warning: compute.precision: slow\nhere\n"


def test_answers_to_other_commands_are_shown(run):
    """--unlock and the like begin no run."""
    run.message("Building DAG of jobs...")
    run.message("Unlocked working directory.")
    assert run.close() == "Unlocked working directory.\n"


def test_nothing_to_do_is_said(run):
    run.event(LogEvent.WORKFLOW_STARTED)
    run.message("Nothing to be done (all requested files are present and up to date).")
    assert run.close() == "Nothing to be done: all results are there and up to date.\n"


def test_dry_run_shows_how_many_jobs_of_each_rule(tmp_path):
    """Once, though Snakemake says it before and after its list of jobs."""
    run = Run(tmp_path, dry_run=True)
    run.event(LogEvent.WORKFLOW_STARTED)
    table = "Job stats:\njob      count\nsegment      3\n"
    for _ in range(2):
        run.event(LogEvent.RUN_INFO, table, stats={"total": 3})
        run.begin(1)
    run.message("This was a dry-run (flag -n).")
    assert run.close() == table


def test_what_a_job_says_is_shown_at_once_and_once(run):
    """Before money is spent, what it will cost."""
    run.begin(1)
    run.write(1, "INFO realitycheck.said: at most 3 USD")
    run.screen.tick(is_line_due=False)
    assert run.stream.getvalue() == "at most 3 USD\n"
    run.write(1, "INFO realitycheck.said: at most 3 USD", "INFO realitycheck.said: 2 USD\nspent")
    run.end(1)
    assert run.close().splitlines()[:3] == ["at most 3 USD", "2 USD", "spent"]


def test_bar_has_every_job_at_work_with_its_own_progress(tmp_path):
    """Two at once do not write into each other's lines."""
    run = Run(tmp_path, terminal=True)
    run.plan(total=4)
    run.begin(1, name="one")
    run.begin(2, name="two")
    run.write(1, "INFO realitycheck: chips: images encoded: 12 of 40", "WARNING py: 3 of 4")
    run.write(2, "INFO realitycheck.lvlm.progress: a: 5 of 9 questions, 2 in flight, 0.010 USD")
    run.now += 30
    run.end(3, done=1, total=4)
    assert run.screen.bar() == [
        "[#####...............] 1 of 4 steps, about 1 min 30 s left",
        "  one, 12 of 40, 30 s",
        "  two, 5 of 9 questions, 2 in flight, 0.010 USD, 30 s",
    ]


def test_time_left_is_not_guessed_from_a_few_steps(run):
    run.plan(total=100)
    run.now += 9
    run.end(1, done=9, total=100)
    assert run.face.progress() == "9 of 100 steps"


def test_bar_never_covers_lines_nor_leaves_a_trace(tmp_path):
    """What another program writes lands where the bar begins, and stays."""
    run = Run(tmp_path, terminal=True)
    run.plan()
    run.begin(1, name="one")
    run.screen.draw()
    run.stream.write("written by a library\n")
    run.end(1)
    shown = screen_of(run.close())
    assert shown[0] == "3 steps to do."
    assert shown[1].startswith("written by a library")
    assert shown[2:] == ["        0 s  one"]


def test_lines_are_broken_between_words_on_a_terminal_only(tmp_path):
    """A path or a word is never cut, and the text below begins where the line does."""
    words, path = "  " + "word " * 30, "x" * 90
    run = Run(tmp_path, terminal=True)
    run.screen.say([words, path, ""])
    lines = run.stream.getvalue().splitlines()
    assert lines[0] == "  " + " ".join(["word"] * 15) and lines[1].startswith("  word")
    assert path in lines and lines[-1] == ""
    file = Run(tmp_path)
    file.screen.say([words, path])
    assert file.stream.getvalue() == f"{words}\n{path}\n"


def test_file_gets_no_control_characters_and_a_line_now_and_then(run):
    """A log of CI or of a cluster is read by people, too."""
    run.plan()
    run.begin(1, name="one")
    run.write(1, "INFO realitycheck: chips: images encoded: 12 of 40")
    run.screen.draw()
    run.screen.tick(is_line_due=False)
    run.now += 60
    run.screen.tick(is_line_due=True)
    said = run.close()
    assert "0 of 3 steps; at work: one, 12 of 40, 1 min\n" in said
    assert all(letter.isprintable() or letter == "\n" for letter in said)


def test_log_without_records_says_nothing(tmp_path):
    """A library may write before the job does; the log may be gone as well."""
    path = tmp_path / "a.log"
    log = JobLog(str(path))
    assert (log.exists(), log.last_stop(), log.how_far(), log.newly_said()) == (
        False,
        None,
        None,
        [],
    )
    path.write_text("Loading library 3 of 4\n")
    assert (log.exists(), log.last_stop(), log.how_far(), log.newly_said()) == (
        True,
        None,
        None,
        [],
    )


def test_closed_terminal_ends_no_run(tmp_path):
    run = Run(tmp_path)
    run.stream.close()
    run.screen.say(["a"])
    run.screen.close()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (59.4, "59 s"), (60, "1 min"), (200, "3 min 20 s"), (7500, "2 h 5 min")],
)
def test_durations_are_said_as_people_do(seconds, text):
    assert duration(seconds) == text


@pytest.fixture
def snakemakes_logger(monkeypatch):
    """A logger as Snakemake sets it up, with a log file and the terminal."""
    monkeypatch.setenv(SHOWN_FROM_LOGS, "")
    stream, file = io.StringIO(), io.StringIO()
    settings = OutputSettings(enable_file_logging=False)
    logger = logging.Logger("of a test")
    manager = LoggerManager(logger, settings)
    [handler] = logger.handlers
    handler.setStream(stream)
    logger.addHandler(logging.StreamHandler(file))
    return logger, manager, stream, file


def test_face_takes_the_terminal_and_leaves_the_log_file(snakemakes_logger):
    """Jobs are told that their logs are read; at the end Snakemake closes the face."""
    logger, manager, stream, file = snakemakes_logger
    assert show_run(logger, dry_run=False) and is_shown_from_logs()
    logger.warning("a warning")
    logger.info("Finished", extra={"event": LogEvent.WORKFLOW_STARTED})
    logger.info("a detail")
    logger.info("Elapsed time: 0:00:01")
    manager.stop()
    assert stream.getvalue() == "Warning: a warning\nFinished: 0 steps in 0 s.\n"
    assert "a detail" in file.getvalue()


def test_another_logger_keeps_the_terminal(snakemakes_logger):
    """Whoever names one with --logger gets it, and jobs show their progress themselves."""
    logger, _, _, _ = snakemakes_logger
    logger.removeHandler(logger.handlers[0])
    assert not show_run(logger, dry_run=False) and not is_shown_from_logs()
    assert len(logger.handlers) == 1


def screen_of(text):
    """What a terminal shows in the end, for the few control characters that are used."""
    rows, row, column = [""], 0, 0
    while text:
        if text.startswith("\x1b["):
            end = next(i for i, letter in enumerate(text) if letter.isalpha())
            number, letter, text = text[2:end], text[end], text[end + 1 :]
            if letter == "A":
                row -= int(number)
            else:
                assert letter == "J", letter
                rows[row:] = [rows[row][:column]]
            continue
        letter, text = text[0], text[1:]
        if letter == "\r":
            column = 0
        elif letter == "\n":
            row, column = row + 1, 0
            rows += [""] * (row + 1 - len(rows))
        else:
            rows[row] = rows[row][:column].ljust(column) + letter + rows[row][column + 1 :]
            column += 1
    return rows[:-1] if rows[-1] == "" else rows
