"""Watching Azure's long-running operations until their end, over outages and restarts.

The SDK's own poller does the looking. This adds its token to the gate's memory before the gate
answers the core, so that a core that was restarted goes on watching, and makes the difference
between an operation that failed and a look at it that failed.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import json
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import AzureError
from azure.core.polling import AsyncLROPoller
from azure.core.polling.base_polling import OperationFailed
from azure.mgmt.core.polling.async_arm_polling import AsyncARMPolling

from ..gate import GateStore, Throttled
from ..timing import in_time
from .budget import RESERVE, Budget
from .clients import READS, Clients
from .errors import is_gone, operation_failed, translate

PREFIX = "operation/"
CREATE, DELETE, SUSPEND, HIBERNATE, RESUME = "create", "delete", "suspend", "hibernate", "resume"
FAILED = ("failed", "canceled")
PATIENCE = 3.0
LONGEST_PAUSE = 60.0
"""Seconds between two looks, or tries to look, at the most."""

UNHURRIED = 5.0
"""How many intervals the first look at a removal waits: the list of what is left tells sooner."""

RESTORED = 10.0
"""Over how many intervals the first looks are spread after a restart of the core."""


class Unknown(enum.Enum):
    """How an operation ended that Azure does not tell of any more."""

    UNKNOWN = "unknown"


class Polling(AsyncARMPolling):
    """Looks after ``first`` seconds, then three times less often each time, whatever Azure advises.

    Most that goes wrong does so in the first seconds, and should be heard of at once; later the
    shared look at all machines tells when another look at the operation is worth it
    (:meth:`look_now`). So no machine costs more than a few reads, however many there are.

    Parameters
    ----------
    first
        Seconds until the first look.
    budget
        Of reads; the looks give way to others.
    """

    def __init__(self, first: float, budget: Budget) -> None:
        options: dict[str, Any] = dict(READS)
        super().__init__(timeout=first, **options)
        self._budget = budget
        self._pause = first
        self._now = asyncio.Event()

    @property
    def pause(self) -> float:
        """Seconds from the last look to the next."""
        return self._pause

    def look_now(self) -> None:
        """Something has changed: do not wait any longer."""
        self._now.set()

    async def _poll(self) -> None:
        """Until the end, and no look more: nobody reads what the SDK would fetch then."""
        while not self.finished():
            await self._delay()
            await self._budget.turn(RESERVE)
            await self.update_status()
        if self.status().lower() in FAILED:
            raise OperationFailed("Operation failed or canceled")

    def _extract_delay(self) -> float:
        pause = self._pause
        self._pause = min(pause * PATIENCE, max(pause, LONGEST_PAUSE))
        return pause

    async def _sleep(self, delay: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):
            await in_time(self._now.wait(), delay)
        self._now.clear()


@dataclass(frozen=True)
class Operation:
    """One operation: what is done (``kind``), with which machine of which partition."""

    kind: str
    machine: str
    partition: str


Ended = Callable[[Operation, BaseException | None], Awaitable[None]]
"""Called at an operation's end, with what it failed with (as the SDK raised it) or None."""


@dataclass
class _Watch:
    operation: Operation
    token: str
    polling: Polling
    task: asyncio.Task[None] | None = None


