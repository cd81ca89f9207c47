"""Long-running operations: their table, their headers, how long they take."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.infra.arm.backends import BootFailed
from tests.infra.arm.clock import Clock, stamp
from tests.infra.arm.faults import Fault
from tests.infra.arm.router import Answer, ArmError, Call, Router

log = logging.getLogger(__name__)

Work = Callable[[], Awaitable[Any]]


class Durations:
    """How long operations take at least, in seconds, by kind ("virtualMachines.put").

    Parameters
    ----------
    seconds
        One number, or several to draw from, for each kind; others take no time.
    seed
        Makes the draws repeatable.
    scale
        Multiplies all.
    """

    def __init__(
        self,
        seconds: Mapping[str, float | Sequence[float]] | None = None,
        *,
        seed: int = 0,
        scale: float = 1.0,
    ) -> None:
        self._seconds = {kind.lower(): value for kind, value in (seconds or {}).items()}
        self._random = random.Random(seed)
        self.scale = scale

    @classmethod
    def recorded(cls, data: Path, *, seed: int = 0, scale: float = 1.0) -> Durations:
        """Draw from what recordings of Azure show (``data`` is the data folder)."""
        seconds: dict[str, list[float]] = {}
        for row in json.loads((data / "azure" / "op_durations.json").read_text()):
            _, method, type_, action, http, took, status, _ = row
            whole = type_.count("/") == 1 and (method != "PUT" or http == 201)
            if whole and status == "Succeeded" and took is not None:
                kind = f"{type_.split('/')[1]}.{action or method.lower()}"
                seconds.setdefault(kind, []).append(float(took))
        return cls(seconds, seed=seed, scale=scale)

    def draw(self, kind: str) -> float:
        """Seconds for one operation."""
        value = self._seconds.get(kind.lower(), 0.0)
        if not isinstance(value, (int, float)):
            value = self._random.choice(value)
        return float(value) * self.scale


@dataclass
class Operation:
    """One long-running operation.

    Attributes
    ----------
    id
        A UUID, its name.
    kind
        "virtualMachines.put".
    provider, location
        Where its URL is.
    resource_id
        What it works on.
    status
        "InProgress", "Succeeded", "Failed" or "Canceled".
    started, ended
        Seconds since the epoch.
    error
        ``{"code", "message"}`` of a failed one.
    output
        What it brought; None for nothing.
    """

    id: str
    kind: str
    provider: str
    location: str
    resource_id: str
    started: float
    key: str = field(default_factory=lambda: str(uuid.uuid4()))
    status: str = "InProgress"
    ended: float | None = None
    error: dict[str, Any] | None = None
    output: Any = None
    task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.status == "InProgress"

    def body(self) -> dict[str, Any]:
        """What its URL shows, in its provider's words."""
        body: dict[str, Any] = {"status": self.status}
        if self.provider == "Microsoft.Compute":
            body = {"startTime": stamp(self.started), **body, "name": self.id}
            if self.ended is not None:
                body["endTime"] = stamp(self.ended)
            if self.output is not None and self.status == "Succeeded":
                body["properties"] = {"output": self.output}
        if self.error is not None:
            body["error"] = self.error
        return body


