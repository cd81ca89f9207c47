"""The sites: their gates, what nodes and offers they have now, and what is known to fail there."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from skyport_gates.gate import (
    Flavor,
    Gate,
    GateError,
    GateUnavailable,
    Node,
    NodeHealth,
    StaticGate,
)

T = TypeVar("T")


@dataclass(frozen=True)
class SiteSnapshot:
    """What one site had to offer when it was last asked.

    ``nodes`` is None for a site that makes its nodes on demand; ``known`` is False until the gate
    has answered once.
    """

    name: str
    flavors: tuple[Flavor, ...] = ()
    nodes: tuple[Node, ...] | None = None
    known: bool = False
    available: bool = False
    reason: str = "not asked yet"


@dataclass
class _Marks:
    """Names with an expiry time (monotonic seconds) and a reason."""

    entries: dict[tuple[str, str], tuple[float, str]] = field(default_factory=dict)

    def set(self, site: str, name: str, seconds: float, reason: str) -> None:
        self.entries[site, name] = (time.monotonic() + seconds, reason)

    def get(self, site: str, name: str) -> str | None:
        until, reason = self.entries.get((site, name), (0.0, ""))
        return reason if until > time.monotonic() else None


class Sites:
    """All gates of this core, by site name.

    Parameters
    ----------
    gates
        Configured gates, by name.
    refresh_interval
        Seconds between two looks at what the gates hold in their caches.
    suspect_time, block_time
        Seconds for which a node that failed a job comes last, and an offer that failed is not used.
    changed
        Called after the inventory changed.
    """

    def __init__(
        self,
        gates: Mapping[str, Gate],
        *,
        refresh_interval: float,
        suspect_time: float,
        block_time: float,
        changed: Callable[[], None],
        log: logging.Logger,
    ) -> None:
        self.gates = dict(gates)
        self.log = log
        self._interval = refresh_interval
        self._suspect_time = suspect_time
        self._block_time = block_time
        self._changed = changed
        self._snapshots = {name: self._blank(name) for name in gates}
        self._suspects = _Marks()
        self._blocked = _Marks()
        self._started: set[str] = set()
        self._refresh_now = asyncio.Event()
        self._asked = {name: asyncio.Event() for name in gates}

    def _blank(self, name: str) -> SiteSnapshot:
        static = isinstance(self.gates[name], StaticGate)
        return SiteSnapshot(name, nodes=() if static else None)

    async def run(self) -> None:
        """Start the gates and keep the snapshots fresh, until cancelled."""
        await asyncio.gather(*(self._keep_fresh(name) for name in self.gates))

    async def close(self, idle: Callable[[str], bool]) -> None:
        """Close all gates; ``idle(name)`` tells whether a site has no job left."""
        for name, gate in self.gates.items():
            try:
                await asyncio.wait_for(gate.close(idle=idle(name)), gate.call_timeout)
            except Exception:
                self.log.exception("Site %s: its gate did not close cleanly", name)

    def refresh(self) -> None:
        """Look again soon."""
        self._refresh_now.set()

    async def asked(self, timeout: float) -> None:
        """Wait until every site was asked once since the start, for at most ``timeout`` seconds."""
        first_looks = asyncio.gather(*(event.wait() for event in self._asked.values()))
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(first_looks, timeout)

    def snapshots(self) -> list[SiteSnapshot]:
        """The sites as last seen, in the order of the configuration."""
        return list(self._snapshots.values())

    def snapshot(self, site: str) -> SiteSnapshot | None:
        """One site as last seen."""
        return self._snapshots.get(site)

    async def known(self, site: str) -> SiteSnapshot | None:
        """One site as last seen; asked now if that never worked before."""
        snapshot = self._snapshots.get(site)
        if snapshot is not None and not snapshot.known:
            snapshot = await self._refresh(site)
        return snapshot

    def suspect(self, site: str, node: str, reason: str) -> None:
        """A job failed because of this node: for a while, use it last."""
        self._suspects.set(site, node, self._suspect_time, reason)
        self._changed()

    def is_suspect(self, site: str, node: str) -> bool:
        """Whether a job failed lately because of this node."""
        return self._suspects.get(site, node) is not None

    def block(self, site: str, flavor: str, reason: str, seconds: float | None = None) -> None:
        """An offer failed: do not use it for ``seconds`` (None: the configured time)."""
        self._blocked.set(site, flavor, self._block_time if seconds is None else seconds, reason)

    def blocked(self, site: str, flavor: str) -> str | None:
        """Why an offer is not used at present; None if it may be."""
        return self._blocked.get(site, flavor)

    def forgotten(self, site: str, node: str) -> bool:
        """Whether a fixed node is no longer configured; False while its site is not known."""
        if site not in self.gates:
            return True
        snapshot = self._snapshots[site]
        if not snapshot.known or snapshot.nodes is None:
            return False
        return all(known.name != node for known in snapshot.nodes)

    async def find_node(self, site: str, node: str, partition: str | None) -> Node | None:
        """A node by name: of the site's own, or of a partition made there."""
        gate = self.gates.get(site)
        if gate is None:
            return None
        candidates: Iterable[Node]
        if partition is not None:
            candidates = (await self.call(site, gate.get(partition))).nodes
        else:
            snapshot = await self.known(site)
            candidates = snapshot.nodes or () if snapshot is not None else ()
        return next((found for found in candidates if found.name == node), None)

    async def call(self, site: str, call: Coroutine[Any, Any, T]) -> T:
        """Await a gate's answer within its ``call_timeout``.

        Raises GateError; a call that takes too long or fails in an unforeseen way becomes a
        GateUnavailable, with the cause in the log.
        """
        timeout = self.gates[site].call_timeout
        try:
            return await asyncio.wait_for(call, timeout)
        except GateError:
            raise
        except asyncio.TimeoutError as error:
            message = f"Site {site} did not answer within {timeout:g} s"
            raise GateUnavailable(message, hint="It is asked again.") from error
        except Exception as error:
            self.log.exception("Site %s: its gate failed", site)
            message = f"Site {site} has a fault in its gate"
            raise GateUnavailable(message, hint="The core's log has the details.") from error

    async def _keep_fresh(self, name: str) -> None:
        while True:
            await self._refresh(name)
            try:
                await asyncio.wait_for(self._refresh_now.wait(), self._interval)
                self._refresh_now.clear()
            except asyncio.TimeoutError:
                pass

    async def _refresh(self, name: str) -> SiteSnapshot:
        gate = self.gates[name]
        before = self._snapshots[name]
        try:
            if name not in self._started:
                await self.call(name, gate.start())
                self._started.add(name)
            flavors = tuple(await self.call(name, gate.flavors()))
            nodes = (
                tuple(await self.call(name, gate.nodes())) if isinstance(gate, StaticGate) else None
            )
            after = SiteSnapshot(name, flavors, nodes, known=True, available=True, reason="")
        except GateError as error:
            if before.available or before.reason != error.message:
                self.log.warning(
                    "Site %s: %s %s", name, error, error.hint, exc_info=error.__cause__
                )
            after = SiteSnapshot(
                name, before.flavors, before.nodes, before.known, False, error.message
            )
        if after != before:
            self._snapshots[name] = after
            self._changed()
        self._asked[name].set()
        return after


def node_reason(node: Node, drained: str | None) -> str:
    """Why no job can be sent to a node now; "" if one can."""
    if drained is not None:
        return f"{node.name} is drained" + (f": {drained}" if drained else "")
    if node.health is not NodeHealth.UP:
        return f"{node.name} is down" + (f": {node.reason}" if node.reason else "")
    return ""
