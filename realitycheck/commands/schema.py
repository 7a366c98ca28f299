"""Print the JSON schema of the settings."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace

HELP = "print the JSON schema of the settings, for editors"


def add_arguments(parser: ArgumentParser) -> None:
    """It takes none."""


def run(asked: Namespace) -> int:
    """Print it."""
    from realitycheck.settings.load import json_schema

    print(json.dumps(json_schema(), indent=2, sort_keys=True))
    return 0
