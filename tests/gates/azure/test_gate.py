"""The life of a partition: made by one request, ready with its address, verified gone."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json

import asyncssh
import pytest

from skyport_gates.azure.operations import PREFIX
from skyport_gates.gate import (
    GateUnavailable,
    InvalidRequest,
    PartitionNotFound,
    PartitionStatus,
    Quota,
    Spot,
    Suspend,
)
from tests.gates.azure.site import REGION, SIZE, Core, Site
from tests.infra.arm import presets
from tests.infra.arm.backends.null import NullBackend
from tests.infra.arm.compute import remove
from tests.infra.wait import eventually

READY, CREATING = PartitionStatus.READY, PartitionStatus.CREATING
DELETING, FAILED = PartitionStatus.DELETING, PartitionStatus.FAILED
SHARED = {
    "virtualMachines.list",
    "virtualMachines.listAll",
    "networkInterfaces.list",
    "disks.list",
    "publicIPAddresses.list",
}


def backend(site: Site) -> NullBackend:
    assert isinstance(site.arm.backend, NullBackend)
    return site.arm.backend


async def test_the_gate_has_the_powers_of_sleep_spot_and_quota(azure: Site) -> None:
    assert isinstance(azure.gate, Suspend)
    assert isinstance(azure.gate, Spot)
    assert isinstance(azure.gate, Quota)
    assert await azure.gate.images()

    async def limits_of_the_region() -> bool:
        return REGION in {use.region for use in await azure.gate.quotas()}

    await eventually(limits_of_the_region, "the limits have been read")


async def test_a_partition_is_ready_with_its_address_size_and_host_key(azure: Site) -> None:
    partition = await azure.ready()
    (node,) = partition.nodes
    assert node.endpoint.host == azure.arm.machines()["sp-1"].address
    assert (node.endpoint.port, node.endpoint.username) == (22, "alice")
    assert (node.flavor, node.cpus, node.memory) == (SIZE, 2, 8192)
    (key,) = node.endpoint.host_keys
    data = azure.arm.machines()["sp-1"].custom_data
    assert asyncssh.import_public_key(key).export_public_key().split()[1] in data


async def test_a_machine_that_is_kept_is_never_told_how_to_delete_itself(bare: Site) -> None:
    group = f"/subscriptions/{bare.arm.subscription}/resourceGroups/skyport"
    identity = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/jobs"
    await bare.start(identity=identity)
    await bare.gate.create(bare.request())
    await bare.gate.create(bare.request("sp-2", suspendable=True))
    told = {name: made.custom_data for name, made in bare.arm.machines().items()}
    assert identity.encode() in told["sp-1"]
    assert identity.encode() not in told["sp-2"]


async def test_a_partition_is_ready_before_its_creation_has_ended(azure: Site) -> None:
    backend(azure).hold()
    await azure.gate.create(azure.request())
    await azure.is_(READY)
    assert azure.arm.vm("sp-1").properties["provisioningState"] == "Creating"
    backend(azure).release()


async def test_a_life_takes_two_writes_and_few_reads(azure: Site) -> None:
    await azure.ready()
    await azure.gate.delete("sp-1")
    await azure.gone()
    own = [call for call in azure.arm.calls if call.kind not in SHARED]
    assert [call.kind for call in own if call.method != "GET"] == [
        "virtualMachines.put",
        "virtualMachines.delete",
    ]
    assert len([call for call in own if call.method == "GET"]) <= 5
    assert azure.arm.leftovers() == []


async def test_many_partitions_share_their_looks(azure: Site) -> None:
    names = [f"sp-{number}" for number in range(20)]
    backend(azure).hold()
    await asyncio.gather(*(azure.gate.create(azure.request(name)) for name in names))
    for name in names:
        await azure.is_(READY, name)
    assert azure.arm.calls.count("networkInterfaces.list") <= 5
    assert azure.arm.calls.count("virtualMachines.get") == 0
    backend(azure).release()


async def test_nothing_is_asked_while_there_is_nothing_to_watch(bare: Site) -> None:
    await bare.start(fleet_interval=0.05)
    await bare.ready()
    await bare.gate.delete("sp-1")
    await bare.gone()
    bare.arm.calls.clear()
    await asyncio.sleep(0.3)
    assert [call.kind for call in bare.arm.calls if call.kind in SHARED] == []


async def test_what_is_made_carries_the_tags(bare: Site) -> None:
    await bare.start(public_ip=True, extra_tags={"costs": "lab 7"})
    await bare.ready()
    wanted = {
        "skyport-core": "core-1",
        "skyport-partition": "sp-1",
        "skyport-job": "job-1",
        "costs": "lab 7",
    }
    for kind in ("virtualMachines", "networkInterfaces", "publicIPAddresses"):
        (found,) = [each for each in bare.arm.resources if each.type.endswith(f"/{kind}")]
        assert wanted.items() <= found.body["tags"].items(), kind


async def test_with_public_addresses_the_core_uses_these(bare: Site) -> None:
    await bare.start(public_ip=True)
    partition = await bare.ready()
    assert partition.nodes[0].endpoint.host.startswith("203.0.113.")
    await bare.gate.delete("sp-1")
    await bare.gone()
    assert bare.arm.leftovers() == []


async def test_several_nodes_are_several_machines(bare: Site) -> None:
    await bare.start(placement_group=True)
    partition = await bare.ready(count=3)
    assert [node.name for node in partition.nodes] == ["sp-1-0", "sp-1-1", "sp-1-2"]
    assert len({node.endpoint.host for node in partition.nodes}) == 3
    assert len({node.endpoint.host_keys for node in partition.nodes}) == 3
    groups = {
        vm.properties["proximityPlacementGroup"]["id"].lower()
        for vm in (bare.arm.vm(node.name) for node in partition.nodes)
    }
    assert len(groups) == 1
    assert [each.name for each in await bare.gate.list()] == ["sp-1"]
    await bare.gate.delete("sp-1")
    await bare.gone()
    assert bare.arm.leftovers() == []
    assert not [each for each in bare.arm.resources if "proximity" in each.type.lower()]


async def test_a_name_that_azure_does_not_allow_is_mapped(azure: Site) -> None:
    name = "a name/with_marks." + "x" * 60
    partition = await azure.ready(name)
    assert partition.name == name
    assert [each.name for each in await azure.gate.list()] == [name]
    await azure.gate.delete(name)
    await azure.gone(name)


async def test_a_request_without_region_goes_to_the_preferred_one(azure: Site) -> None:
    await azure.ready(region="")
    assert azure.arm.vm("sp-1").location == REGION


async def test_a_size_that_a_region_does_not_have_is_refused(azure: Site) -> None:
    with pytest.raises(InvalidRequest, match="no size 'Standard_D2s_v5' in eastus"):
        await azure.gate.create(azure.request(region="eastus"))


async def test_the_machine_of_another_core_is_left_alone(azure: Site) -> None:
    other = Core(azure.home)
    other.context = type(other.context)("core-2", azure.home, azure.core.context.user_ca)
    stranger = azure.make(core=other)
    await stranger.start()
    await stranger.create(azure.request(tags={"skyport-core": "core-2"}))
    with pytest.raises(InvalidRequest, match="of somebody else"):
        await azure.gate.create(azure.request())
    await azure.gate.delete("sp-1")
    assert await azure.gate.list() == []
    assert "sp-1" in azure.arm.machines()


async def test_a_change_of_the_tags_case_hides_nothing(azure: Site) -> None:
    await azure.ready()
    vm = azure.arm.vm("sp-1")
    vm.body["tags"] = {key.upper(): value for key, value in vm.body["tags"].items()}
    await azure.start(core=Core(azure.home))
    assert [each.name for each in await azure.gate.list()] == ["sp-1"]


# -- removal -----------------------------------------------------------------------------------


async def test_a_removal_is_asked_for_once(azure: Site) -> None:
    await azure.ready()
    azure.arm.faults.add(presets.slow(0.3, "virtualMachines.delete"))
    for _ in range(5):
        await azure.gate.delete("sp-1")
        assert (await azure.gate.get("sp-1")).status is DELETING
    await azure.gone()
    assert azure.arm.calls.count("virtualMachines.delete") == 1


async def test_a_removal_that_lies_is_asked_for_again(azure: Site) -> None:
    await azure.ready()
    azure.arm.faults.add(presets.delete_lies())
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []
    assert azure.arm.calls.count("virtualMachines.delete") == 2


async def test_what_a_removal_leaves_behind_is_removed_too(bare: Site) -> None:
    await bare.start(public_ip=True)
    await bare.ready(suspendable=True)
    bare.arm.faults.add(presets.delete_leaves())
    await bare.gate.delete("sp-1")
    await bare.gone()
    assert bare.arm.leftovers() == []


async def test_an_interface_that_azure_still_holds_is_removed_later(azure: Site) -> None:
    await azure.ready()
    azure.arm.faults.add(presets.delete_leaves(), presets.nic_reserved(times=2))
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_a_failing_removal_is_told_to_the_core_and_tried_again(azure: Site) -> None:
    await azure.ready()
    azure.arm.faults.add(presets.server_error(500, "virtualMachines.delete"))
    with pytest.raises(GateUnavailable):
        await azure.gate.delete("sp-1")
    assert (await azure.gate.get("sp-1")).status is DELETING
    await azure.gate.delete("sp-1")
    await azure.gone()


async def test_a_conflict_means_that_it_is_being_removed(azure: Site) -> None:
    await azure.ready()
    azure.arm.faults.add(presets.conflict())
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_a_partition_that_only_left_strays_is_listed_and_removed(azure: Site) -> None:
    await azure.ready()
    remove(azure.arm, azure.arm.vm("sp-1"), cascade=False)
    assert [each.name for each in await azure.gate.list()] == ["sp-1"]
    await azure.start(core=Core(azure.home))
    assert [each.name for each in await azure.gate.list()] == ["sp-1"]
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_strays_without_tags_are_found_by_their_names(azure: Site) -> None:
    await azure.ready(suspendable=True)
    remove(azure.arm, azure.arm.vm("sp-1"), cascade=False)
    for each in azure.arm.resources:
        if each.id in azure.arm.leftovers():
            each.body.pop("tags", None)
    await azure.start(core=Core(azure.home))
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_what_appears_after_its_removal_is_removed_again(azure: Site) -> None:
    await azure.ready()
    await azure.gate.delete("sp-1")
    await azure.gone()
    twin = azure.make(core=Core(azure.home))
    await twin.start()
    await twin.create(azure.request())
    await twin.close(idle=False)
    assert [each.name for each in await azure.gate.list()] == ["sp-1"]
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_not_found_needs_a_look_that_began_after_the_removal(azure: Site) -> None:
    await azure.ready()
    azure.arm.calls.clear()
    await azure.gate.delete("sp-1")
    await azure.gone()
    kinds = [call.kind for call in azure.arm.calls]
    assert kinds.index("virtualMachines.delete") < kinds.index("virtualMachines.list")


async def test_a_name_that_never_was_is_looked_for_once(azure: Site) -> None:
    with pytest.raises(PartitionNotFound):
        await azure.gate.get("sp-9")
    assert azure.arm.calls.count("virtualMachines.list") == 1


# -- diagnosis ---------------------------------------------------------------------------------


async def test_the_console_of_a_machine_is_shown_without_control_characters(azure: Site) -> None:
    await azure.ready()
    text = await azure.gate.diagnose("sp-1")
    assert "Linux version" in text
    assert "sp-1 login:" in text
    assert "\x1b" not in text


async def test_without_boot_diagnostics_nothing_is_known(bare: Site) -> None:
    await bare.start(boot_diagnostics=False)
    await bare.ready()
    assert await bare.gate.diagnose("sp-1") == ""
    assert bare.arm.calls.count("virtualMachines.retrieveBootDiagnosticsData") == 0


async def test_of_an_unknown_partition_there_is_no_diagnosis(azure: Site) -> None:
    with pytest.raises(PartitionNotFound):
        await azure.gate.diagnose("sp-9")


# -- the gate itself ---------------------------------------------------------------------------


async def test_a_closed_gate_says_so(bare: Site) -> None:
    gate = bare.make()
    with pytest.raises(GateUnavailable, match="not started"):
        await gate.flavors()


async def test_closing_leaves_no_task_behind(azure: Site) -> None:
    await azure.ready()
    await azure.gate.close(idle=False)
    await eventually(
        lambda: not [task for task in asyncio.all_tasks() if task.get_name().startswith("azure")],
        "the gate's tasks are over",
    )


async def test_operations_are_forgotten_at_their_end(azure: Site) -> None:
    await azure.ready()

    async def none_left() -> bool:
        return not await azure.core.store.items(PREFIX)

    await eventually(none_left, "no operation is remembered")


async def test_what_the_gate_remembers_holds_no_secret_of_the_machine(azure: Site) -> None:
    backend(azure).hold()
    await azure.gate.create(azure.request())
    kept = await azure.core.store.items()
    del kept["secret"]
    token = json.loads(base64.b64decode(json.loads(kept[PREFIX + "sp-1"])["token"]))
    texts = [*kept.values(), base64.b64decode(token["data"]["response"]["content"]).decode()]
    assert any("adminUsername" in text for text in texts)
    assert not [text for text in texts if "customData" in text or "PRIVATE" in text]
    backend(azure).release()


async def test_the_core_hears_of_every_step(azure: Site) -> None:
    begin = dt.datetime.now(dt.timezone.utc)
    await azure.ready()
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert set(azure.core.changes) == {"sp-1"}
    assert (dt.datetime.now(dt.timezone.utc) - begin).total_seconds() < 10
