"""Run Snakemake again and again without importing it each time, which takes longer than most plans.

Reads one order a line from stdin: arguments, folder, environment and the file for what is said, as
JSON. Each is what `python -m snakemake` would do, in a fork of this process, which has imported
Snakemake and its plugins and nothing of the project. Answers with the exit status, a line each.
"""

import json
import os
import runpy
import signal
import sys

import smart_open  # noqa: F401  # as all that follows, only so that it is there
import snakemake.cli
import snakemake_logger_plugin_rich  # noqa: F401

#: Seconds after which a run is ended.
LIMIT_S = 600


def run(order):
    """Become a Snakemake of its own; ends as it ends."""
    signal.alarm(LIMIT_S)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(ours, theirs)
    sys.argv = ["snakemake", *order["arguments"]]
    added = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:1] = [order["folder"], *added]
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)


def main():
    """Take orders until stdin ends."""
    snakemake.cli.get_argument_parser()  # imports the plugins
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            run(json.loads(line))
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
