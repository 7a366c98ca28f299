"""Command line: `python -m realitycheck …`, installed as `realitycheck`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realitycheck.settings.run import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = argparse.ArgumentParser(prog="realitycheck", description=__doc__)
    commands = parser.add_subparsers(dest="action", required=True)
    check = commands.add_parser("check", help="check a settings file and list every fault")
    check.add_argument("file", help="settings file (YAML)")
    quote = commands.add_parser(
        "quote", help="say what the questions to vision language models would cost; asks nothing"
    )
    quote.add_argument("file", help="settings file (YAML)")
    plan = commands.add_parser(
        "plan",
        help="say how many defective and good parts prove the limits, before anyone collects them",
    )
    plan.add_argument("file", nargs="?", help="settings file (YAML): its limits and its parts")
    plan.add_argument("--max-slip", type=float, help="share of defective parts that may pass")
    plan.add_argument("--max-overkill", type=float, help="share of good parts rejected")
    plan.add_argument("--misses", type=int, default=3, help="errors to allow for; default: 3")
    plan.add_argument("--confidence", type=float, help="one-sided; default: 0.95")
    plan.add_argument(
        "--tries", type=int, default=1, help="methods, texts and thresholds to be tried; default: 1"
    )
    plan.add_argument("--nok", type=int, help="defective parts at hand")
    plan.add_argument("--ok", type=int, help="good parts at hand")
    confirm = commands.add_parser(
        "confirm", help="score one chosen method on the parts that were locked away; is recorded"
    )
    confirm.add_argument("method", help="name of the method block")
    confirm.add_argument("prompt", help="name of the prompt set; none: the method takes no prompt")
    confirm.add_argument("file", help="settings file (YAML) that it was chosen under")
    confirm.add_argument("--dataset", help="default: the one with locked parts")
    confirm.add_argument("--cores", default="all", help="for Snakemake; default: all")
    ledger = commands.add_parser(
        "ledger", help="back up, check or export the answers of vision language models"
    )
    actions = ledger.add_subparsers(dest="action", required=True)
    for action, words in (
        ("backup", "copy a ledger, also while runs write it, and check the copy"),
        ("check", "compare everything stored with its digest"),
        ("export", "write all answers as .jsonl or .parquet"),
    ):
        each = actions.add_parser(action, help=words)
        each.add_argument("ledger", help="the ledger, such as ledger/replies.sqlite")
        if action != "check":
            each.add_argument("to", help="file to write")
        else:
            each.add_argument(
                "--set-aside",
                action="store_true",
                help="take damaged replies for lost, so that they are asked and paid for again",
            )
    commands.add_parser("schema", help="print the JSON schema of the settings, for editors")
    parsed = parser.parse_args(arguments)
    if parsed.action == "schema":
        from realitycheck.settings.load import json_schema

        print(json.dumps(json_schema(), indent=2, sort_keys=True))
        return 0
    if parsed.action == "ledger":
        return _ledger(parsed)
    if parsed.action == "plan" and parsed.file is None:
        return _plan(parsed, None)
    settings = _settings(parsed.file, thoroughly=parsed.action in ("check", "confirm"))
    if settings is None:
        return 1
    if parsed.action == "confirm":
        return _confirm(parsed, settings)
    if parsed.action == "plan":
        return _plan(parsed, settings)
    return (
        _quote(parsed.file, settings) if parsed.action == "quote" else _check(parsed.file, settings)
    )


def _settings(file: str, *, thoroughly: bool) -> Settings | None:
    """Read a settings file; None, and every fault on standard error, if it has faults."""
    from realitycheck.core.settings import SettingsError
    from realitycheck.planning.checking import checked_settings
    from realitycheck.settings.file import SettingsFileError, read_settings_file
    from realitycheck.settings.load import load_settings

    try:
        raw, faults = read_settings_file(file)
        if thoroughly:
            return checked_settings(raw, files=[file], counts_parts=True)
        if faults:
            raise SettingsError(faults)
        return load_settings(raw)
    except SettingsFileError as error:
        print(error, file=sys.stderr)
    except (OSError, SettingsError) as error:
        print(f"{file}: {error}", file=sys.stderr)
    return None


def _plan(asked: argparse.Namespace, settings: Settings | None) -> int:
    from realitycheck.planning.sample_size import parts_at_hand, plan_lines
    from realitycheck.settings.run import EvaluationSettings, RequirementsSettings

    limits = settings.requirements if settings else RequirementsSettings()
    evaluation = settings.evaluation if settings else EvaluationSettings()
    at_hand = parts_at_hand(settings) if settings else {}
    if asked.nok is not None or asked.ok is not None:
        at_hand["parts at hand"] = (asked.nok or 0, asked.ok or 0)

    def given(value: float | None, default: float) -> float:
        return default if value is None else value

    try:
        if min(asked.misses, asked.nok or 0, asked.ok or 0) < 0:
            raise ValueError("numbers of parts and of misses cannot be negative")
        for name, value in (("--max-slip", asked.max_slip), ("--max-overkill", asked.max_overkill)):
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name} is a share such as 0.02, but is {value}")
        lines = list(
            plan_lines(
                max_slip_rate=given(asked.max_slip, limits.max_slip_rate),
                max_overkill_rate=given(asked.max_overkill, limits.max_overkill_rate),
                n_errors=asked.misses,
                confidence=given(asked.confidence, evaluation.confidence),
                at_hand=at_hand,
                n_tries=asked.tries,
            )
        )
    except ValueError as error:
        print(f"plan: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines))
    return 0


def _ledger(asked: argparse.Namespace) -> int:
    from realitycheck.lvlm.ledger import Ledger
    from realitycheck.lvlm.ledger_copies import backup, check, export
    from realitycheck.lvlm.ledger_locks import LedgerError

    try:
        if asked.action == "backup":
            print(f"{asked.to}: {backup(asked.ledger, asked.to).text()}")
            return 0
        if asked.action == "export":
            print(f"{asked.to}: {export(asked.ledger, asked.to)} attempts")
            return 0
        found = check(asked.ledger)
        if asked.set_aside and found.damaged:
            with Ledger(asked.ledger) as ledger:
                ledger.set_aside(found.damaged)
            print(f"{asked.ledger}: {len(found.damaged)} damaged replies set aside")
            found = check(asked.ledger)
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 1
    for fault in found.faults:
        print(f"{asked.ledger}: {fault}", file=sys.stderr)
    print(f"{asked.ledger}: {found.text()}")
    return 1 if found.faults else 0


def _confirm(asked: argparse.Namespace, settings: Settings) -> int:
    import subprocess
    from pathlib import Path

    from realitycheck.core.tries_file import TriesError
    from realitycheck.planning.confirm import ConfirmError, open_for
    from realitycheck.settings.file import read_settings_file

    try:
        found = open_for(
            settings,
            read_settings_file(asked.file)[0],
            method=asked.method,
            prompt=asked.prompt,
            dataset=asked.dataset,
        )
    except (ConfirmError, TriesError) as error:
        print(f"confirm: {error}", file=sys.stderr)
        return 1
    print("\n".join(found.said), flush=True)
    snakefile = Path(__file__).parents[1] / "Snakefile"
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(snakefile)]
    return subprocess.run(
        [*command, "--configfile", str(found.file), "--cores", asked.cores], check=False
    ).returncode


def _quote(file: str, settings: Settings) -> int:
    from realitycheck.lvlm.ledger_locks import LedgerError
    from realitycheck.planning.lvlm_cost import estimates, total

    found = []
    try:
        for run in estimates(settings):
            found.append(run)
            print("\n".join(run.lines()))
    except (OSError, ValueError, LedgerError) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return 1
    if not found:
        print(f"{file}: no method asks a vision language model")
        return 0
    print(total(found))
    targets = sorted({path for run in found for path in run.missing})
    if targets:
        print(
            "what is missing is written, and nothing asked, by: snakemake --cores all "
            f"--configfile {file} {' '.join(targets)}",
            file=sys.stderr,
        )
    return 1 if targets or any(run.is_unpriced for run in found) else 0


def _check(file: str, settings: Settings) -> int:
    from realitycheck.planning.checking import words_are_checked
    from realitycheck.planning.slow_precision import precision_warnings

    runs = settings.runs()
    counts = f"data sets: {len(settings.datasets)}, runs of methods: {len(runs)}"
    print(f"{file}: no fault; {counts}")
    for warning in precision_warnings(settings):
        print(f"{file}: warning: {warning}", file=sys.stderr)
    if not words_are_checked(settings):
        print(
            "not checked yet: whether GroundingDINO's vocabulary holds the words of the prompts; a "
            "run looks once it has fetched it, before anything is computed"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
