"""Have a script run by the process that has the large packages imported; stands in for Python.

Started by Snakemake as `client.py SCRIPT`: hands arguments, folder, environment and the three
standard files to the server whose socket REALITYCHECK_JOBS names, and ends as the script ends.
"""

import json
import os
import socket
import sys

with socket.socket(socket.AF_UNIX) as server:
    server.connect(os.environ["REALITYCHECK_JOBS"])
    order = {"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}
    content = json.dumps(order).encode()
    socket.send_fds(server, [len(content).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(content)
    status = server.recv(16)
sys.exit(int(status or 1))
