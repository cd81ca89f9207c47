"""The synchronous client: the same calls for programs without an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager, suppress
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, TypeVar

from .connections import Forward
from .core import CoreClient
from .endpoints import Endpoint
from .errors import ClientClosed

P = ParamSpec("P")
R = TypeVar("R")
End = Callable[[], Coroutine[Any, Any, object]]


def call(
    method: Callable[Concatenate[CoreClient, P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate[Client, P], R]:
    """The blocking face of a coroutine method, with its arguments, result and documentation."""

    @functools.wraps(method)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> R:
        return self._wait(method(self._core, *args, **kwargs))

    return blocking


def iterate(
    method: Callable[Concatenate[CoreClient, P], AsyncGenerator[R, None]],
) -> Callable[Concatenate[Client, P], Iterator[R]]:
    """The blocking face of an asynchronous generator method."""

    @functools.wraps(method)
    def blocking(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[R]:
        generator, loop = method(self._core, *args, **kwargs), self._running()
        key = self._enter(generator.aclose)
        try:
            while True:
                try:
                    yield self._wait(generator.__anext__(), loop)
                except StopAsyncIteration:
                    return
        finally:
            self._leave(key, loop)

    return blocking


class Client:
    """Talks to a core from a program without an event loop; as a context manager it is closed.

    Takes the same arguments as :class:`CoreClient` and has the same calls, which block. It may
    be used by several threads, and where an event loop runs already, as in a notebook: the work
    is done in a thread of its own.
    """

    def __init__(
        self, endpoint: str | os.PathLike[str] | Endpoint | None = None, *, timeout: float = 30.0
    ) -> None:
        self._core = CoreClient(endpoint, timeout=timeout)
        self.endpoint = self._core.endpoint
        # Taken anew by its holder when an iterator is collected meanwhile.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._open: dict[object, End] = {}

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections; what other threads wait for raises :class:`ClientClosed`.

        The client may be used again afterwards. Idempotent.
        """
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
            ends = list(self._open.values())
            self._open.clear()
            if loop is not None and thread is not None:
                try:
                    asyncio.run_coroutine_threadsafe(_end(self._core, ends), loop).result()
                finally:
                    loop.call_soon_threadsafe(loop.stop)
                    thread.join()
                    loop.close()

    submit = call(CoreClient.submit)
    put_job = call(CoreClient.put_job)
    get_job = call(CoreClient.get_job)
    job_page = call(CoreClient.job_page)
    jobs = iterate(CoreClient.jobs)
    list_jobs = call(CoreClient.list_jobs)
    patch_job = call(CoreClient.patch_job)
    extend = call(CoreClient.extend)
    hold = call(CoreClient.hold)
    release = call(CoreClient.release)
    rename = call(CoreClient.rename)
    delete_job = call(CoreClient.delete_job)
    cancel = call(CoreClient.cancel)
    requeue = call(CoreClient.requeue)
    delete_record = call(CoreClient.delete_record)
    script = call(CoreClient.script)
    offers = call(CoreClient.offers)

    log = call(CoreClient.log)
    follow_log = iterate(CoreClient.follow_log)
    events = iterate(CoreClient.events)
    ended = call(CoreClient.ended)
    files = call(CoreClient.files)
    upload = call(CoreClient.upload)
    download = call(CoreClient.download)

    health = call(CoreClient.health)
    version = call(CoreClient.version)
    sites = call(CoreClient.sites)
    flavors = call(CoreClient.flavors)
    flavor_page = call(CoreClient.flavor_page)
    images = call(CoreClient.images)
    quotas = call(CoreClient.quotas)
    partitions = call(CoreClient.partitions)
    delete_partition = call(CoreClient.delete_partition)
    nodes = call(CoreClient.nodes)
    drain = call(CoreClient.drain)
    resume = call(CoreClient.resume)
    tunnels = call(CoreClient.tunnels)
    usage = call(CoreClient.usage)

    certificates = call(CoreClient.certificates)
    issue_certificate = call(CoreClient.issue_certificate)
    revoke_certificate = call(CoreClient.revoke_certificate)
    authority = call(CoreClient.authority)
    renew_certificate = call(CoreClient.renew_certificate)

    run_on_node = call(CoreClient.run_on_node)

    @contextmanager
    def forward(
        self, job_id: str, port: int, *, local_port: int = 0, host: str = "127.0.0.1"
    ) -> Iterator[Forward]:
        """Listen here and carry each connection to a TCP port of the job, inside the block."""
        context = self._core.forward(job_id, port, local_port=local_port, host=host)
        with self._entered(context) as forward:
            yield forward

    @contextmanager
    def _entered(self, context: AbstractAsyncContextManager[R]) -> Iterator[R]:
        loop = self._running()
        value = self._wait(_as_coroutine(context.__aenter__), loop)
        key = self._enter(lambda: _as_coroutine(context.__aexit__, None, None, None))
        try:
            yield value
        finally:
            self._leave(key, loop)

    def _wait(
        self, work: Coroutine[Any, Any, R], loop: asyncio.AbstractEventLoop | None = None
    ) -> R:
        """The result of ``work``, in ``loop`` if it belongs to that. Raises ClientClosed."""
        with self._lock:
            running = self._running() if loop is None else loop
            if running is not self._loop:
                work.close()
                raise ClientClosed
            # Under the lock: who closes ends all that was begun.
            future = asyncio.run_coroutine_threadsafe(work, running)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise ClientClosed from None
        except BaseException:
            future.cancel()
            raise

    def _enter(self, end: End) -> object:
        """Have :meth:`close` call ``end``, unless :meth:`_leave` did so before."""
        key = object()
        self._open[key] = end
        return key

    def _leave(self, key: object, loop: asyncio.AbstractEventLoop) -> None:
        """End what was entered in ``loop``; nothing is left of it if that was closed."""
        end = self._open.pop(key, None)
        if end is None or asyncio._get_running_loop() is loop:
            return  # collected in the loop's own thread, where asyncio ends what it collects
        with suppress(ClientClosed):
            self._wait(end(), loop)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(
                    target=self._loop.run_forever, name="skyport-client", daemon=True
                )
                self._thread.start()
            return self._loop


async def _end(core: CoreClient, ends: Iterable[End]) -> None:
    """End all that runs in this loop, and what stands open without a task of its own."""
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
    await asyncio.gather(*(end() for end in ends), return_exceptions=True)
    await core.close()


async def _as_coroutine(work: Callable[..., Any], *args: object) -> Any:
    return await work(*args)
