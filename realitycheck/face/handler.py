"""Put the face of a run in the place of Snakemake's own words."""

import logging
import os

from realitycheck.core.terminal import SHOWN_FROM_LOGS
from realitycheck.face.events import Face
from realitycheck.face.screen import Screen

#: What Snakemake calls its handler for the terminal; there is none where `--logger` names another.
_SNAKEMAKES = "DefaultStreamHandler"


class FaceHandler(logging.Handler):
    """Gives each log record to the screen, and at the end its last words."""

    def __init__(self, screen: Screen):
        super().__init__()
        self._screen = screen

    def emit(self, record: logging.LogRecord) -> None:
        """Show what a record says."""
        try:
            self._screen.show(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Say how the run ended; Snakemake closes its handlers, when it is done, more than once."""
        self._screen.close()
        super().close()


def show_run(logger: logging.Logger, *, dry_run: bool) -> bool:
    """Show a run by its face, in place of Snakemake's handler for the terminal; the log file stays.

    A plugin of Snakemake's would not do: it finds none in an editable installation, unless that
    puts the whole folder on the module path, and then jobs would import that folder's code,
    whatever workflow they belong to.

    Args:
        logger: Snakemake's logger.
        dry_run: Whether the run only plans.

    Returns:
        Whether the terminal was Snakemake's, and is the face's now.
    """
    for handler in list(logger.handlers):
        if handler.name == _SNAKEMAKES and isinstance(handler, logging.StreamHandler):
            logger.removeHandler(handler)
            logger.addHandler(FaceHandler(Screen(handler.stream, Face(dry_run=dry_run))))
            os.environ[SHOWN_FROM_LOGS] = "1"
            return True
    return False
