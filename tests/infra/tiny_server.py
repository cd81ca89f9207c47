"""Stands in for a notebook server where Jupyter is not the point: up in a tenth of a second.

It listens where JUPYTERHUB_SERVICE_URL (or SERVER_URL) says, answers every path with its process
id and start, and adds a line to ~/starts when it starts. Arguments: ``--wait FILE`` does not
listen before the file exists, ``--exit STATUS`` prints a line and ends at once.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

parser = argparse.ArgumentParser()
parser.add_argument("--wait", type=Path)
parser.add_argument("--exit", type=int)
arguments, _ = parser.parse_known_args()

with Path.home().joinpath("starts").open("a") as starts:
    starts.write(f"{os.getpid()}\n")

if arguments.exit is not None:
    print("the last words of the server", flush=True)
    sys.exit(arguments.exit)
while arguments.wait and not arguments.wait.exists():
    time.sleep(0.05)

ANSWER = f"{os.uname().nodename} {os.getpid()} {time.time()}\n".encode()


class Handler(BaseHTTPRequestHandler):
    """The same answer to everything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)


url = urlsplit(os.environ.get("JUPYTERHUB_SERVICE_URL") or os.environ["SERVER_URL"])
ThreadingHTTPServer((url.hostname or "", url.port or 80), Handler).serve_forever()
