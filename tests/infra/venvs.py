"""Virtual environments for published programs that cannot share ours, made once and kept.

They lie in ``$SKYPORT_TEST_CACHE``, by default ``~/.cache/skyport-tests``; ``python -m
tests.infra.venvs`` makes all of them before a test needs one.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TIMEOUT = 420.0
"""Seconds that the installation may take."""


@dataclass(frozen=True)
class Published:
    """Programs as they were published.

    Parameters
    ----------
    name : str
        For people who look into the cache.
    requirements : tuple of str
        As pip takes them; other requirements are another environment.
    """

    name: str
    requirements: tuple[str, ...]

    def environment(self) -> Path:
        """The folder of an environment that has exactly what is required; made on first use."""
        wanted = "\n".join((sys.version.split()[0], *self.requirements))
        base = os.environ.get("SKYPORT_TEST_CACHE") or Path.home() / ".cache" / "skyport-tests"
        cache = Path(base) / "venvs"
        cache.mkdir(parents=True, exist_ok=True)
        folder = cache / f"{self.name}-{hashlib.sha256(wanted.encode()).hexdigest()[:12]}"
        done = folder / "complete"
        with (cache / f"{folder.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not done.exists():
                shutil.rmtree(folder, ignore_errors=True)
                _run(sys.executable, "-m", "venv", str(folder))
                pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
                _run(*pip, "--disable-pip-version-check", *self.requirements)
                done.write_text(wanted)
        return folder


SWM_CLIENTS = Published(
    "swm-clients", ("swmclient==0.1.8", "swmconsole==0.1.4", "swmjupyter==0.1.7")
)
"""The original Sky Port's clients."""

SWM_CLOUD_GATE = Published(
    "swmcloudgate",
    ("swmcloudgate==0.1.8", "azure-mgmt-resource==23.0.1", "azure-mgmt-compute==32.0.0"),
)
"""The original's cloud gate, and the newest SDK that it works with."""


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, f"{command[:4]} failed:\n{done.stdout}\n{done.stderr}"


if __name__ == "__main__":
    for published in (SWM_CLIENTS, SWM_CLOUD_GATE):
        print(published.environment())
