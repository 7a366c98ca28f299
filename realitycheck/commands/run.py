"""Run the workflow from any folder."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from realitycheck.commands.workflow import snakemake_command

HELP = "run the workflow in this folder, by Snakemake"

#: Options that say by themselves how many jobs may run at once; a profile may say so, too.
_SAYS_HOW_MANY = ("--cores", "-c", "--jobs", "-j", "--profile", "--executor", "-e")

_USAGE = "[FILE] [OPTIONS]"
_WORDS = (
    "FILE: settings file (YAML), default: the embedded demo; OPTIONS: options and targets of "
    "Snakemake, such as -n for what would run; default: --cores all"
)


def add_arguments(parser: ArgumentParser) -> None:
    """All that follows is for Snakemake, but for the settings file in the first place."""
    # No character begins an option, so that argparse leaves those of Snakemake alone.
    parser.prefix_chars = "\0"
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar=_USAGE,
        help=_WORDS,
    )


def run(asked: Namespace) -> int:
    """Become Snakemake, so that signals and the exit status are its own."""
    if asked.arguments[:1] in (["-h"], ["--help"]):
        print(f"usage: realitycheck run {_USAGE}\n\n{HELP}\n{_WORDS}")
        return 0
    command = snakemake_command(*split(asked.arguments))
    sys.stdout.flush()
    os.execv(command[0], command)


def split(arguments: Sequence[str]) -> list[str | None]:
    """The settings file, or None, and what Snakemake is told, on all cores by default."""
    has_file = bool(arguments) and not arguments[0].startswith("-")
    file, rest = (arguments[0], arguments[1:]) if has_file else (None, arguments)
    cores = [] if any(map(_says_how_many, rest)) else ["--cores", "all"]
    return [file, *cores, *rest]


def _says_how_many(argument: str) -> bool:
    name = argument.partition("=")[0]
    return name in _SAYS_HOW_MANY or (name[1:2] != "-" and name[:2] in _SAYS_HOW_MANY)
