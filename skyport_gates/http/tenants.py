"""The cores that use a served gate: each has a gate of its own, with a folder and a memory."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

import asyncssh

from ..gate import Gate, GateContext, GateUnavailable, InvalidRequest
from ..local_files import write_private
from ..timing import in_time
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
        self._starting: dict[str, str] = {}
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._log = log

    async def open(self) -> None:
        """Take up the cores of before, so that what they have here is looked after.

        One whose gate does not start introduces itself again, and is told why then.
        """
        await asyncio.gather(*map(self._resume, self._cores()))

    def _cores(self) -> list[Path]:
        """What is remembered of each."""
        return sorted(self._home.glob("*/core.json"))

    async def _resume(self, path: Path) -> None:
        try:
            known = _read(path)
            await self.introduce(known["core_id"], known["user_ca"], known["holder"])
        except Exception:
            self._log.exception("The core of %s is not looked after for now", path.parent.name)

    async def introduce(self, core_id: str, user_ca: str, holder: str) -> None:
        """Start a gate for a core, or renew what is known of it. Idempotent.

        Raises CallerRefused when the core is another certificate's, and what the gate's start
        raises: GateUnavailable when it takes longer than a call may.
        """
        if not CORE_ID.fullmatch(core_id):
            raise InvalidRequest(f"core_id ({core_id[:60]!r}): must be letters, digits, - and _")
        try:
            asyncssh.import_public_key(user_ca)
        except asyncssh.KeyImportError as error:
            raise InvalidRequest(f"user_ca: must be a public key of OpenSSH: {error}") from error
        lock = self._locks.setdefault(core_id, asyncio.Lock())
        async with lock:
            known = self._tenants.get(core_id)
            if known is not None:
                self._check(core_id, known.holder, holder)
                if known.user_ca == user_ca:
                    return
                del self._tenants[core_id]
                await self._close(known)
            else:
                # One that could not be taken up after a restart is still its holder's.
                self._check(core_id, self._holder_before(core_id) or holder, holder)
                self._check_count(holder)
            self._starting[core_id] = holder
            try:
                self._tenants[core_id] = await self._start(core_id, user_ca, holder)
            finally:
                del self._starting[core_id]

    def _holder_before(self, core_id: str) -> str | None:
        path = self._home / core_id / "core.json"
        if not path.exists():
            return None
        return _read(path)["holder"]

    def _check_count(self, holder: str) -> None:
        # Also those that could not be taken up after a restart.
        known = {path.parent.name: _read(path)["holder"] for path in self._cores()}
        if [*(known | self._starting).values()].count(holder) >= MOST_CORES:
            raise CallerRefused(
                f"The certificate of {holder!r} has {MOST_CORES} cores here already, the most",
                hint="Give each core a certificate of its own.",
            )

    async def _start(self, core_id: str, user_ca: str, holder: str) -> Tenant:
        home = self._home / core_id
        (home / "gate").mkdir(mode=0o700, parents=True, exist_ok=True)
        known = {"core_id": core_id, "user_ca": user_ca, "holder": holder}
        tenant = Tenant(core_id, user_ca, holder, self._make_gate())
        loop = asyncio.get_running_loop()

        def changed(name: str) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(tenant.changed, name)

        tenant.gate.context = GateContext(
            core_id, home / "gate", user_ca, store=FileStore(home / "memory.json"), changed=changed
        )
        try:
            await in_time(tenant.gate.start(), tenant.gate.call_timeout)
            await asyncio.to_thread(write_private, home / "core.json", json.dumps(known))
        except BaseException as error:
            await self._close(tenant)
            if not (home / "core.json").exists():
                await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)
            if isinstance(error, asyncio.TimeoutError):
                seconds = f"{tenant.gate.call_timeout:g} s"
                raise GateUnavailable(f"The gate did not start within {seconds}") from error
            raise
        self._log.info("Works for core %s of %s", core_id, holder)
        return tenant

    def of(self, core_id: str, holder: str) -> Tenant:
        """A core that is known. Raises UnknownCore, and CallerRefused for another's."""
        tenant = self._tenants.get(core_id)
        if tenant is None:
            raise UnknownCore(f"The core {core_id[:64]!r} is not known here")
        self._check(core_id, tenant.holder, holder)
        return tenant

    @staticmethod
    def _check(core_id: str, owner: str, holder: str) -> None:
        if owner != holder:
            raise CallerRefused(
                f"The core {core_id} belongs to the holder of another certificate",
                hint="Use the certificate that it came with first.",
            )

    def hang_up(self) -> None:
        """Wake all that listen for changes."""
        for tenant in self._tenants.values():
            tenant.changed("")

    async def close(self) -> None:
        """Close all gates; what they made stays."""
        tenants, self._tenants = list(self._tenants.values()), {}
        await asyncio.gather(*map(self._close, tenants))

    async def _close(self, tenant: Tenant) -> None:
        try:
            await in_time(tenant.gate.close(idle=False), tenant.gate.call_timeout)
        except Exception:
            self._log.exception("The gate for core %s did not close cleanly", tenant.core_id)


def _read(path: Path) -> dict[str, str]:
    known: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))
    return known