class Operations:
    """The table of operations.

    Parameters
    ----------
    clock
        Tells start and end, and how long they take.
    durations
        How long they take at least; by default no time.
    """

    def __init__(self, clock: Clock, durations: Durations | None = None) -> None:
        self.clock = clock
        self.durations = durations or Durations()
        self._table: dict[str, Operation] = {}
        self._running: dict[str, Operation] = {}

    def get(self, operation_id: str) -> Operation | None:
        """An operation by its UUID."""
        return self._table.get(operation_id.lower())

    def on(self, resource_id: str) -> Operation | None:
        """The operation that runs on a resource; None when there is none."""
        return self._running.get(resource_id.lower())

    def all(self) -> list[Operation]:
        """All operations, oldest first."""
        return list(self._table.values())

    def start(
        self,
        call: Call,
        resource_id: str,
        location: str,
        *,
        work: Work | None = None,
        finish: Callable[[], Any] | None = None,
        fail: Callable[[dict[str, Any]], None] | None = None,
        provider: str = "Microsoft.Compute",
    ) -> Operation:
        """Begin an operation; it goes on whether or not the client looks after it.

        Parameters
        ----------
        call
            What asked for it; a fault it carries strikes here.
        resource_id, location, provider
            What it works on and where its URL is.
        work
            Runs at once. Its :class:`ArmError` or :class:`BootFailed` fails the operation.
        finish
            Runs when the work is done and the operation's time is over; what it returns is the
            operation's output.
        fail
            Told the error of a failed operation.
        """
        operation = Operation(
            str(uuid.uuid4()), call.kind, provider, location, resource_id, self.clock.time()
        )
        self._table[operation.id] = self._running[resource_id.lower()] = operation
        operation.task = asyncio.get_running_loop().create_task(
            self._run(operation, call.fault, work, finish, fail)
        )
        return operation

    async def _run(
        self,
        operation: Operation,
        fault: Fault | None,
        work: Work | None,
        finish: Callable[[], Any] | None,
        fail: Callable[[dict[str, Any]], None] | None,
    ) -> None:
        seconds = self.durations.draw(operation.kind)
        error: dict[str, Any] | None = None
        try:
            if fault is not None and fault.when == "slow":
                seconds += fault.seconds
            if fault is not None and fault.when == "lro":
                await self._wait(operation, fault.seconds)
                raise ArmError(fault.status, fault.code, fault.message)
            if fault is not None and fault.when == "lie":
                await self._wait(operation, seconds)
            else:
                if work is not None:
                    await work()
                await self._wait(operation, seconds)
                operation.output = finish() if finish is not None else None
        except ArmError as failure:
            error = failure.error()
        except BootFailed as failure:
            error = {"code": failure.code, "message": failure.message}
        except asyncio.CancelledError:
            self._end(operation, operation.status)
            raise
        except Exception:
            log.exception("operation %s on %s broke", operation.kind, operation.resource_id)
            error = {"code": "InternalServerError", "message": "An unexpected error occurred."}
        if error is not None:
            operation.error = error
            if fail is not None:
                fail(error)
        self._end(operation, "Failed" if error else "Succeeded")

    async def _wait(self, operation: Operation, seconds: float) -> None:
        await self.clock.sleep(operation.started + seconds - self.clock.time())

    def _end(self, operation: Operation, status: str) -> None:
        if self._running.get(operation.resource_id.lower()) is operation:
            del self._running[operation.resource_id.lower()]
        operation.status = "Canceled" if status == "InProgress" else status
        operation.ended = self.clock.time()

    async def preempt(self, resource_id: str) -> None:
        """Cancel what runs on a resource, as a later deletion does."""
        operation = self.on(resource_id)
        if operation is None or operation.task is None:
            return
        operation.status = "Canceled"
        operation.error = {
            "code": "OperationPreempted",
            "message": "Operation execution has been preempted by a more recent operation.",
        }
        self._running.pop(resource_id.lower(), None)
        operation.task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await operation.task

    async def settled(self) -> None:
        """Return when no operation runs."""
        while tasks := [each.task for each in self._table.values() if each.task and each.running]:
            await asyncio.wait(tasks)

    async def close(self) -> None:
        """Cancel all that run."""
        tasks = [each.task for each in self._table.values() if each.task and not each.task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # -- HTTP ----------------------------------------------------------------------------------

    def headers(self, operation: Operation, call: Call, *, style: str = "both") -> dict[str, str]:
        """The headers by which a client follows an operation.

        Parameters
        ----------
        operation, call
            The operation, and the call that its headers answer.
        style
            "async" (Azure-AsyncOperation, as PUT answers), "location" (as the deletion of a
            resource group answers), or "both" (as POST and DELETE answer).
        """
        version = call.option("api-version")
        root = f"{call.base}/subscriptions/{call.arm.subscription}/providers/{operation.provider}"
        where = f"{root}/locations/{operation.location}"
        of_disk = operation.kind.startswith("disks.")
        if operation.provider == "Microsoft.Network":
            url = f"{where}/operations/{operation.id}?api-version={version}"
            final = f"{where}/operationResults/{operation.id}?api-version={version}"
        else:
            kind = "DiskOperations" if of_disk else "operations"
            start = f"{where}/{kind}/{operation.id}?p={operation.key}"
            url = f"{start}&api-version={version}"
            final = f"{start}&monitor=true&api-version={version}"
        headers = {}
        if style in ("async", "both"):
            headers["Azure-AsyncOperation"] = url
            if not of_disk:
                headers["Azure-AsyncNotification"] = "Enabled"
        if style in ("location", "both"):
            headers["Location"] = final
        return headers | retry_after(call)


def retry_after(call: Call) -> dict[str, str]:
    """The Retry-After that answers about running operations carry."""
    seconds = call.arm.retry_after
    return {} if seconds is None else {"Retry-After": str(seconds)}


async def get_operation(call: Call) -> Answer:
    """``GET …/operations/{id}``; with ``monitor=true`` the result instead of the status."""
    operation = call.arm.operations.get(call.params["operation"])
    if operation is None:
        raise ArmError(
            404, "NotFound", f"The operation {call.params['operation']} could not be found."
        )
    headers = retry_after(call) if operation.running else {}
    if call.flag("monitor"):
        return _result(operation, headers)
    return Answer(200, operation.body(), headers)


async def get_result(call: Call) -> Answer:
    """``GET …/operationResults/{id}``: 202 until the end, then the result."""
    operation = call.arm.operations.get(call.params["operation"])
    if operation is None:
        raise ArmError(
            404, "NotFound", f"The operation {call.params['operation']} could not be found."
        )
    return _result(operation, retry_after(call) if operation.running else {})


def _result(operation: Operation, headers: dict[str, str]) -> Answer:
    if operation.running:
        return Answer(202, None, headers)
    if operation.error is not None:
        return Answer(409, {"error": operation.error}, headers)
    return Answer(200, operation.output, headers)


def routes(router: Router) -> None:
    """Register the URLs of operations."""
    for provider in ("Microsoft.Compute", "Microsoft.Network"):
        where = f"/subscriptions/{{sub}}/providers/{provider}/locations/{{location}}"
        for name in ("operations", "DiskOperations"):
            router.add("GET", f"{where}/{name}/{{operation}}", get_operation, kind="operations.get")
        router.add(
            "GET", f"{where}/operationResults/{{operation}}", get_result, kind="operations.result"
        )
