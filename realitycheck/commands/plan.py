"""Say how many parts prove the limits."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from realitycheck.commands.reading import settings_of

HELP = "say how many defective and good parts prove the limits, before anyone collects them"


def add_arguments(parser: ArgumentParser) -> None:
    """Limits and parts come from the file, and from options, which count more."""
    parser.add_argument("file", nargs="?", help="settings file (YAML): its limits and its parts")
    parser.add_argument("--max-slip", type=float, help="share of defective parts that may pass")
    parser.add_argument("--max-overkill", type=float, help="share of good parts rejected")
    parser.add_argument("--misses", type=int, default=3, help="errors to allow for; default: 3")
    parser.add_argument("--confidence", type=float, help="one-sided; default: 0.95")
    parser.add_argument(
        "--tries", type=int, default=1, help="methods, texts and thresholds to be tried; default: 1"
    )
    parser.add_argument("--nok", type=int, help="defective parts at hand")
    parser.add_argument("--ok", type=int, help="good parts at hand")


def run(asked: Namespace) -> int:
    """Print the plan's lines."""
    from realitycheck.planning.sample_size import parts_at_hand, plan_lines
    from realitycheck.settings.run import EvaluationSettings, RequirementsSettings

    settings = settings_of(asked.file) if asked.file else None
    if asked.file and settings is None:
        return 1
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
