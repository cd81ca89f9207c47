"""Requests that ARM makes itself: the parts of a deployment, the contents of a deleted group."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
import re
from dataclasses import replace
from typing import Any

from tests.infra.arm.operations import Operation
from tests.infra.arm.router import Answer, ArmError, Call, Router

_OPERATION = re.compile(r"/operation\w*/([0-9a-f-]{36})", re.IGNORECASE)


@functools.lru_cache(maxsize=1)
def _router() -> Router:
    from tests.infra.arm.app import MODULES, router_of

    return router_of(MODULES)


async def dispatch(call: Call, method: str, path: str, body: Any = None) -> Answer:
    """Do another request on behalf of ``call``'s caller.

    Returns
    -------
    Answer
        What its handler says.

    Raises
    ------
    ArmError
        It was refused.
    """
    route, params, _ = _router().find(method, path)
    if route is None:
        raise ArmError(
            404, "InvalidResourceType", f"The resource type of '{path}' could not be found."
        )
    inner = replace(
        call,
        method=method,
        path=path,
        kind=route.kind,
        params=params,
        query={"api-version": call.option("api-version")},
        headers={"Content-Type": "application/json"},
        body=copy.deepcopy(body),
        raw=json.dumps(body).encode() if body is not None else b"",
        fault=None,
    )
    inner.fault = call.arm.faults.take(inner)
    if inner.fault is not None and inner.fault.when == "before":
        raise inner.fault.error()
    call.arm.rights.check(inner)
    return await route.handler(inner)


def operation_of(call: Call, answer: Answer) -> Operation | None:
    """The long-running operation that an answer began; None when all is done."""
    headers = {key.lower(): value for key, value in answer.headers.items()}
    url = headers.get("azure-asyncoperation") or headers.get("location") or ""
    match = _OPERATION.search(url)
    return call.arm.operations.get(match.group(1)) if match else None


async def settle(call: Call, answer: Answer) -> None:
    """Return when what an answer began has ended; :class:`ArmError` when it failed."""
    operation = operation_of(call, answer)
    if operation is None or operation.task is None:
        return
    await asyncio.wait([operation.task])
    if operation.error is not None:
        error = operation.error
        raise ArmError(409, error["code"], error["message"])
