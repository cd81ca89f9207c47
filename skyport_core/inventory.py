"""What the API shows of the sites: flavors with their free capacity, nodes, drains."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from skyport_gates.gate import Flavor, GateError, Node, Quota

from .flavors import BadCursor, Row, reason_of
from .jobs.prospects import reservations, total
from .model import Job, JobState, Resources
from .offering import SiteSnapshot
from .service import ServiceError
from .sites import Sites, node_reason
from .store import Store
from .wire import (
    FlavorList,
    FlavorQuery,
    FlavorView,
    ImageView,
    NodeView,
    QuotaView,
    SiteView,
)

FIRST_LOOK = 3.0
"""Seconds that a question just after the start waits for the sites' first answers."""


@dataclass(frozen=True)
class _Use:
    """Who holds what, as read from the store at one moment."""

    held: dict[tuple[str, str], Resources]
    jobs: dict[tuple[str, str], list[str]]
    running: dict[str, int]
    drains: dict[tuple[str, str], str]


NO_USE = _Use({}, {}, {}, {})


class Inventory:
    """The front of the sites, as ``api.services.SiteService`` describes it."""

    def __init__(self, store: Store, sites: Sites, replan: Callable[[], None]) -> None:
        self._store = store
        self._sites = sites
        self._replan = replan

    async def flavors(self, query: FlavorQuery) -> FlavorList:
        """A page of the flavors that match, with what is free now."""
        await self._sites.asked(FIRST_LOOK)
        table = await self._sites.flavors()
        use = await self._use() if self._has_nodes() else NO_USE
        conditions = self._sites.conditions()
        usable = {
            (site.name, flavor.name): _usable(site, flavor, use)
            for site in self._sites.snapshots()
            if site.nodes is not None
            for flavor in site.flavors
        }

        def has_node(row: Row) -> bool:
            return bool(usable.get((row.view.site, row.view.name)))

        try:
            rows, total, following = table.page(query, conditions, has_node)
        except BadCursor:
            raise ServiceError(
                "after: must be the 'next' of an answer to the same query",
                code="invalid",
                status=422,
                field="after",
            ) from None
        views = []
        for row in rows:
            reason = reason_of(row, conditions, has_node)
            free = usable.get((row.view.site, row.view.name))
            views.append(row.view if not reason and free is None else _now(row.view, reason, free))
        # Each view was checked when it was made; checking them all once more takes long.
        return FlavorList.model_construct(flavors=views, total=total, next=following)

    def _has_nodes(self) -> bool:
        return any(site.nodes is not None for site in self._sites.snapshots())

    async def images(self) -> list[ImageView]:
        """All images of all sites."""
        await self._sites.asked(FIRST_LOOK)
        return [
            ImageView(
                site=site.name,
                name=image.name,
                kind=image.kind,
                description=image.description,
            )
            for site in self._sites.snapshots()
            for image in site.images or ()
        ]

    async def quotas(self) -> list[QuotaView]:
        """The limits of all accounts; those of a site that does not answer are left out."""
        known = await asyncio.gather(
            *(
                self._quotas(name, gate)
                for name, gate in self._sites.gates.items()
                if isinstance(gate, Quota)
            )
        )
        return [view for views in known for view in views]

    async def _quotas(self, site: str, gate: Quota) -> list[QuotaView]:
        try:
            uses = await self._sites.call(site, gate.quotas())
        except GateError as error:
            self._sites.log.warning("Site %s: its quotas are not known now: %s", site, error)
            return []
        return [QuotaView(site=site, **vars(use)) for use in uses]

    async def nodes(self) -> list[NodeView]:
        """All fixed nodes."""
        use = await self._use()
        return [
            _node_view(site.name, node, use)
            for site in self._sites.snapshots()
            for node in site.nodes or ()
        ]

    async def sites(self) -> list[SiteView]:
        """All sites."""
        use = await self._use()
        return [
            SiteView(
                name=site.name,
                gate=type(self._sites.gates[site.name]).__name__,
                available=site.available and self._sites.closed(site.name) is None,
                reason=site.reason or self._sites.closed(site.name) or "",
                nodes=None if site.nodes is None else len(site.nodes),
                running_jobs=use.running.get(site.name, 0),
            )
            for site in self._sites.snapshots()
        ]

    async def set_drain(self, site: str, node: str, drained: bool, reason: str) -> NodeView:
        """Send no more jobs to a node, or do so again; running jobs go on.

        Raises KeyError for a node that no site has.
        """
        snapshot = await self._sites.known(site)
        found = (
            next((n for n in (snapshot.nodes or ()) if n.name == node), None) if snapshot else None
        )
        if found is None:
            raise KeyError(f"{site}/{node}")
        await self._store.set_drain(site, node, reason if drained else None)
        self._replan()
        return _node_view(site, found, await self._use())

    async def _use(self) -> _Use:
        await self._sites.asked(FIRST_LOOK)
        jobs = await self._store.active_jobs()
        by_node: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        running: defaultdict[str, int] = defaultdict(int)
        for job in jobs:
            if _holds_place(job) and job.site and job.node:
                by_node[job.site, job.node].append(job.id)
                running[job.site] += 1
        return _Use(reservations(jobs), by_node, running, dict(await self._store.drains()))


def _holds_place(job: Job) -> bool:
    return not job.state.final and job.state is not JobState.QUEUED


def _free(site: str, node: Node, use: _Use) -> Resources:
    return total(node) - use.held.get((site, node.name), Resources())


def _usable(site: SiteSnapshot, flavor: Flavor, use: _Use) -> list[Resources]:
    """What is free on each node of a flavor that can take jobs."""
    return [
        _free(site.name, node, use)
        for node in site.nodes or ()
        if node.flavor == flavor.name
        and not node_reason(node, use.drains.get((site.name, node.name)))
    ]


def _now(view: FlavorView, reason: str, usable: list[Resources] | None) -> FlavorView:
    """A row as it is at this moment; ``usable`` is None where nodes are made on demand."""
    changes: dict[str, object] = {"available": not reason, "reason": reason}
    if usable is not None:
        largest = max(
            usable, key=lambda free: (free.gpus, free.cpus, free.memory), default=Resources()
        )
        changes |= {
            "available_nodes": len(usable),
            "free_cpus": largest.cpus,
            "free_memory": largest.memory,
            "free_gpus": largest.gpus,
        }
    return view.model_copy(update=changes)


def _node_view(site: str, node: Node, use: _Use) -> NodeView:
    drained = use.drains.get((site, node.name))
    reason = node_reason(node, drained)
    free = _free(site, node, use)
    return NodeView(
        site=site,
        name=node.name,
        flavor=node.flavor,
        cpus=node.cpus,
        memory=node.memory,
        gpus=node.gpus,
        free_cpus=free.cpus,
        free_memory=free.memory,
        free_gpus=free.gpus,
        labels=dict(node.labels),
        state="drained" if drained is not None else ("down" if reason else "up"),
        reason=reason,
        jobs=use.jobs.get((site, node.name), []),
    )
