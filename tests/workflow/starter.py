"""Run Snakemake again and again without importing it each time, which takes longer than most plans.

Reads one order a line from stdin: arguments, folder, environment and the file for what is said, as
JSON. Each is what `python -m snakemake` would do, in a fork of this process, which has imported
Snakemake and its plugins and nothing of the project. Answers with the exit status, a line each.
"""

import json
import os
import runpy
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

import smart_open  # noqa: F401  # as all that follows, only so that it is there
import snakemake.cli
from job_server import serve

#: Seconds after which a run is ended.
LIMIT_S = 600
#: What Snakemake starts in place of Python.
CLIENT = """#!/bin/sh
exec {python} -ISE {client} "$@"
"""


def run(order, socket_path):
    """Become a Snakemake of its own; ends as it ends."""
    signal.alarm(LIMIT_S)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    said = os.open(order["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for ours, theirs in ((nothing, 0), (said, 1), (said, 2)):
        os.dup2(ours, theirs)
    os.environ["REALITYCHECK_JOBS"] = str(socket_path)
    sys.executable = str(socket_path.with_name("python"))
    sys.argv = ["snakemake", *order["arguments"]]
    added = [place for place in os.environ.get("PYTHONPATH", "").split(os.pathsep) if place]
    sys.path[:1] = [order["folder"], *added]
    runpy.run_module("snakemake", run_name="__main__", alter_sys=True)


def serve_jobs(socket_path):
    """Start the process that runs scripts, and write what Snakemake starts for each of them."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(socket_path))
    listener.listen()
    server = os.fork()
    if server == 0:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # orders are not for it
        serve(listener)
    listener.close()
    stand_in = socket_path.with_name("python")
    client = Path(__file__).with_name("client.py")
    stand_in.write_text(CLIENT.format(python=sys.executable, client=client), encoding="utf-8")
    stand_in.chmod(0o755)
    return server


def main():
    """Take orders until stdin ends."""
    snakemake.cli.get_argument_parser()  # imports the plugins
    folder = Path(tempfile.mkdtemp())  # deleted here alone, not where a fork ends
    server = serve_jobs(folder / "jobs")
    for line in sys.stdin:
        if (child := os.fork()) == 0:
            run(json.loads(line), folder / "jobs")
            sys.exit()
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    os.kill(server, signal.SIGKILL)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
