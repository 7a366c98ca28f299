"""Command line: `python -m realitycheck …`, installed as `realitycheck`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realitycheck.config import Settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = argparse.ArgumentParser(prog="realitycheck", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check a settings file and list every fault")
    check.add_argument("file", help="settings file (YAML)")
    quote = commands.add_parser(
        "quote", help="say what the questions to vision language models would cost; asks nothing"
    )
    quote.add_argument("file", help="settings file (YAML)")
    commands.add_parser("schema", help="print the JSON schema of the settings, for editors")
    parsed = parser.parse_args(arguments)
    if parsed.command == "schema":
        from realitycheck.config import json_schema

        print(json.dumps(json_schema(), indent=2, sort_keys=True))
        return 0
    settings = _settings(parsed.file)
    if settings is None:
        return 1
    return (
        _quote(parsed.file, settings)
        if parsed.command == "quote"
        else _check(parsed.file, settings)
    )


def _settings(file: str) -> Settings | None:
    """Read a settings file; None, and every fault on standard error, if it has faults."""
    import yaml

    from realitycheck.config import SettingsError, load_settings

    try:
        with open(file, encoding="utf-8") as stream:
            return load_settings(yaml.safe_load(stream) or {})
    except (OSError, yaml.YAMLError, SettingsError) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return None


def _quote(file: str, settings: Settings) -> int:
    from realitycheck.quoting import quotes, total

    found = []
    try:
        for run in quotes(settings):
            found.append(run)
            print("\n".join(run.lines()))
    except (OSError, ValueError) as error:
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
    return 1 if targets else 0


def _check(file: str, settings: Settings) -> int:
    runs = settings.runs()
    counts = f"data sets: {len(settings.datasets)}, runs of methods: {len(runs)}"
    print(f"{file}: no fault; {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
