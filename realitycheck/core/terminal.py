"""Say something to whoever watches a run, from within one of its jobs.

Where a run has a face (`realitycheck.face`), that reads the logs of the jobs, and they write
nothing else: two jobs at once would write into each other's lines.
"""

import logging
import os
import sys

#: Set by the run, for its jobs.
SHOWN_FROM_LOGS = "REALITYCHECK_SHOWN_FROM_LOGS"

_said = logging.getLogger("realitycheck.said")


def is_shown_from_logs() -> bool:
    """Whether the terminal shows what the logs of the jobs say."""
    return bool(os.environ.get(SHOWN_FROM_LOGS))


def say(text: str) -> None:
    """Tell whoever watches the terminal, and the log."""
    _said.info(text)
    if not is_shown_from_logs():
        print(text, file=sys.stderr, flush=True)
