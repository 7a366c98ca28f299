"""Check a settings file."""

from __future__ import annotations

import sys
from argparse import Namespace

from realitycheck.commands.reading import add_file as add_arguments
from realitycheck.commands.reading import settings_of

HELP = "check a settings file and list every fault"

__all__ = ["HELP", "add_arguments", "run"]


def run(asked: Namespace) -> int:
    """Say how much would run, or what is wrong."""
    from realitycheck.planning.checking import words_are_checked
    from realitycheck.planning.slow_precision import precision_warnings

    if (settings := settings_of(asked.file, thoroughly=True)) is None:
        return 1
    counts = f"data sets: {len(settings.datasets)}, runs of methods: {len(settings.runs())}"
    print(f"{asked.file}: no fault; {counts}")
    for warning in precision_warnings(settings):
        print(f"{asked.file}: warning: {warning}", file=sys.stderr)
    if not words_are_checked(settings):
        print(
            "not checked yet: whether GroundingDINO's vocabulary holds the words of the prompts; a "
            "run looks once it has fetched it, before anything is computed"
        )
    return 0
