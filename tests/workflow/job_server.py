"""Run scripts of jobs in forks of a process that has the large packages imported.

A job of a test takes a second or two, and starting Python with torch and pandas takes longer. This
has them imported, and nothing of the project. What is measured, killed or watched starts Python as
users do, and so does the first job of each kind in the runs whose imports are held.
"""

import gc
import json
import os
import runpy
import signal
import socket
import sys
import threading
import traceback
from pathlib import Path

#: Imported before the first fork.
PACKAGES = (
    *("cv2", "matplotlib.backends.backend_agg", "numpy", "pandas", "PIL.Image", "pyarrow.parquet"),
    *("pycocotools.mask", "pydantic", "scipy.ndimage", "scipy.optimize", "scipy.special", "torch"),
    "snakemake.script",
)


def serve(listener):
    """Take jobs until the socket is closed."""
    for name in PACKAGES:
        __import__(name)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # handlers are not waited for
    while True:
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            handle(client)
        client.close()


def handle(client):
    """Run one job in a fork of its own and tell the client how it ended."""
    length, files, _, _ = socket.recv_fds(client, 8, 3)
    content = b""
    while len(content) < int.from_bytes(length, "big"):
        content += client.recv(1 << 16)
    job = os.fork()
    if job == 0:
        client.close()
        run(json.loads(content), files)
    for file in files:
        os.close(file)
    code = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
    client.sendall(str(code if code >= 0 else 128 - code).encode())
    os._exit(0)


def is_first(script, folder):
    """Whether a job is the first of its script and method, or encoder; says so once a folder."""
    job = {"__file__": script}
    exec(Path(script).read_text(encoding="utf-8").partition("preamble end")[0], job)
    job = job["snakemake"]
    what = job.params.get("encoder") or job.wildcards.get("method") or ""
    kind = f"{Path(script).name.partition('.')[2]}.{what}"
    try:
        (folder / f"{kind}.began").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def run(order, files):
    """Become the job, and end as it ends."""
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    for ours, theirs in zip(files, (0, 1, 2), strict=True):
        os.dup2(ours, theirs)
        os.close(ours)
    sys.argv = order["arguments"]
    if (noted := os.environ.get("REALITYCHECK_IMPORTS")) and is_first(sys.argv[0], Path(noted)):
        os.execv(sys.executable, [sys.executable, *sys.argv])
    places = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:1] = [os.path.dirname(sys.argv[0]), *filter(None, places)]
    code = 0
    try:
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()  # waits for threads, as the end of Python does
    for file in (sys.stdout, sys.stderr):
        file.flush()
    os._exit(code)  # to take all packages apart would take longer than the job
