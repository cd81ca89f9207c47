"""What a machine must have for a test; without it the test is skipped and says why.

With SKYPORT_REQUIRE_ALL=1 (set where everything must be there) a skipped test fails the run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

REQUIRE_ALL = os.environ.get("SKYPORT_REQUIRE_ALL") == "1"


def _missing(*programs: str) -> list[str]:
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [program for program in programs if not shutil.which(program, path=path)]


def _node_needs() -> str:
    if os.geteuid() != 0:
        return "real nodes need root (network namespaces)"
    missing = _missing("sshd", "ip", "nft", "tc", "nsenter", "unshare", "setpriv")
    return f"real nodes need {', '.join(missing)}" if missing else ""


def _browser_needs() -> str:
    return "" if Path("/usr/bin/chromium").exists() else "needs /usr/bin/chromium"


needs_nodes = pytest.mark.skipif(bool(_node_needs()), reason=_node_needs() or "never")
"""Mark of tests that use :class:`tests.infra.nodes.Fabric`."""

needs_browser = pytest.mark.skipif(bool(_browser_needs()), reason=_browser_needs() or "never")
"""Mark of tests that use :func:`tests.infra.browser.chromium`."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
needs_sshd = pytest.mark.skipif(bool(_missing("sshd")), reason="needs OpenSSH's sshd")
