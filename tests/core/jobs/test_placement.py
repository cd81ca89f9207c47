"""What placing a job writes: the partition's record, the events, and machines that are kept."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.fernet import Fernet

from skyport_core.jobs.placement import Placer
from skyport_core.model import Job, JobState, PartitionRecord, PartitionState
from skyport_core.scheduling import FCFS
from skyport_core.settings import Settings
from skyport_core.sites import Sites
from skyport_core.store import Conflict, Store
from skyport_core.wire import JobRequest
from skyport_gates.gate import Flavor, Gate, GateUnavailable, Image, Scope
from tests.core.cloud import GPU, SMALL, CloudGate, LabGate, log, running_sites, terms
from tests.infra.wait import eventually

NAPTIME = ("sleep", "60")


@dataclass
class Office:
    """A placer over a real store and sites, whose jobs nobody runs."""

    store: Store
    sites: Sites
    placer: Placer
    woken: list[str]
    asked: list[str]
    clock: dt.datetime = field(
        default_factory=lambda: dt.datetime.now(dt.timezone.utc) - dt.timedelta(hours=1)
    )

    async def submit(self, owner: str = "alice", **wish: Any) -> str:
        """A new job, later than those before."""
        self.clock += dt.timedelta(seconds=1)
        job_id = str(uuid.uuid4())
        request = JobRequest.model_validate({"command": NAPTIME, **wish})
        await self.store.put_job(job_id, owner, request, self.clock)
        return job_id

    async def place(self, owner: str = "alice", **wish: Any) -> Job:
        """A job as one pass of planning leaves it."""
        job_id = await self.submit(owner, **wish)
        await self.placer.plan_once()
        return await self.job(job_id)

    async def job(self, job_id: str) -> Job:
        job = await self.store.get_job(job_id)
        assert job is not None
        return job

    async def partition(self, job: Job) -> PartitionRecord:
        assert job.partition is not None
        record = await self.store.get_partition(job.partition)
        assert record is not None
        return record

    async def told(self, job: Job) -> str:
        """The job's last event."""
        return (await self.store.events(job.id))[-1].message

    async def end(self, job: Job) -> PartitionRecord:
        """The job ends, and its machine, if it is kept, sleeps."""
        record = await self.partition(job)
        await self.store.update_job(job, state=JobState.FINISHED, target=JobState.FINISHED)
        rest = PartitionState.SUSPENDED
        return await self.store.update_partition(record, state=rest, target=rest)


@asynccontextmanager
async def opened(folder: Path, *gates: Gate) -> AsyncIterator[Office]:
    store = await Store.open(f"sqlite:///{folder / 'db'}", Fernet.generate_key())
    woken: list[str] = []
    asked: list[str] = []
    try:
        async with running_sites(*gates) as sites:
            settings = Settings(default_cpus=1, default_memory=1024)
            parts = (store, sites, FCFS(), settings)
            placer = Placer(
                *parts,
                core_id="c" * 32,
                wake=woken.append,
                wake_partition=asked.append,
                log=log,
            )
            yield Office(store, sites, placer, woken, asked)
    finally:
        await store.close()


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    async with opened(tmp_path, CloudGate(SMALL, GPU)) as office:
        yield office


async def test_the_record_has_the_offer_and_what_the_job_asked_for(office: Office) -> None:
    job = await office.place(
        spot=True, region="westeurope", zone="2", max_price=0.05, image="ubuntu", keep="desk"
    )
    record = await office.partition(job)
    assert (record.flavor, record.region, record.zone) == ("small", "westeurope", "2")
    assert (record.spot, record.price, record.max_price) == (True, 0.02, 0.05)
    assert (record.image, record.keep, record.owner) == ("ubuntu", "desk", "alice")
    assert (record.state, record.target) == (PartitionState.REQUESTED, PartitionState.READY)
    assert office.woken == [job.id]


async def test_the_event_names_size_place_and_price(office: Office) -> None:
    job = await office.place(spot=True, region="westeurope")
    assert await office.told(job) == (
        "Making a small in westeurope, zone 1 at azure (spot, $0.02 per hour)"
    )


