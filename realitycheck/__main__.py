"""Command line: `python -m realitycheck …`, installed as `realitycheck`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    parser = argparse.ArgumentParser(prog="realitycheck", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check", help="check a settings file and list every fault")
    check.add_argument("file", help="settings file (YAML)")
    commands.add_parser("schema", help="print the JSON schema of the settings, for editors")
    parsed = parser.parse_args(arguments)
    if parsed.command == "schema":
        from realitycheck.config import json_schema

        print(json.dumps(json_schema(), indent=2, sort_keys=True))
        return 0
    return _check(parsed.file)


def _check(file: str) -> int:
    import yaml

    from realitycheck.config import SettingsError, load_settings

    try:
        with open(file, encoding="utf-8") as stream:
            settings = load_settings(yaml.safe_load(stream) or {})
    except (OSError, yaml.YAMLError, SettingsError) as error:
        print(f"{file}: {error}", file=sys.stderr)
        return 1
    runs = settings.runs()
    counts = f"data sets: {len(settings.datasets)}, runs of methods: {len(runs)}"
    print(f"{file}: no fault; {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
