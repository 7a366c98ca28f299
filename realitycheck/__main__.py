"""Command line: `python -m realitycheck …`, installed as `realitycheck`."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from realitycheck.commands.registry import COMMANDS


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = argparse.ArgumentParser(prog="realitycheck", description=__doc__)
    commands = parser.add_subparsers(dest="action", required=True)
    for name, module in COMMANDS.items():
        command = importlib.import_module(module)
        its_parser = commands.add_parser(name, help=command.HELP, description=command.__doc__)
        command.add_arguments(its_parser)
        its_parser.set_defaults(run=command.run)
    asked = parser.parse_args(arguments)
    return asked.run(asked)


if __name__ == "__main__":
    sys.exit(main())
