"""Scripts for tests."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from skyport_core.jobscript import ScriptError, understand
from skyport_core.jobscript.completion import Request
from skyport_core.wire import JobRequest

PEER = "192.0.2.7"


def script(*lines: str) -> str:
    return "\n".join(("#!/bin/sh", *lines, "date", ""))


def complete(request: Request, *, peer: str | None, sites: Collection[str] = ()) -> Request:
    return understand(request, peer=peer, sites=sites).request


def completed(*lines: str, peer: str | None = PEER, **request: Any) -> JobRequest:
    return complete(JobRequest(script=script(*lines), **request), peer=peer, sites=("lab",))


def refusal(*lines: str, peer: str | None = PEER, **request: Any) -> str:
    with pytest.raises(ScriptError) as caught:
        completed(*lines, peer=peer, **request)
    return str(caught.value)
