"""Scripts for tests."""

from __future__ import annotations

from typing import Any

import pytest

from skyport_core.jobscript import ScriptError, complete
from skyport_core.wire import JobRequest

PEER = "192.0.2.7"


def script(*lines: str) -> str:
    return "\n".join(("#!/bin/sh", *lines, "date", ""))


def completed(*lines: str, peer: str | None = PEER, **request: Any) -> JobRequest:
    return complete(JobRequest(script=script(*lines), **request), peer=peer, sites=("lab",))


def refusal(*lines: str, peer: str | None = PEER, **request: Any) -> str:
    with pytest.raises(ScriptError) as caught:
        completed(*lines, peer=peer, **request)
    return str(caught.value)
