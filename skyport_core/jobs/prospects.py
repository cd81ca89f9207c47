"""Queue and inventory, in the words of the scheduler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from skyport_gates.gate import Node

from ..accounts import sites_of
from ..model import Job, Resources
from ..scheduling import Impossible, NodeState, PendingJob, Waiting
from ..settings import Settings
from ..sites import Sites, node_reason
from ..store import Store
from ..unhurried import unhurried


class Prospects:
    """What jobs need, and what there is for them."""

    def __init__(self, store: Store, sites: Sites, settings: Settings) -> None:
        self.sites = sites
        self._store = store
        self._settings = settings

    def need(self, job: Job) -> Resources:
        """What the job asks for, with the core's defaults where it is silent."""
        settings, spec = self._settings, job.spec
        return Resources(
            spec.cpus or settings.default_cpus, spec.memory or settings.default_memory, spec.gpus
        )

    def pending(self, job: Job) -> PendingJob:
        """A job of the queue."""
        spec = job.spec
        return PendingJob(
            id=job.id,
            owner=job.owner,
            submitted=job.created_at,
            # The jobs of an array came together, and run in the order of their indices.
            index=job.array_index or 0,
            need=self.need(job),
            site=spec.site,
            flavor=spec.flavor,
            region=spec.region,
            zone=spec.zone,
            spot=spec.spot,
            max_price=spec.max_price,
            sites=self._sites_for(job),
            keep=spec.keep is not None,
            storage=spec.storage,
            nodes=spec.nodes,
            relocatable=spec.relocatable,
            labels=spec.labels,
            excluded=job.excluded,
        )

    async def nodes(self, jobs: Sequence[Job]) -> tuple[list[NodeState], list[str]]:
        """The fixed nodes of all sites, and the sites that are not known yet.

        ``jobs`` are all that have not ended.
        """
        drains = await self._store.drains()
        held = reservations(jobs)
        nodes: list[NodeState] = []
        unknown = []
        for site in self.sites.snapshots():
            if not site.known:
                unknown.append(site.name)
            elif site.nodes is not None:
                flavors = {flavor.name: flavor for flavor in site.flavors}
                async for node in unhurried(site.nodes):
                    reason = node_reason(node, drains.get((site.name, node.name)))
                    flavor = flavors.get(node.flavor)
                    nodes.append(
                        NodeState(
                            site=site.name,
                            name=node.name,
                            flavor=node.flavor,
                            total=total(node),
                            free=total(node) - held[site.name, node.name],
                            gpu_type=node.gpu_type,
                            labels=node.labels,
                            available=not reason,
                            reason=reason,
                            suspect=self.sites.is_suspect(site.name, node.name),
                            price=flavor.price if flavor is not None else None,
                            storage=flavor.storage if flavor is not None else 0,
                        )
                    )
        return nodes, unknown

    def currency(self, site: str, flavor: str) -> str:
        """In what the prices of a flavor are."""
        snapshot = self.sites.snapshot(site)
        known = snapshot.flavors if snapshot is not None else ()
        return next((each.currency for each in known if each.name == flavor), "USD")

    def without_image(self, job: Job) -> Impossible | Waiting | None:
        """What becomes of a job whose image no site is known to have; None if one has it.

        Raises UnknownAccount for a job whose account is gone.
        """
        allowed = self._account_sites(job)
        if job.spec.image is None or self._sites_with(job.spec.image, job.spec.site):
            return None
        sites = [
            site
            for site in self.sites.snapshots()
            if job.spec.site in (None, site.name) and (allowed is None or site.name in allowed)
        ]
        for site in sites:
            if site.nodes is None and site.images is None:
                return Waiting(job.id, 1, f"The images of site {site.name} are not known yet")
        images = {
            image.name for site in sites for image in site.images or () if image.kind == "cloud"
        }
        where = f" at site {job.spec.site}" if job.spec.site else ""
        hint = f"Choose one of the images {', '.join(sorted(images))}." if images else "Name none."
        return Impossible(job.id, f"There is no image {job.spec.image!r}{where}.", hint)

    def _sites_for(self, job: Job) -> frozenset[str] | None:
        """The sites that account and image of a job allow; None: all."""
        allowed = self._account_sites(job)
        if job.spec.image is None:
            return allowed
        bootable = self._sites_with(job.spec.image, job.spec.site)
        return bootable if allowed is None else bootable & allowed

    def _account_sites(self, job: Job) -> frozenset[str] | None:
        if job.spec.account is None:
            return None
        return sites_of(self._settings.accounts, job.spec.account, None, self.sites.gates)

    def _sites_with(self, image: str, site: str | None) -> frozenset[str]:
        """The sites that make nodes which boot an image, and those that are not known yet."""
        return frozenset(
            snapshot.name
            for snapshot in self.sites.snapshots()
            if site in (None, snapshot.name)
            and snapshot.nodes is None
            and (
                not snapshot.known
                or any(
                    image == known.name for known in snapshot.images or () if known.kind == "cloud"
                )
            )
        )


def total(node: Node) -> Resources:
    """All that a node has."""
    return Resources(node.cpus, node.memory, node.gpus)


def reservations(jobs: Sequence[Job]) -> defaultdict[tuple[str, str], Resources]:
    """What the jobs that have a place hold, by site and node."""
    held: defaultdict[tuple[str, str], Resources] = defaultdict(Resources)
    for job in jobs:
        if job.site and job.node and job.reserved and not job.state.final and not job.partition:
            held[job.site, job.node] += job.reserved
    return held


def share_of(need: Resources, whole: Resources) -> float:
    """The part of a node that a job holds: that of its scarcest resource, 0 to 1."""
    parts = ((need.cpus, whole.cpus), (need.memory, whole.memory), (need.gpus, whole.gpus))
    return min(1.0, max((part / all_ for part, all_ in parts if all_ > 0), default=1.0))