async def test_the_event_names_another_currency(tmp_path: Path) -> None:
    flavor = Flavor("klein", 2, 4096, price=0.05, currency="EUR")
    async with opened(tmp_path, CloudGate(flavor)) as office:
        told = await office.told(await office.place())
        assert told == "Making a klein at azure (0.05 EUR per hour)"


async def test_the_owner_is_whose_job_it_is_whatever_the_login(office: Office) -> None:
    job = await office.place(username="shared")
    assert (await office.partition(job)).owner == "alice"
    assert job.username == "shared"


async def test_a_name_is_never_used_again(office: Office) -> None:
    first = await office.place()
    record = await office.partition(first)
    await office.store.update_partition(record, state=PartitionState.FAILED)
    again = await office.store.update_job(first, state=JobState.QUEUED, partition=None, site=None)
    await office.placer.plan_once()
    assert (await office.job(again.id)).partition not in (None, record.name)


async def test_a_blocked_zone_gives_way_to_the_next(office: Office) -> None:
    scope = Scope(frozenset({"small"}), "westeurope", "1", False)
    office.sites.block("azure", scope, "no capacity")
    assert (await office.partition(await office.place())).zone == "2"


async def test_thousands_of_offers_are_planned_too(tmp_path: Path) -> None:
    flavors = [
        Flavor(f"size{index}", 2, 4096, terms=(terms("west", 1 + index, *"123"),))
        for index in range(400)
    ]
    async with opened(tmp_path, CloudGate(*flavors)) as office:
        assert (await office.partition(await office.place())).flavor == "size0"


async def test_an_unknown_image_learns_the_images(office: Office) -> None:
    job = await office.place(image="windows", site="azure")
    assert job.failure is not None
    assert job.failure.message == "There is no image 'windows' at site azure."
    assert job.failure.hint == "Choose one of the images ubuntu."


async def test_an_image_leads_to_the_site_that_has_it(tmp_path: Path) -> None:
    other = CloudGate(Flavor("cheap", 2, 4096, price=0.001), images=())
    other.name = "other"
    async with opened(tmp_path, CloudGate(SMALL), other, LabGate()) as office:
        assert (await office.place(image="ubuntu")).site == "azure"


async def test_an_image_of_containers_boots_no_node(tmp_path: Path) -> None:
    gate = CloudGate(SMALL, images=(Image("scipy", kind="container"),))
    async with opened(tmp_path, gate) as office:
        job = await office.place(image="scipy")
        assert job.failure is not None
        assert job.failure.hint == "Name none."


async def test_a_job_waits_while_images_were_never_listed(tmp_path: Path) -> None:
    gate = CloudGate(SMALL)
    with mock.patch.object(gate, "images", side_effect=GateUnavailable("no answer")) as images:
        async with opened(tmp_path, gate) as office:
            job = await office.place(image="ubuntu")
            assert job.state is JobState.QUEUED
            assert job.wait_reason == "The images of site azure are not known yet"
            images.side_effect, images.return_value = None, gate.known_images
            await eventually(lambda: office.sites.snapshots()[0].images, "images listed")
            await office.placer.plan_once()
            assert (await office.job(job.id)).state is JobState.ALLOCATING


async def test_a_machine_that_cannot_sleep_is_not_kept(office: Office) -> None:
    job = await office.place(keep="desk", flavor="gpu")
    assert job.failure is not None
    assert job.failure.message == "The nodes of flavor gpu cannot sleep, so none can be kept."


async def test_a_kept_machine_goes_to_its_owners_next_job(office: Office) -> None:
    record = await office.end(await office.place(keep="desk"))
    job = await office.place(keep="desk")
    taken = await office.partition(job)
    assert (taken.name, taken.job_id) == (record.name, job.id)
    assert (taken.state, taken.target) == (PartitionState.SUSPENDED, PartitionState.READY)
    assert await office.told(job) == "Waking machine 'desk', a small in westeurope at azure"


async def test_a_kept_machine_is_not_for_others(office: Office) -> None:
    record = await office.end(await office.place(keep="desk"))
    job = await office.place("bob", keep="desk", username="alice")
    assert job.partition not in (None, record.name)


