"""What a core makes at Azure bears its tags and no secret; what has the tags but no job goes."""

from __future__ import annotations

import base64
import contextlib
import json
from collections.abc import AsyncIterator

import pytest
from azure.core.exceptions import HttpResponseError

from skyport_core.model import JobState
from tests.infra.arm.clients import GROUP, Clients, clients, subnet_id, vm_request
from tests.infra.arm.faults import Fault
from tests.infra.arm.router import Call
from tests.infra.arm.state import DISK, NIC, VM
from tests.infra.azure import AzureDesk, azure_desk
from tests.infra.requirements import needs_root
from tests.infra.wait import eventually

pytestmark = needs_root


@pytest.fixture
async def azure() -> AsyncIterator[AzureDesk]:
    async with azure_desk(gate={"disk": "managed"}) as opened:
        yield opened


async def boot_data(azure: AzureDesk) -> bytes:
    """What a machine of the core was told for its first boot."""
    job_id = await azure.desk.submit("sleep", "60")
    await azure.desk.reach(job_id, JobState.RUNNING)
    (machine,) = azure.arm.machines().values()
    await azure.stop(job_id)
    return machine.custom_data


async def make_disk(sdk: Clients, name: str, tags: dict[str, str]) -> None:
    """A disk that belongs to no machine."""
    body = {
        "location": "westeurope",
        "tags": tags,
        "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 4},
    }
    poller = await sdk.compute.disks.begin_create_or_update(GROUP, name, body)
    await poller.result()


async def make_nic(sdk: Clients, name: str, tags: dict[str, str]) -> None:
    """A network interface that belongs to no machine."""
    place = {"name": "ip", "properties": {"subnet": {"id": subnet_id(sdk.arm)}}}
    body = {
        "location": "westeurope",
        "tags": tags,
        "properties": {"ipConfigurations": [place]},
    }
    poller = await sdk.network.network_interfaces.begin_create_or_update(GROUP, name, body)
    await poller.result()


async def test_what_bears_a_cores_tag_and_is_no_jobs_is_removed(azure: AzureDesk):
    core_id = (await azure.desk.client.health()).core_id
    boot = {"customData": base64.b64encode(await boot_data(azure)).decode()}

    def tags(partition: str, core: str = core_id) -> dict[str, str]:
        return {"skyport-core": core, "skyport-partition": partition}

    async with clients(azure.endpoint) as sdk:
        await make_disk(sdk, "others-disk", tags("sp-other", "another-core"))
        machine = vm_request(azure.arm, "stray-vm", osProfile=boot)
        with contextlib.suppress(HttpResponseError):  # it may be found before it is whole
            await sdk.create("stray-vm", {**machine, "tags": tags("stray-vm")})
        await make_disk(sdk, "stray-disk", tags("sp-disk"))
        await make_nic(sdk, "stray-nic", tags("sp-nic"))

        def left() -> list[str]:
            return [one.rpartition("/")[2] for one in azure.arm.leftovers()]

        await eventually(lambda: left() == ["others-disk"], "removal of the strays", 20)
        searches = azure.arm.calls.count("disks.list")
        await eventually(lambda: azure.arm.calls.count("disks.list") > searches + 1, "two searches")
        assert left() == ["others-disk"]
        poller = await sdk.compute.disks.begin_delete(GROUP, "others-disk")
        await poller.result()


async def test_machine_disk_and_interface_name_core_partition_job_and_owner(azure: AzureDesk):
    job_id = await azure.desk.submit("sleep", "60")
    job = await azure.desk.reach(job_id, JobState.RUNNING)
    wanted = {
        "skyport-core": (await azure.desk.client.health()).core_id,
        "skyport-partition": job.partition,
        "skyport-job": job_id,
        "skyport-owner": "ann",
    }
    for kind in (VM, NIC, DISK):
        (made,) = azure.arm.resources.list(kind)
        assert made.body["tags"].items() >= wanted.items(), kind
    await azure.stop(job_id)


async def test_no_secret_of_the_core_goes_into_a_machine(azure: AzureDesk):
    sent: list[Call] = []
    shown: set[str] = set()

    def note(call: Call) -> bool:
        shown.add(call.headers.get("Authorization", "").partition(" ")[2])
        if call.kind == "virtualMachines.put":
            sent.append(call)
        return False

    azure.arm.faults.add(Fault("*", match=note))
    job_id = await azure.desk.submit("sleep", "60", environment={"API_TOKEN": "of-the-job-1"})
    await azure.desk.reach(job_id, JobState.RUNNING)
    (put,) = sent
    (machine,) = azure.arm.machines().values()
    text = json.dumps(put.body) + machine.custom_data.decode()
    assert "ssh-ed25519" in text and "skyport-core" in text
    secrets = {azure.endpoint.client_secret, "of-the-job-1", *shown} - {""}
    assert len(secrets) > 2, "a token of the core was seen"
    assert not [secret for secret in secrets if secret in text]
    await azure.stop(job_id)
