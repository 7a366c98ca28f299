"""Starting Snakemake on the workflow that belongs to this package."""

from __future__ import annotations

import sys

from realitycheck.core.provenance import WORKFLOW


def snakemake_command(file: str | None, *arguments: str) -> list[str]:
    """The command that runs Snakemake on the workflow.

    Args:
        file: Settings file; None: the embedded demo.
        arguments: Options and targets of Snakemake.
    """
    # --configfile takes all that follows up to the next option, targets as well.
    settings = [] if file is None else ["--configfile", file]
    snakefile = ["--snakefile", str(WORKFLOW / "Snakefile")]
    return [sys.executable, "-m", "snakemake", *settings, *snakefile, *arguments]
