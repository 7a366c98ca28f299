"""Say what the questions to vision language models would cost."""

from __future__ import annotations

import sys
from argparse import Namespace

from realitycheck.commands.reading import add_file as add_arguments
from realitycheck.commands.reading import settings_of

HELP = "say what the questions to vision language models would cost; asks nothing"

__all__ = ["HELP", "add_arguments", "run"]


def run(asked: Namespace) -> int:
    """Print the estimate of each run of a method, and their sum."""
    from realitycheck.lvlm.ledger_locks import LedgerError
    from realitycheck.planning.lvlm_cost import estimates, total

    if (settings := settings_of(asked.file)) is None:
        return 1
    found = []
    try:
        for estimate in estimates(settings):
            found.append(estimate)
            print("\n".join(estimate.lines()))
    except (OSError, ValueError, LedgerError) as error:
        print(f"{asked.file}: {error}", file=sys.stderr)
        return 1
    if not found:
        print(f"{asked.file}: no method asks a vision language model")
        return 0
    print(total(found))
    targets = sorted({path for estimate in found for path in estimate.missing})
    if targets:
        print(
            "what is missing is written, and nothing asked, by: snakemake --cores all "
            f"--configfile {asked.file} {' '.join(targets)}",
            file=sys.stderr,
        )
    return 1 if targets or any(estimate.is_unpriced for estimate in found) else 0