async def test_another_name_is_another_machine(office: Office) -> None:
    record = await office.end(await office.place(keep="desk"))
    assert (await office.place(keep="other")).partition != record.name
    assert (await office.place()).partition != record.name


async def test_a_kept_machine_in_use_is_waited_for(office: Office) -> None:
    first = await office.place(keep="desk")
    second = await office.place(keep="desk")
    third = await office.place(keep="desk")
    assert second.state is third.state is JobState.QUEUED
    assert second.wait_reason == f"Machine 'desk' is in use by job {first.id}"
    assert (second.position, third.position) == (1, 2)
    record = await office.end(first)
    await office.placer.plan_once()
    assert (await office.job(second.id)).partition == record.name
    assert (await office.job(third.id)).state is JobState.QUEUED


async def test_two_jobs_at_once_make_one_machine(office: Office) -> None:
    ids = [await office.submit(keep="desk") for _ in range(2)]
    await office.placer.plan_once()
    states = [(await office.job(job_id)).state for job_id in ids]
    assert states == [JobState.ALLOCATING, JobState.QUEUED]
    assert len(await office.store.list_partitions()) == 1


async def test_a_machine_that_is_being_deleted_is_made_anew(office: Office) -> None:
    record = await office.end(await office.place(keep="desk"))
    await office.store.update_partition(record, target=PartitionState.DELETED)
    job = await office.place(keep="desk")
    assert job.partition not in (None, record.name)


async def test_a_machine_without_room_to_wake_waits(office: Office) -> None:
    record = await office.end(await office.place(keep="desk"))
    scope = Scope(frozenset({"small"}), record.region, record.zone, False)
    office.sites.block("azure", scope, "no capacity left")
    job = await office.place(keep="desk")
    assert job.state is JobState.QUEUED
    assert "'desk' cannot be woken yet: no capacity left" in job.wait_reason


async def test_a_machine_at_a_site_that_does_not_answer_waits(tmp_path: Path) -> None:
    gate = CloudGate(SMALL)
    async with opened(tmp_path, gate) as office:
        await office.end(await office.place(keep="desk"))
        gate.trouble = GateUnavailable("no answer")
        await eventually(lambda: not office.sites.snapshots()[0].available, "outage seen")
        job = await office.place(keep="desk")
        assert job.state is JobState.QUEUED
        assert job.wait_reason == "Machine 'desk' cannot be woken yet: no answer"
        gate.trouble = None
        await eventually(lambda: office.sites.snapshots()[0].available, "end of the outage")
        await office.placer.plan_once()
        assert (await office.job(job.id)).state is JobState.ALLOCATING


async def test_a_refused_job_makes_way_for_who_waits_for_its_machine(office: Office) -> None:
    await office.submit(keep="desk", image="windows")
    second = await office.submit(keep="desk")
    planning = asyncio.create_task(office.placer.run())
    try:
        office.placer.replan()

        async def placed() -> bool:
            return (await office.job(second)).state is JobState.ALLOCATING

        await eventually(placed, "the second job placed", 5)
    finally:
        planning.cancel()
        await asyncio.gather(planning, return_exceptions=True)


@pytest.mark.parametrize(
    ("wish", "what"),
    [
        ({"site": "lab"}, "its site is azure, not lab"),
        ({"flavor": "gpu"}, "its flavor is small, not gpu"),
        ({"region": "northeurope"}, "its region is westeurope, not northeurope"),
        ({"zone": "2"}, "its zone is 1, not 2"),
        ({"image": "debian"}, "its image is the site's default, not debian"),
        ({"spot": True}, "it is no spot node"),
        ({"max_price": 0.01}, "it costs 0.10 per hour"),
        ({"username": "other"}, "its login is alice, not other"),
        ({"cpus": 64}, "it has 2 cpus, 8192 MiB, which is less than 64 cpus, 1024 MiB"),
        ({"labels": {"disk": "ssd"}}, "it does not carry all the labels"),
    ],
)
async def test_a_wish_that_the_kept_machine_does_not_meet_is_refused(
    office: Office, wish: dict[str, Any], what: str
) -> None:
    record = await office.end(await office.place(keep="desk"))
    job = await office.place(keep="desk", **wish)
    assert job.failure is not None
    assert (job.state, job.failure.reason) == (JobState.FAILED, "kept_differs")
    assert what in job.failure.message
    assert f"skyport delete-partition {record.name}" in job.failure.hint


