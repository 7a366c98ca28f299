"""Score one chosen method on the parts that were locked away."""

from __future__ import annotations

import subprocess
import sys
from argparse import ArgumentParser, Namespace

from realitycheck.commands.reading import add_file, settings_of

HELP = "score one chosen method on the parts that were locked away; is recorded"


def add_arguments(parser: ArgumentParser) -> None:
    """The method, its prompt set and the settings."""
    parser.add_argument("method", help="name of the method block")
    parser.add_argument("prompt", help="name of the prompt set; none: the method takes no prompt")
    add_file(parser, words="settings file (YAML) that it was chosen under")
    parser.add_argument("--dataset", help="default: the one with locked parts")
    parser.add_argument("--cores", default="all", help="for Snakemake; default: all")


def run(asked: Namespace) -> int:
    """Open the parts for the method and run the workflow on them."""
    from realitycheck.commands.workflow import snakemake_command
    from realitycheck.core.tries_file import TriesError
    from realitycheck.planning.confirm import ConfirmError, open_for
    from realitycheck.settings.file import read_settings_file

    if (settings := settings_of(asked.file, thoroughly=True)) is None:
        return 1
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
    command = snakemake_command(str(found.file), "--cores", asked.cores)
    return subprocess.run(command, check=False).returncode
