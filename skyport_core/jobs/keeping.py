"""Machines that their owners keep: which job gets one, and which has to wait or ask otherwise."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..model import Failure, Job, JobState, PartitionRecord, PartitionState, Resources
from ..scheduling.words import money
from ..sites import Sites
from ..store import Store


@dataclass(frozen=True)
class Take:
    """The job gets this machine."""

    record: PartitionRecord


@dataclass(frozen=True)
class Wait:
    """Another job has the machine, or makes it; ``ahead`` jobs wait for it before this one."""

    reason: str
    ahead: int


@dataclass(frozen=True)
class Refuse:
    """The machine is not what the job asks for."""

    failure: Failure


Verdict = Take | Wait | Refuse


Machine = tuple[str, "str | None"]
"""Owner and name of a machine that is kept."""


def machine_of(job: Job) -> Machine:
    """The machine that a job names."""
    return job.owner, job.spec.keep


def rivals_of(jobs: Iterable[Job]) -> Mapping[Machine, Sequence[Job]]:
    """Those of the jobs that name a machine, by the machine."""
    found: dict[Machine, list[Job]] = {}
    for job in jobs:
        if job.spec.keep is not None:
            found.setdefault(machine_of(job), []).append(job)
    return found


async def kept_partition(
    job: Job, need: Resources, rivals: Sequence[Job], store: Store, sites: Sites
) -> Verdict | None:
    """What the machine that a job names means for it; None when it is to be made.

    Parameters
    ----------
    job : Job
        A queued job whose specification has ``keep``.
    need : Resources
        What it reserves.
    rivals : sequence of Job
        The jobs that name the same machine and have a place, or could be placed now.
    """
    records = await store.list_partitions(active=True, owner=job.owner, keep=job.spec.keep)
    usable = [
        record
        for record in records
        if record.target is not PartitionState.DELETED
        and record.state is not PartitionState.DELETING
    ]
    record = usable[-1] if usable else None
    if record is not None:
        other = await _other_wish(job, need, record, store, sites)
        if other:
            return Refuse(_refusal(job, record, other))
    rivals = [rival for rival in rivals if _comes_before(rival, job)]
    if rivals:
        holder = min(rivals, key=lambda rival: (rival.state is JobState.QUEUED, *_rank(rival)))
        reason = f"Machine {job.spec.keep!r} is in use by job {holder.id}"
        return Wait(reason, sum(rival.state is JobState.QUEUED for rival in rivals))
    if record is None:
        return None
    full = _no_room(record, sites)
    return Wait(full, 0) if full else Take(record)


def _no_room(record: PartitionRecord, sites: Sites) -> str:
    """Why a machine that sleeps cannot be woken for now; "" if it can."""
    if record.state not in (PartitionState.SUSPENDING, PartitionState.SUSPENDED):
        return ""
    snapshot = sites.snapshot(record.site)
    if snapshot is not None and not snapshot.available:
        return f"Machine {record.keep!r} cannot be woken yet: {snapshot.reason}"
    offer = (record.flavor, record.region, record.zone, record.spot)
    reason = sites.blocked(record.site, *offer)
    return f"Machine {record.keep!r} cannot be woken yet: {reason}" if reason else ""


def _comes_before(rival: Job, job: Job) -> bool:
    """Whether another job has the machine, or is to have it first."""
    if rival.id == job.id or rival.state.final:
        return False
    return rival.state is not JobState.QUEUED or _rank(rival) < _rank(job)


def _rank(job: Job) -> tuple[dt.datetime, int, str]:
    """Where a job stands in the queue."""
    return job.created_at, job.array_index or 0, job.id


async def _other_wish(
    job: Job, need: Resources, record: PartitionRecord, store: Store, sites: Sites
) -> str:
    """What the job asks for that the machine is not; "" if it will do."""
    spec = job.spec
    pairs = (
        ("site", spec.site, record.site),
        ("flavor", spec.flavor, record.flavor),
        ("region", spec.region, record.region),
        ("zone", spec.zone, record.zone),
        ("image", spec.image, record.image or "the site's default"),
    )
    for name, wanted, has in pairs:
        if wanted is not None and wanted != has:
            return f"its {name} is {has}, not {wanted}"
    if spec.spot is not None and spec.spot is not record.spot:
        return "it is a spot node" if record.spot else "it is no spot node"
    if spec.max_price is not None and record.price is not None and record.price > spec.max_price:
        return f"it costs {money(record.price)} per hour"
    if spec.nodes != record.count:
        return f"it has {record.count} node{'s' if record.count > 1 else ''}, not {spec.nodes}"
    if record.site not in sites.gates:
        return f"its site {record.site} is not configured any more"
    before = await store.get_job(record.job_id)
    if before is not None and _login(before) != _login(job):
        return f"its login is {_login(before)}, not {_login(job)}"
    return _too_small(job, need, record, sites)


def _too_small(job: Job, need: Resources, record: PartitionRecord, sites: Sites) -> str:
    snapshot = sites.snapshot(record.site)
    for flavor in snapshot.flavors if snapshot is not None else ():
        if flavor.name != record.flavor:
            continue
        has = Resources(flavor.cpus, flavor.memory, flavor.gpus)
        if not need.fits_in(has):
            return f"it has {has}, which is less than {need}"
        if any(flavor.labels.get(name) != value for name, value in job.spec.labels.items()):
            return "it does not carry all the labels"
    return ""


def _login(job: Job) -> str:
    return job.spec.username or job.owner


def _refusal(job: Job, record: PartitionRecord, other: str) -> Failure:
    return Failure(
        "kept_differs",
        f"Machine {job.spec.keep!r} is kept as {record.flavor} at site {record.site}, but is not"
        f" what the job asks for: {other}.",
        "Ask for the machine as it is, delete it to have another made under its name "
        f"(skyport delete-partition {record.name}), or choose another name to keep.",
    )
