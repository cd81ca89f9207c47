"""Virtual environments for published programs that cannot share ours, made once and kept.

They lie in ``$SKYPORT_TEST_CACHE``, by default ``~/.cache/skyport-tests``.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

TIMEOUT = 420.0
"""Seconds that the installation may take."""


def published(name: str, *requirements: str) -> Path:
    """The folder of an environment that has exactly what is required.

    Parameters
    ----------
    name : str
        For people who look into the cache.
    *requirements : str
        As pip takes them; other requirements are another environment.
    """
    wanted = "\n".join((sys.version.split()[0], *requirements))
    base = os.environ.get("SKYPORT_TEST_CACHE") or Path.home() / ".cache" / "skyport-tests"
    cache = Path(base) / "venvs"
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"{name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
    done = folder / "complete"
    with (cache / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _run(sys.executable, "-m", "venv", str(folder))
            pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            _run(*pip, "--disable-pip-version-check", *requirements)
            done.write_text(wanted)
    return folder


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, f"{command[:4]} failed:\n{done.stdout}\n{done.stderr}"
