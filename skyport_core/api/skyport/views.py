"""Our models as the original's records."""

from __future__ import annotations

import datetime as dt
import math

from ...identifiers import flavor_id, image_id, node_id, site_id
from ...model import Job, PartitionState
from ...wire import FlavorView, ImageView, NodeView, SiteView
from .records import (
    FlavorRecord,
    ImageRecord,
    JobRecord,
    NodeRecord,
    RemoteRecord,
    ResourceRecord,
    RoleRecord,
)
from .states import details, exit_of, letter

API_PORT = 22
"""Where a node is reached: its SSH port; the original had a daemon of its own there."""

MIB = 2**20
GIB = 2**30

_ROLE = RoleRecord(id=1, name="compute", comment="Runs jobs")


def job_record(job: Job, partition: PartitionState | None) -> JobRecord:
    """A job; ``partition`` is the state of the one that was made for it."""
    code, signal = exit_of(job)
    spec, placed = job.spec, job.node is not None
    site = job.site or spec.site
    address = job.listen[0] if job.listen else job.core_address
    return JobRecord(
        id=job.id,
        name=spec.name,
        state=letter(job),
        state_details=details(job, partition),
        submit_time=_time(job.created_at),
        start_time=_time(job.started_at),
        end_time=_time(job.ended_at),
        duration=spec.walltime or 0,
        exitcode=code,
        signal=signal,
        node_names=[job.node] if job.node else [],
        node_ips=[address] if placed and not job.state.final else [],
        remote_id=site_id(site) if site else "",
        flavor_id=flavor_id(site, spec.flavor) if site and spec.flavor else "",
        request=_requested(job),
        resources=_resources(job),
        comment=spec.comment,
    )


def flavor_record(view: FlavorView) -> FlavorRecord:
    """A flavor, whichever of its regions this is."""
    resources = [
        *_amounts(view.cpus, view.memory, view.gpus),
        *([ResourceRecord(name="storage", count=view.storage * GIB)] if view.storage else ()),
        ResourceRecord(name="flavor", count=1, value=view.name),
    ]
    return FlavorRecord(
        id=flavor_id(view.site, view.name),
        name=view.name,
        remote_id=site_id(view.site),
        resources=resources,
        price=view.price or 0,
    )


def image_record(view: ImageView) -> ImageRecord:
    """An image."""
    return ImageRecord(
        id=image_id(view.site, view.kind, view.name),
        name=view.name,
        remote_id=site_id(view.site),
        kind="container" if view.kind == "container" else "cloud",
        comment=view.description,
    )


def node_record(view: NodeView) -> NodeRecord:
    """A node. It has no ``flavor`` resource: by that the original marks what is no real node."""
    return NodeRecord(
        id=node_id(view.site, view.name),
        name=view.name,
        host=view.name,
        api_port=API_PORT,
        state_power="down" if view.state == "down" else "up",
        state_alloc=(
            "offline"
            if view.state == "down"
            else "maint"
            if view.state == "drained"
            else "busy"
            if view.jobs
            else "idle"
        ),
        resources=_amounts(view.cpus, view.memory, view.gpus),
        roles=[_ROLE],
    )


def remote_record(
    view: SiteView, account: str, image: ImageView | None, flavor: FlavorView | None
) -> RemoteRecord:
    """A site with the id of its account, and the image and flavor that come first there."""
    return RemoteRecord(
        id=site_id(view.name),
        name=view.name,
        account_id=account,
        server="",
        port=0,
        kind=view.gate.removesuffix("Gate").lower(),
        default_image_id=image_id(image.site, image.kind, image.name) if image else "",
        default_flavor_id=flavor_id(flavor.site, flavor.name) if flavor else "",
    )


def _requested(job: Job) -> list[ResourceRecord]:
    spec = job.spec
    named = {
        "flavor": spec.flavor,
        "account": spec.account,
        "cloud-image": spec.image,
        "container-image": spec.container,
    }
    ports = [str(port) for port in (spec.port, *spec.ports) if port is not None]
    return [
        ResourceRecord(name="node", count=spec.nodes),
        *_amounts(spec.cpus, spec.memory, spec.gpus),
        *(
            ResourceRecord(name=name, count=1, value=value)
            for name, value in named.items()
            if value
        ),
        *([ResourceRecord(name="ports", count=1, value=",".join(ports))] if ports else ()),
    ]


def _resources(job: Job) -> list[ResourceRecord]:
    held = job.reserved
    if held is None:
        return []
    amounts = _amounts(held.cpus, held.memory, held.gpus)
    return [ResourceRecord(name="node", count=job.spec.nodes), *amounts]


def _amounts(cpus: float | None, memory: int | None, gpus: int) -> list[ResourceRecord]:
    found = {
        "cpus": math.ceil(cpus) if cpus else 0,
        "mem": (memory or 0) * MIB,
        "gpus": gpus,
    }
    return [ResourceRecord(name=name, count=count) for name, count in found.items() if count]


def _time(time: dt.datetime | None) -> str:
    if time is None:
        return ""
    return time.astimezone(dt.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