async def test_a_spot_machine_is_kept_for_those_who_take_spot(office: Office) -> None:
    record = await office.end(await office.place(keep="desk", spot=True))
    assert (await office.place(keep="desk")).failure is not None
    assert (await office.place(keep="desk", spot=None)).partition == record.name


async def test_a_job_that_changed_meanwhile_leaves_no_record_unseen(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await office.job(await office.submit())
    put = office.store.put_partition

    async def put_while_the_job_is_cancelled(record: PartitionRecord) -> PartitionRecord:
        await office.store.update_job(job, target=JobState.CANCELLED)
        return await put(record)

    monkeypatch.setattr(office.store, "put_partition", put_while_the_job_is_cancelled)
    with pytest.raises(Conflict):
        await office.placer.plan_once()
    (record,) = await office.store.list_partitions()
    assert office.asked == [record.name]


async def test_nodes_are_made_together(office: Office) -> None:
    job = await office.place(nodes=3, walltime=3600)
    assert (await office.partition(job)).count == 3
    assert await office.told(job) == (
        "Making 3 nodes small in westeurope, zone 1 at azure ($0.30 per hour)"
    )


async def test_several_nodes_are_not_taken_from_those_that_exist(tmp_path: Path) -> None:
    async with opened(tmp_path, LabGate()) as office:
        failure = (await office.place(nodes=2)).failure
        assert failure is not None
        assert "given to jobs one by one" in failure.message


async def test_nothing_is_made_for_a_job_that_is_not_relocatable(office: Office) -> None:
    failure = (await office.place(relocatable=False)).failure
    assert failure is not None
    assert "only for nodes that exist" in failure.message


async def test_a_node_has_the_disk_that_was_asked_for(office: Office) -> None:
    assert (await office.partition(await office.place(storage=64))).flavor == "small"
    failure = (await office.place(storage=65)).failure
    assert failure is not None
    assert (
        failure.message
        == "No node has 65 GiB of disk: the largest is small at site azure with 64 GiB."
    )


async def test_an_account_of_a_site_leads_there(tmp_path: Path) -> None:
    async with opened(tmp_path, CloudGate(SMALL), LabGate()) as office:
        assert (await office.place()).site == "lab"
        assert (await office.place(account="azure")).site == "azure"


async def test_a_place_has_a_price_and_a_share(tmp_path: Path) -> None:
    async with opened(tmp_path, CloudGate(SMALL), LabGate()) as office:
        job = await office.place(site="lab", cpus=1, memory=2048)
        assert (job.flavor, job.share, job.price) == ("bench", 0.5, None)
        job = await office.place(site="azure")
        assert (job.flavor, job.share, job.price, job.currency) == ("small", 1.0, 0.1, "USD")


async def test_the_jobs_of_an_array_are_placed_in_order(tmp_path: Path) -> None:
    async with opened(tmp_path, LabGate()) as office:
        first = await office.submit(array="0-5", cpus=1)
        await office.placer.plan_once()
        jobs = await office.store.list_jobs(array=first)
        placed = [job.array_index for job in jobs if job.state is JobState.ALLOCATING]
        assert sorted(index or 0 for index in placed) == [0, 1, 2, 3]


async def test_a_large_index_comes_before_later_jobs(tmp_path: Path) -> None:
    async with opened(tmp_path, LabGate()) as office:
        first = await office.submit(array="0,9000000", cpus=2)
        office.clock -= dt.timedelta(milliseconds=999)
        later = await office.submit("bob", cpus=2)
        await office.placer.plan_once()
        jobs = await office.store.list_jobs(array=first)
        assert [job.state for job in jobs] == [JobState.ALLOCATING] * 2
        assert (await office.job(later)).state is JobState.QUEUED
