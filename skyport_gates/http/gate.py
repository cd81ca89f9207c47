"""The gate of a core whose site is looked after by a gate elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, TypeAdapter, ValidationError
from traitlets import Float, TraitError, Unicode, validate

from ..caching import Answers
from ..gate import (
    ConfigurationError,
    Flavor,
    Gate,
    GateError,
    GateUnavailable,
    Image,
    Node,
    Partition,
    PartitionRequest,
    Quota,
    QuotaUse,
    Spot,
    StaticGate,
    Suspend,
)
from . import wire
from .errors import UnknownCore
from .link import SILENCE, Link
from .tls import client_context

T = TypeVar("T")

LISTEN_AGAIN = 1.0
"""Seconds between two tries to hear of changes."""

MARGIN = 2.0
"""Seconds by which a call gives up before the core does."""


class _Remote(Gate):
    """What both gates share: the connection, and what is asked of every gate."""

    url = Unicode(help="Where the gate is served: https://HOST:PORT.").tag(config=True)
    cafile = Unicode(help="PEM file of the authority that issued the server's certificate.").tag(
        config=True
    )
    certfile = Unicode(help="PEM file of our own certificate.").tag(config=True)
    keyfile = Unicode(help="PEM file of its private key.").tag(config=True)
    cache_time = Float(
        5.0, min=0, help="Seconds for which flavors, images and nodes are not asked for again."
    ).tag(config=True)

    _static = False

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._link: Link | None = None
        self._listening: asyncio.Task[None] | None = None
        self._starting = asyncio.Lock()
        self._answers: Answers[bytes] = Answers()

    @validate("url")
    def _check_url(self, proposal: Any) -> str:
        value = str(proposal.value)
        if not value.startswith("https://"):
            raise TraitError(f"url is {value!r}; allowed: https://HOST:PORT")
        return value

    async def start(self) -> None:
        """Make ourselves known to the server, and listen for changes."""
        async with self._starting:
            if self._link is not None:
                return
            if not self.url:
                raise ConfigurationError("url is not set; allowed: https://HOST:PORT")
            link = Link(self.url, self._context, self.call_timeout - MARGIN)
            try:
                info = _parsed(wire.GateInfo, await link.request("GET", wire.PREFIX))
                self._check_kind(info)
                await self._introduce(link)
            except BaseException:
                await link.close()
                raise
            self._link = link
            self._listening = asyncio.create_task(self._listen(link))

    def _context(self) -> Any:
        return client_context(self.cafile, self.certfile, self.keyfile)

    def _check_kind(self, info: wire.GateInfo) -> None:
        if info.static is not self._static:
            fitting = "http-nodes" if info.static else "http"
            what = "fixed nodes" if info.static else "nodes on demand"
            raise ConfigurationError(
                f"The gate at {self.url} has {what}; its class here is {fitting!r}"
            )

    async def _introduce(self, link: Link) -> None:
        body = wire.to_json({"user_ca": self.context.user_ca})
        await link.request("PUT", self._mine(""), body)

    async def close(self, *, idle: bool) -> None:
        """Hang up; what was made at the site stays."""
        listening, self._listening = self._listening, None
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        link, self._link = self._link, None
        if link is not None:
            await link.close()
        self._answers.clear()

    async def flavors(self) -> list[Flavor]:
        """The node types on offer there."""
        return _read(wire.FLAVORS, await self._cached("/flavors"))

    async def images(self) -> list[Image]:
        """The images on offer there."""
        return _read(wire.IMAGES, await self._cached("/images"))

    async def _cached(self, path: str) -> bytes:
        return await self._answers.get(path, self.cache_time, lambda: self._call("GET", path))

    async def _call(self, method: str, path: str, body: str | None = None) -> bytes:
        if self._link is None:
            raise GateUnavailable(f"Site {self.name} is not started")
        try:
            return await self._link.request(method, self._mine(path), body)
        except UnknownCore:
            await self._introduce(self._link)
        return await self._link.request(method, self._mine(path), body)

    def _mine(self, path: str) -> str:
        return f"{wire.PREFIX}/cores/{quote(self.context.core_id, safe='')}{path}"

    async def _listen(self, link: Link) -> None:
        """Pass on which partitions changed, until cancelled; missed news is found by asking."""
        forever = aiohttp.ClientTimeout(total=None, connect=10, sock_read=SILENCE)
        while True:
            try:
                async with link.answer("GET", self._mine("/changes"), None, forever) as response:
                    async for line in response.content:
                        if name := line.decode().strip():
                            self.context.changed(name)
            except GateError as error:
                self.log.debug("Site %s: no news of changes: %s", self.name, error)
                if isinstance(error, UnknownCore):
                    with contextlib.suppress(GateError):
                        await self._introduce(link)
            except Exception:
                self.log.exception("Site %s: what was told of changes is of no use", self.name)
            await asyncio.sleep(LISTEN_AGAIN)


class HTTPGate(_Remote, Suspend, Spot, Quota):
    """A site that makes its nodes on demand, behind a gate that runs elsewhere."""

    async def create(self, request: PartitionRequest) -> None:
        """Ask for a partition."""
        await self._call("PUT", _partition(request.name), wire.to_json(request))

    async def get(self, name: str) -> Partition:
        """How a partition stands."""
        return _read(wire.PARTITION, await self._call("GET", _partition(name))).value()

    async def delete(self, name: str) -> None:
        """Ask for removal."""
        await self._call("DELETE", _partition(name))

    async def suspend(self, name: str) -> None:
        """Put a partition to sleep."""
        await self._call("POST", f"{_partition(name)}/suspend")

    async def resume(self, name: str) -> None:
        """Wake a partition."""
        await self._call("POST", f"{_partition(name)}/resume")

    async def quotas(self) -> list[QuotaUse]:
        """The limits of the account there."""
        return _read(wire.QUOTAS, await self._cached("/quotas"))

    async def diagnose(self, name: str) -> str:
        """What the partition's nodes printed while they booted."""
        return (await self._call("GET", f"{_partition(name)}/console")).decode(errors="replace")

    async def list(self) -> list[Partition]:
        """All partitions of this core there."""
        found = _read(wire.PARTITIONS, await self._call("GET", "/partitions"))
        return [each.value() for each in found]


class HTTPStaticGate(_Remote, StaticGate):
    """A site of fixed nodes, behind a gate that runs elsewhere."""

    _static = True

    async def nodes(self) -> list[Node]:
        """The nodes there."""
        return _read(wire.NODES, await self._cached("/nodes"))


def _partition(name: str) -> str:
    return f"/partitions/{quote(name, safe='')}"


Model = TypeVar("Model", bound=BaseModel)


def _parsed(model: type[Model], answer: bytes) -> Model:
    return _read(TypeAdapter(model), answer)


def _read(adapter: TypeAdapter[T], answer: bytes) -> T:
    try:
        return adapter.validate_json(answer)
    except ValidationError as error:
        raise GateUnavailable(
            "The gate's answer cannot be read: do both sides come from the same release?"
        ) from error
