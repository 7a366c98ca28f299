"""The commands by their names.

A command is a module with `HELP`, a line on what it does; `add_arguments(parser)`; and
`run(asked)`, which returns the exit status. Modules import what is heavy inside `run` only, since
all are imported at each call.
"""

from __future__ import annotations

COMMANDS = {
    name: f"realitycheck.commands.{name}"
    for name in ("run", "check", "quote", "plan", "confirm", "ledger", "schema")
}