class Operations:
    """The operations under way, at most one a machine.

    Parameters
    ----------
    group
        The resource group.
    interval
        Seconds between two looks at an operation.
    ended
        Called at each one's end, after it was forgotten. Not for one that Azure does not tell of
        any more: the looks at all machines find out what became of it.
    """

    def __init__(
        self,
        clients: Clients,
        store: GateStore,
        *,
        group: str,
        interval: float,
        ended: Ended,
        log: logging.Logger | logging.LoggerAdapter[Any],
    ) -> None:
        self._clients = clients
        self._store = store
        self._group = group
        self._interval = interval
        self._ended = ended
        self._log = log
        self._watches: dict[str, _Watch] = {}

    def polling(self, kind: str) -> Polling:
        """The ``polling`` argument of a call that begins an operation of this kind."""
        first = self._interval * (UNHURRIED if kind == DELETE else 1.0)
        return Polling(first, self._clients.reads)

    async def restore(self) -> None:
        """Go on watching what was under way when the core ended."""
        for key, text in (await self._store.items(PREFIX)).items():
            try:
                kept = json.loads(text)
                operation = Operation(kept["kind"], kept["machine"], kept["partition"])
                polling = self.polling(operation.kind)
                # As resumed, it is drawn out to at most twice that.
                latest = max(polling.pause, RESTORED * self._interval / 2)
                first = random.uniform(polling.pause, latest)  # noqa: S311 - spreads load only
                polling = Polling(first, self._clients.reads)
                watch = _Watch(operation, kept["token"], polling)
            except (ValueError, TypeError, KeyError):
                self._log.warning("Forgetting %s, which cannot be read", key)
                await self._store.put(key, None)
                continue
            self._begin(watch, None)

    async def watch(
        self, operation: Operation, poller: AsyncLROPoller[Any], polling: Polling
    ) -> None:
        """Remember an operation that was just begun with ``polling``, and watch it."""
        token = poller.continuation_token()
        kept = {
            "kind": operation.kind,
            "machine": operation.machine,
            "partition": operation.partition,
            "token": token,
        }
        await self._store.put(PREFIX + operation.machine, json.dumps(kept))
        await self._stop(operation.machine)
        self._begin(_Watch(operation, token, polling), poller)

    def of(self, machine: str) -> Operation | None:
        """What is under way with a machine."""
        watch = self._watches.get(machine)
        return None if watch is None else watch.operation

    def look_now(self, machine: str) -> None:
        """The machine stands otherwise than before: see whether its operation is over."""
        watch = self._watches.get(machine)
        if watch is not None:
            watch.polling.look_now()

    async def forget(self, machine: str) -> None:
        """Stop watching what is under way with a machine; it goes on at Azure."""
        await self._stop(machine)
        await self._store.put(PREFIX + machine, None)

    async def wait(self, machine: str, timeout: float) -> bool:
        """Wait until nothing is under way with a machine, or ``timeout`` seconds; whether so."""
        watch = self._watches.get(machine)
        if watch is not None and watch.task is not None:
            await asyncio.wait([watch.task], timeout=timeout)
        return machine not in self._watches

    async def close(self) -> None:
        """Stop watching; what is under way is taken up by the next start."""
        tasks = [watch.task for watch in self._watches.values() if watch.task is not None]
        self._watches.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stop(self, machine: str) -> None:
        watch = self._watches.pop(machine, None)
        if watch is not None and watch.task is not None:
            watch.task.cancel()
            await asyncio.wait([watch.task])

    def _begin(self, watch: _Watch, poller: AsyncLROPoller[Any] | None) -> None:
        self._watches[watch.operation.machine] = watch
        name = f"azure {watch.operation.kind} {watch.operation.machine}"
        watch.task = asyncio.create_task(self._run(watch, poller), name=name)

    async def _run(self, watch: _Watch, poller: AsyncLROPoller[Any] | None) -> None:
        machine = watch.operation.machine
        try:
            error = await self._end(watch, poller)
            # Under another task now, should a new operation have begun meanwhile.
            if self._watches.get(machine) is watch:
                await self._store.put(PREFIX + machine, None)
                del self._watches[machine]
            if not isinstance(error, Unknown):
                await self._ended(watch.operation, error)
        except Exception:
            self._log.exception("Watching %s of %s failed", watch.operation.kind, machine)
            with contextlib.suppress(KeyError):
                del self._watches[machine]

    async def _end(
        self, watch: _Watch, poller: AsyncLROPoller[Any] | None
    ) -> BaseException | Unknown | None:
        """Wait for the end; what the operation failed with."""
        pause, told = self._interval, False
        while True:
            try:
                poller = poller or await self._resumed(watch)
                await poller.result()
                return None
            except AzureError as error:
                if operation_failed(error):
                    return error
                if is_gone(error):
                    # Of a creation, it may mean that the machine is gone.
                    return error if watch.operation.kind == CREATE else Unknown.UNKNOWN
                trouble = translate(error)
            except ValueError as error:
                # A token of another version of the SDK. The looks at all machines tell the rest.
                self._log.warning(
                    "An operation of %s cannot be taken up: %s", watch.operation, error
                )
                return Unknown.UNKNOWN
            if not told:
                told = True
                self._log.warning("%s: cannot be watched now: %s", watch.operation, trouble)
            poller = None
            advised = trouble.retry_after if isinstance(trouble, Throttled) else 0.0
            await asyncio.sleep(max(pause, min(advised, LONGEST_PAUSE)))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _resumed(self, watch: _Watch) -> AsyncLROPoller[Any]:
        machines: Any = self._clients.compute.virtual_machines
        where = (self._group, watch.operation.machine)
        # Many may be taken up at the same time, after an outage or a restart.
        pause = max(
            self.polling(watch.operation.kind).pause, min(watch.polling.pause, LONGEST_PAUSE)
        )
        pause *= random.uniform(1, 2)  # noqa: S311 - spreads load only
        watch.polling = Polling(pause, self._clients.reads)
        options = {"continuation_token": watch.token, "polling": watch.polling}
        kind = watch.operation.kind
        if kind == CREATE:
            poller = await machines.begin_create_or_update(*where, None, **options)
        else:
            begin = {
                DELETE: machines.begin_delete,
                SUSPEND: machines.begin_deallocate,
                HIBERNATE: machines.begin_deallocate,
                RESUME: machines.begin_start,
            }
            poller = await begin[kind](*where, **options)
        result: AsyncLROPoller[Any] = poller
        return result
