"""Reading the settings file that a command was given."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realitycheck.settings.run import Settings


def add_file(parser: ArgumentParser, *, words: str = "settings file (YAML)") -> None:
    """Add the argument `file`."""
    parser.add_argument("file", help=words)


def settings_of(file: str, *, thoroughly: bool = False) -> Settings | None:
    """Read a settings file; None, and every fault on standard error, if it has faults.

    Args:
        file: Its path.
        thoroughly: Whether folders, images and names are looked at too, as before a run.
    """
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
