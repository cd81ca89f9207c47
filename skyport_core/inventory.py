"""What the API shows of the sites: flavors with their free capacity, nodes, drains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from skyport_gates.gate import Flavor, Node

from .jobs.placement import reservations, total
from .model import Job, JobState, Resources
from .sites import Sites, SiteSnapshot, node_reason
from .store import Store
from .wire import FlavorView, NodeView, SiteView

FIRST_LOOK = 3.0
"""Seconds that a question just after the start waits for the sites' first answers."""


@dataclass(frozen=True)
class _Use:
    """Who holds what, as read from the store at one moment."""

    held: dict[tuple[str, str], Resources]
    jobs: dict[tuple[str, str], list[str]]
    running: dict[str, int]
    drains: dict[tuple[str, str], str]


class Inventory:
    """The front of the sites, as ``api.services.SiteService`` describes it."""

    def __init__(self, store: Store, sites: Sites, replan: Callable[[], None]) -> None:
        self._store = store
        self._sites = sites
        self._replan = replan

    async def flavors(self) -> list[FlavorView]:
        """All flavors of all sites, with what is free now."""
        use = await self._use()
        return [
            _flavor_view(site, flavor, use)
            for site in self._sites.snapshots()
            for flavor in site.flavors
        ]

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
                available=site.available,
                reason=site.reason,
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


def _flavor_view(site: SiteSnapshot, flavor: Flavor, use: _Use) -> FlavorView:
    usable = None
    if site.nodes is not None:
        usable = [
            _free(site.name, node, use)
            for node in site.nodes
            if node.flavor == flavor.name
            and not node_reason(node, use.drains.get((site.name, node.name)))
        ]
    largest = (
        max(usable, key=lambda free: (free.gpus, free.cpus, free.memory), default=Resources())
        if usable is not None
        else None
    )
    return FlavorView(
        site=site.name,
        name=flavor.name,
        description=flavor.description,
        cpus=flavor.cpus,
        memory=flavor.memory,
        gpus=flavor.gpus,
        gpu_type=flavor.gpu_type,
        price=flavor.price,
        capacity=flavor.capacity,
        available_nodes=None if usable is None else len(usable),
        free_cpus=largest.cpus if largest else None,
        free_memory=largest.memory if largest else None,
        free_gpus=largest.gpus if largest else None,
    )


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
