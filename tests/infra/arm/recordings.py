"""Recorded conversations with Azure, out of the source package of its SDK."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PACKAGE = "azure-mgmt-compute"
VERSION = "30.0.0"
_POLL = re.compile(r"/locations/[^/]+/(?:operations|DiskOperations)/", re.IGNORECASE)
_FOLLOWING = ("azure-asyncoperation", "location", "azure-asyncnotification")


@dataclass
class Exchange:
    """One request, its answer, and how its operation was followed.

    Attributes
    ----------
    method, path, request
        What was sent; the path has its query.
    status, headers, body
        The answer; header names are in lower case.
    polls
        Statuses of the operation one after the other, repetitions left out.
    result
        Status and body of the last look at the operation's result, None when nobody looked.
    """

    method: str
    path: str
    request: Any
    status: int
    headers: dict[str, str]
    body: Any
    polls: list[str] = field(default_factory=list)
    result: tuple[int, Any] | None = None

    def following(self) -> set[str]:
        """Which headers say how to follow the operation."""
        return {name for name in _FOLLOWING if name in self.headers}


def source_package() -> Path | None:
    """The SDK's source package, kept in a cache; None when it cannot be fetched."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "skyport-tests"
    archive = folder / f"{PACKAGE}-{VERSION}.zip"
    if archive.exists():
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as fresh:
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", PACKAGE]
        command = [sys.executable, "-m", "pip", "download", *options, f"{PACKAGE}=={VERSION}"]
        done = subprocess.run([*command, "--dest", fresh], capture_output=True, check=False)
        made = Path(fresh) / archive.name
        if done.returncode or not made.exists():
            return None
        made.replace(archive)
    return archive


def recording(archive: Path, name: str) -> list[Exchange]:
    """A recording of the package, such as "vm.pyTestMgmtComputetest_compute_vm"."""
    place = f"{PACKAGE}-{VERSION}/tests/recordings/test_mgmt_compute_{name}.json"
    with zipfile.ZipFile(archive) as package:
        entries = json.loads(package.read(place))["Entries"]
    exchanges: list[Exchange] = []
    for entry in entries:
        parts = urlsplit(entry["RequestUri"])
        path = f"{parts.path}?{parts.query}"
        if "/subscriptions/" not in path:
            continue
        headers = {key.lower(): value for key, value in entry["ResponseHeaders"].items()}
        body = entry["ResponseBody"] or None
        if not _POLL.search(path):
            sent = entry["RequestBody"]
            status = entry["StatusCode"]
            made = Exchange(entry["RequestMethod"], path, sent, status, headers, body)
            exchanges.append(made)
        elif "monitor=true" in path:
            exchanges[-1].result = (entry["StatusCode"], body)
        elif isinstance(body, dict) and body["status"] not in exchanges[-1].polls[-1:]:
            exchanges[-1].polls.append(body["status"])
    return exchanges
