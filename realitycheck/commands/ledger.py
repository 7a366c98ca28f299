"""Back up, check or export the answers of vision language models."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

HELP = "back up, check or export the answers of vision language models"


def add_arguments(parser: ArgumentParser) -> None:
    """One of three actions, and the ledger."""
    actions = parser.add_subparsers(dest="action", required=True)
    for action, words in (
        ("backup", "copy a ledger, also while runs write it, and check the copy"),
        ("check", "compare everything stored with its digest"),
        ("export", "write all answers as .jsonl or .parquet"),
    ):
        each = actions.add_parser(action, help=words)
        each.add_argument("ledger", help="the ledger, such as ledger/replies.sqlite")
        if action != "check":
            each.add_argument("to", help="file to write")
        else:
            each.add_argument(
                "--set-aside",
                action="store_true",
                help="take damaged replies for lost, so that they are asked and paid for again",
            )


def run(asked: Namespace) -> int:
    """Do it, and say what was found."""
    from realitycheck.lvlm.ledger import Ledger
    from realitycheck.lvlm.ledger_copies import backup, check, export
    from realitycheck.lvlm.ledger_locks import LedgerError

    try:
        if asked.action == "backup":
            print(f"{asked.to}: {backup(asked.ledger, asked.to).text()}")
            return 0
        if asked.action == "export":
            print(f"{asked.to}: {export(asked.ledger, asked.to)} attempts")
            return 0
        found = check(asked.ledger)
        if asked.set_aside and found.damaged:
            with Ledger(asked.ledger) as ledger:
                ledger.set_aside(found.damaged)
            print(f"{asked.ledger}: {len(found.damaged)} damaged replies set aside")
            found = check(asked.ledger)
    except LedgerError as error:
        print(error, file=sys.stderr)
        return 1
    for fault in found.faults:
        print(f"{asked.ledger}: {fault}", file=sys.stderr)
    print(f"{asked.ledger}: {found.text()}")
    return 1 if found.faults else 0
