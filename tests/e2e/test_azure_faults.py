"""What can go wrong with a machine of Azure: the job runs elsewhere or its user hears why."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from skyport_core.model import JobState
from skyport_core.wire import JobView
from tests.infra.arm.faults import Fault
from tests.infra.azure import AzureDesk, azure_desk
from tests.infra.desk import SERVER
from tests.infra.requirements import needs_root
from tests.infra.wait import eventually

pytestmark = needs_root

D4 = "Standard_D4s_v5"
QUOTA = (
    "Operation could not be completed as it results in exceeding approved standardDSv5Family "
    "Cores quota. Additional details - Deployment Model: Resource Manager, Location: "
    "westeurope, Current Limit: 10, Current Usage: 8, Additional Required: 4."
)


@pytest.fixture
async def azure() -> AsyncIterator[AzureDesk]:
    async with azure_desk() as opened:
        yield opened


async def running(azure: AzureDesk, job_id: str, timeout: float = 30) -> JobView:
    """The job once its server answers; a failure names its cause."""
    job = await azure.desk.reach(job_id, JobState.RUNNING, JobState.FAILED, timeout=timeout)
    assert job.state is JobState.RUNNING, job.failure
    return job


async def came_back(azure: AzureDesk, job_id: str) -> None:
    """Wait until the job runs on another machine than its first."""

    async def elsewhere() -> bool:
        job = await azure.desk.job(job_id)
        return job.state is JobState.RUNNING and not str(job.node).endswith("-0")

    await eventually(elsewhere, "the job runs on another machine", 30)


async def told(azure: AzureDesk, job_id: str) -> str:
    """All that the user was told."""
    return "\n".join(event.message for event in await azure.desk.events(job_id))


def fault(when: str, code: str = "InternalServerError", **more: object) -> Fault:
    return Fault("virtualMachines.put", code, message=f"{code}.", when=when, **more)


@pytest.mark.parametrize(
    ("trouble", "word"),
    [
        pytest.param(fault("before", "SkuNotAvailable"), D4, id="size not available"),
        pytest.param(fault("lro", "ZonalAllocationFailed"), "zone", id="zone is full"),
        pytest.param(fault("lro", "AllocationFailed"), D4, id="region is full"),
        pytest.param(
            Fault("virtualMachines.put", "OperationNotAllowed", 409, QUOTA), "quota", id="quota"
        ),
        pytest.param(fault("lro", "OSProvisioningTimedOut"), "", id="failure after acceptance"),
    ],
)
async def test_another_offer_is_taken(azure: AzureDesk, trouble: Fault, word: str):
    azure.arm.faults.add(trouble)
    job_id = await azure.desk.serve(flavor=D4)
    await running(azure, job_id)
    assert trouble.struck == 1
    assert word in await told(azure, job_id)
    await eventually(lambda: len(azure.vms()) == 1, "only the machine in use exists")
    await azure.stop(job_id)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(fault("lost_answer"), id="answer lost"),
        pytest.param(fault("reset", times=2), id="connection reset"),
        pytest.param(fault("before", status=500, times=2), id="server error"),
        pytest.param(fault("before", "TooManyRequests", status=429, retry_after=1), id="throttled"),
    ],
)
async def test_the_same_offer_is_asked_for_again(azure: AzureDesk, trouble: Fault):
    azure.arm.faults.add(trouble)
    job_id = await azure.desk.serve(flavor=D4)
    await running(azure, job_id)
    assert len(azure.vms()) == 1
    assert azure.vms()[0].endswith("-0"), "the first attempt's machine"
    assert "hrottl" not in await told(azure, job_id)
    await azure.stop(job_id)


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param({"status": 500, "times": 3}, id="error"),
        pytest.param({"when": "lie"}, id="says done and does nothing"),
        pytest.param({"when": "leftover"}, id="leaves parts behind"),
        pytest.param({"when": "lost_answer"}, id="answer lost"),
        pytest.param({"when": "lro", "code": "InternalExecutionError"}, id="fails later"),
    ],
)
async def test_a_removal_is_repeated_until_nothing_is_left(azure: AzureDesk, trouble: dict):
    job_id = await azure.desk.serve(flavor=D4)
    await running(azure, job_id)
    strike = azure.arm.faults.add(Fault("virtualMachines.delete", **trouble))
    await azure.stop(job_id)
    assert strike.struck


@pytest.mark.parametrize("when", ["delay", "late"], ids=["before the work", "after the work"])
async def test_a_core_killed_between_request_and_answer_makes_no_second_machine(
    azure: AzureDesk, when: str
):
    held = azure.arm.faults.add(fault(when, seconds=1.5))
    job_id = await azure.desk.serve(flavor=D4)
    await eventually(lambda: held.struck, "the request arrived")
    if when == "late":
        await eventually(azure.vms, "the machine is made")
    await azure.desk.core.kill9()
    assert not azure.arm.calls.count("virtualMachines.put"), "no answer had been given"
    await azure.desk.core.start()
    await running(azure, job_id)
    assert len(azure.vms()) == 1
    await azure.stop(job_id)


async def test_azure_may_be_away_for_a_while(azure: AzureDesk):
    first = await azure.desk.serve(flavor=D4)
    await running(azure, first)
    outage = asyncio.create_task(azure.outage(4))
    await eventually(lambda: not azure.endpoint.listening, "the outage", interval=0.01)
    second = await azure.desk.serve(flavor=D4)
    assert (await azure.desk.job(first)).state is JobState.RUNNING
    await outage
    await running(azure, second)
    assert (await azure.desk.job(first)).state is JobState.RUNNING
    await azure.desk.client.delete_job(second, wait=10)
    await azure.stop(first)


@pytest.mark.parametrize("notice", [0.0, 5.0])
async def test_an_evicted_job_runs_on_elsewhere(azure: AzureDesk, notice: float):
    job_id = await azure.desk.serve(flavor=D4, spot=True, on_eviction="requeue")
    await running(azure, job_id)
    (evicted,) = azure.vms()
    azure.arm.spawn(azure.arm.evict(evicted, notice=notice))
    await came_back(azure, job_id)
    await eventually(lambda: evicted not in azure.vms(), "the evicted machine is gone", 20)
    await azure.stop(job_id)


async def test_an_evicted_machine_that_is_kept_is_woken_again():
    async with azure_desk("c.SkyPortCore.block_time = 2") as azure:
        script = (
            'echo on >> notes; cat notes; exec python3 -m http.server --bind "$ADDRESS" "$PORT"'
        )
        job_id = await azure.desk.serve(script, flavor=D4, spot=True, keep="lab")
        await running(azure, job_id)
        (evicted,) = azure.vms()
        await azure.arm.evict(evicted, notice=0)
        woken = "Waking machine 'lab'"
        await eventually(lambda: _told(azure, job_id, woken), "the machine is woken", 30)
        await running(azure, job_id)
        assert azure.vms() == [evicted]
        await eventually(lambda: _logged(azure, job_id, "on\non\n"), "its second start", 20)
        await azure.desk.client.delete_job(job_id, wait=10)
        await azure.desk.end(job_id)
        assert "on\non\n" in await azure.desk.log(job_id)
        await forget_machines(azure)


async def _logged(azure: AzureDesk, job_id: str, words: str) -> bool:
    return words in await azure.desk.log(job_id)


async def _told(azure: AzureDesk, job_id: str, words: str) -> bool:
    return words in await told(azure, job_id)


async def forget_machines(azure: AzureDesk) -> None:
    """Delete what is kept, and see that nothing is left."""
    for partition in await azure.desk.client.partitions():
        if partition.keep:
            await azure.desk.client.delete_partition(partition.name)
    await azure.nothing_left()


async def test_results_are_saved_within_the_notice_and_moved(azure: AzureDesk):
    script = (
        "mkdir -p results; [ -e results/seen ] && echo moved >> results/seen || "
        'echo first > results/seen; exec python3 -m http.server --bind "$ADDRESS" "$PORT"'
    )
    job_id = await azure.desk.serve(
        script, flavor=D4, spot=True, on_eviction="move", outputs=["results/**"]
    )
    await running(azure, job_id)
    azure.arm.spawn(azure.arm.evict(azure.vms()[0], notice=10))
    await came_back(azure, job_id)
    await azure.stop(job_id)
    saved = azure.desk.core.home / "jobs" / job_id / "files/results/seen"
    assert saved.read_text() == "first\nmoved\n"


async def test_a_machine_that_never_answers_fails_with_its_boot_log():
    async with azure_desk("c.SkyPortCore.boot_timeout = 2") as azure:
        azure.backend.silent = _Everything()
        job_id = await azure.desk.serve(flavor=D4, site="azure")
        job = await azure.desk.end(job_id, timeout=40)
        assert job.state is JobState.FAILED and job.failure is not None
        assert "Gave up waiting for the root device" in job.failure.log_tail


class _Everything(set[str]):
    def __contains__(self, item: object) -> bool:
        return True


async def test_a_kept_machine_sleeps_and_wakes_with_its_files(azure: AzureDesk):
    first = await azure.desk.serve(f"echo kept > notes; {SERVER}", flavor=D4, keep="lab")
    await running(azure, first)
    await azure.desk.client.delete_job(first, wait=10)
    await azure.desk.end(first)
    (vm,) = azure.vms()
    second = await azure.desk.serve(f"cat notes; {SERVER}", flavor=D4, keep="lab")
    await running(azure, second)
    assert azure.vms() == [vm]
    await azure.desk.client.delete_job(second, wait=10)
    await azure.desk.end(second)
    assert "kept" in await azure.desk.log(second)
    await forget_machines(azure)
