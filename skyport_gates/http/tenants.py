"""The cores that use a served gate: each has a gate of its own, with a folder and a memory."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..gate import Gate, GateContext, InvalidRequest
from ..local_files import write_private
from .errors import CallerRefused, UnknownCore

CORE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")

MOST_CORES = 8
"""Cores that the holder of one certificate may have here."""

NEWS = 1000
"""Changes that wait for a listener at most; who misses some finds them by asking."""


class FileStore:
    """A gate's memory in one file (0600), written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._texts: dict[str, str] | None = None
        self._lock = asyncio.Lock()

    async def get(self, key: str) -> str | None:
        """The text, or None."""
        return (await self._all()).get(key)

    async def put(self, key: str, value: str | None) -> None:
        """Keep a text; None forgets it."""
        async with self._lock:
            texts = dict(self._read())
            if value is None:
                texts.pop(key, None)
            else:
                texts[key] = value
            await asyncio.to_thread(write_private, self._path, json.dumps(texts))
            self._texts = texts

    async def items(self, prefix: str = "") -> dict[str, str]:
        """All texts whose key begins with ``prefix``."""
        return {key: text for key, text in (await self._all()).items() if key.startswith(prefix)}

    async def _all(self) -> dict[str, str]:
        async with self._lock:
            return self._read()

    def _read(self) -> dict[str, str]:
        if self._texts is None:
            with suppress(FileNotFoundError):
                self._texts = json.loads(self._path.read_text(encoding="utf-8"))
        return self._texts or {}


@dataclass
class Tenant:
    """One core's use of the gate; ``holder`` is the name in the certificate that it came with."""

    core_id: str
    user_ca: str
    holder: str
    gate: Gate
    listeners: set[asyncio.Queue[str]] = field(default_factory=set)

    def changed(self, name: str) -> None:
        """Pass the news on to all that listen."""
        for queue in self.listeners:
            with suppress(asyncio.QueueFull):
                queue.put_nowait(name)


class Tenants:
    """All cores that made themselves known; they are remembered over a restart.

    Parameters
    ----------
    home : Path
        Folder (0700) in which each core gets one of its own.
    make_gate : callable
        Makes a gate as it is configured, not started.
    """

    def __init__(self, home: Path, make_gate: Callable[[], Gate], log: logging.Logger) -> None:
        self._home = home
        self._make_gate = make_gate
        self._tenants: dict[str, Tenant] = {}
        self._lock = asyncio.Lock()
        self._log = log

    async def open(self) -> None:
        """Take up the cores of before, so that what they have here is looked after."""
        for path in sorted(self._home.glob("*/core.json")):
            known = json.loads(path.read_text(encoding="utf-8"))
            await self.introduce(known["core_id"], known["user_ca"], known["holder"])

    async def introduce(self, core_id: str, user_ca: str, holder: str) -> None:
        """Start a gate for a core, or renew what is known of it. Idempotent.

        Raises CallerRefused when the core is another certificate's, and what the gate's start
        raises.
        """
        if not CORE_ID.fullmatch(core_id):
            raise InvalidRequest(f"core_id ({core_id[:60]!r}): must be letters, digits, - and _")
        async with self._lock:
            known = self._tenants.get(core_id)
            if known is not None:
                self._check(known, holder)
                if known.user_ca == user_ca:
                    return
                await known.gate.close(idle=False)
                del self._tenants[core_id]
            elif self._count(holder) >= MOST_CORES:
                raise CallerRefused(
                    f"The certificate of {holder!r} has {MOST_CORES} cores here already, the most",
                    hint="Give each core a certificate of its own.",
                )
            tenant = await self._start(core_id, user_ca, holder)
            self._tenants[core_id] = tenant

    def _count(self, holder: str) -> int:
        return sum(tenant.holder == holder for tenant in self._tenants.values())

    async def _start(self, core_id: str, user_ca: str, holder: str) -> Tenant:
        home = self._home / core_id
        (home / "gate").mkdir(mode=0o700, parents=True, exist_ok=True)
        known = {"core_id": core_id, "user_ca": user_ca, "holder": holder}
        await asyncio.to_thread(write_private, home / "core.json", json.dumps(known))
        tenant = Tenant(core_id, user_ca, holder, self._make_gate())
        loop = asyncio.get_running_loop()

        def changed(name: str) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tenant.changed, name)

        tenant.gate.context = GateContext(
            core_id, home / "gate", user_ca, store=FileStore(home / "memory.json"), changed=changed
        )
        await tenant.gate.start()
        self._log.info("Works for core %s of %s", core_id, holder)
        return tenant

    def of(self, core_id: str, holder: str) -> Tenant:
        """A core that is known. Raises UnknownCore, and CallerRefused for another's."""
        tenant = self._tenants.get(core_id)
        if tenant is None:
            raise UnknownCore(f"The core {core_id[:64]!r} is not known here")
        self._check(tenant, holder)
        return tenant

    @staticmethod
    def _check(tenant: Tenant, holder: str) -> None:
        if tenant.holder != holder:
            raise CallerRefused(
                f"The core {tenant.core_id} belongs to the holder of another certificate",
                hint="Use the certificate that it came with first.",
            )

    def hang_up(self) -> None:
        """Wake all that listen for changes."""
        for tenant in self._tenants.values():
            tenant.changed("")

    async def close(self) -> None:
        """Close all gates; what they made stays."""
        for tenant in self._tenants.values():
            await tenant.gate.close(idle=False)
        self._tenants.clear()
