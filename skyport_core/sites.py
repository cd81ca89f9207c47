"""The sites: their gates, what nodes and offers they have now, and what is known to fail there."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
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
    Image,
    Node,
    NodeHealth,
    Scope,
    StaticGate,
    Suspend,
)
from skyport_gates.timing import in_time

from .blocks import EVERYTHING, Blocks
from .building import build
from .flavors import FlavorTable
from .offering import SiteSnapshot, offers_of
from .scheduling import Conditions, Offer, Offers, Trouble
from .scheduling.offers import own_trouble

T = TypeVar("T")

EXPIRY_MARGIN = 0.05
"""Seconds after a block's end at which it is over for sure."""


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
        self._blocks = Blocks()
        self._seen: list[SiteSnapshot] = []
        self._offers = Offers()
        self._flavors = FlavorTable(())
        self._indexing = asyncio.Lock()
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
                await in_time(gate.close(idle=idle(name)), gate.call_timeout)
            except Exception:
                self.log.exception("Site %s: its gate did not close cleanly", name)

    def refresh(self) -> None:
        """Look again soon."""
        self._refresh_now.set()

    async def asked(self, timeout: float) -> None:
        """Wait until every site was asked once since the start, for at most ``timeout`` seconds."""
        first_looks = asyncio.gather(*(event.wait() for event in self._asked.values()))
        with contextlib.suppress(asyncio.TimeoutError):
            await in_time(first_looks, timeout)

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

    async def offers(self) -> Offers:
        """What the elastic sites would make, indexed."""
        await self._index()
        return self._offers

    async def flavors(self) -> FlavorTable:
        """What all sites have, to be searched."""
        await self._index()
        return self._flavors

    async def _index(self) -> None:
        """Sort everything anew, in a thread if it is much, when a site has other flavors."""
        async with self._indexing:
            sites = self.snapshots()
            if len(self._seen) == len(sites) and all(
                old.flavors is new.flavors for old, new in zip(self._seen, sites, strict=True)
            ):
                return
            everything = itertools.chain.from_iterable(site.offers for site in sites)
            count = sum(len(site.flavors) for site in sites)
            self._offers = await build(count, lambda: Offers(everything))
            self._flavors = await build(count, lambda: FlavorTable(sites))
            self._seen = sites

    def conditions(self) -> Conditions:
        """What keeps offers from being used at this moment."""
        closed = {}
        for site in self._snapshots.values():
            trouble = self._blocks.whole_site(site.name)
            if trouble is None and site.known and not site.available:
                trouble = Trouble(site.reason)
            if trouble is not None:
                closed[site.name] = trouble
        blocks = {name: self._blocks.at(name) for name in self._snapshots}

        def trouble_of(offer: Offer) -> Trouble | None:
            return own_trouble(offer) or blocks[offer.site].trouble(offer)

        return Conditions(trouble_of, closed)

    def block(self, site: str, scope: Scope, reason: str, seconds: float | None = None) -> None:
        """Offers failed: make nothing of them for a while. What exists goes on.

        Parameters
        ----------
        scope : Scope
            Which offers; ``Scope()`` is the whole site, which an admin must repair.
        reason : str
            Why, in words for the users who have to wait.
        seconds : float, optional
            For how long; None: the configured time, which for a whole site is that for which a
            node that failed comes last.
        """
        if seconds is None:
            seconds = self._suspect_time if scope == EVERYTHING else self._block_time
        self._blocks.add(site, scope, reason, seconds)
        self._changed()
        asyncio.get_running_loop().call_later(seconds + EXPIRY_MARGIN, self._changed)

    def blocked(
        self, site: str, flavor: str, region: str = "", zone: str = "", spot: bool = False
    ) -> str | None:
        """Why an offer is not used at present; None if it may be."""
        block = self._blocks.find(site, flavor, region, zone, spot)
        return None if block is None else block.trouble.reason

    def closed(self, site: str) -> str | None:
        """Why nothing can be made at a site at present; None if something can."""
        trouble = self._blocks.whole_site(site)
        return None if trouble is None else trouble.reason

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
            return await in_time(call, timeout)
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
            try:
                await self._refresh(name)
            except Exception:
                self.log.exception("Site %s: the look at it failed; it is tried again", name)
            try:
                await in_time(self._refresh_now.wait(), self._interval)
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
            after = await self._look(gate, before)
        except GateError as error:
            if before.available or before.reason != error.message:
                self.log.warning(
                    "Site %s: %s %s", name, error, error.hint, exc_info=error.__cause__
                )
            after = dataclasses.replace(before, available=False, reason=error.message)
        except Exception:
            fault = f"Site {name} has a fault in its gate; the core's log has the details"
            if before.reason != fault:
                self.log.exception("Site %s: what its gate says cannot be used", name)
            after = dataclasses.replace(before, available=False, reason=fault)
        if after != before:
            self._snapshots[name] = after
            await self._index()
            self._changed()
        self._asked[name].set()
        return after

    async def _look(self, gate: Gate, before: SiteSnapshot) -> SiteSnapshot:
        """What a gate has now; of what did not change, the same objects as before."""
        name = before.name
        flavors = _only(Flavor, await self.call(name, gate.flavors()))
        images = await self._images(gate, before)
        nodes, offers = None, before.offers
        same = flavors == before.flavors
        if isinstance(gate, StaticGate):
            nodes = _only(Node, await self.call(name, gate.nodes()))
        elif not same:
            can_sleep = isinstance(gate, Suspend)
            offers = await build(
                len(flavors), lambda: offers_of(name, flavors, can_sleep=can_sleep)
            )
        flavors = before.flavors if same else flavors
        return SiteSnapshot(
            name, flavors, nodes, offers, images, known=True, available=True, reason=""
        )

    async def _images(self, gate: Gate, before: SiteSnapshot) -> tuple[Image, ...] | None:
        """The images on offer; nodes can be had without knowing them anew."""
        try:
            return _only(Image, await self.call(before.name, gate.images()))
        except GateError as error:
            self.log.info("Site %s: its images are not known anew: %s", before.name, error)
            return before.images


def _only(kind: type[T], answer: Iterable[T]) -> tuple[T, ...]:
    """What a gate answered. Raises TypeError for what the contract does not allow."""
    found = tuple(answer)
    for each in found:
        if not isinstance(each, kind):
            raise TypeError(f"{type(each).__name__} instead of {kind.__name__}")
    return found


def node_reason(node: Node, drained: str | None) -> str:
    """Why no job can be sent to a node now; "" if one can."""
    if drained is not None:
        return f"{node.name} is drained" + (f": {drained}" if drained else "")
    if node.health is not NodeHealth.UP:
        return f"{node.name} is down" + (f": {node.reason}" if node.reason else "")
    return ""
