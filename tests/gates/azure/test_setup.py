"""``azure setup`` from an empty subscription on, with the real SDK: plan, make, look again."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from skyport_gates.azure.admin import AdminClients
from skyport_gates.azure.network import CORE_RULE, DENY_RULE, Rule
from skyport_gates.azure.rights import CATALOG, MACHINES
from skyport_gates.azure.settings import AzureSettings
from skyport_gates.azure.setup import Setup, Standing, Step, Wishes
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.faults import Fault

CORE = "10.0.0.4/32"
PRINCIPAL = str(uuid.UUID(int=7))


@pytest.fixture
async def arm() -> AsyncIterator[ArmEndpoint]:
    async with ArmEndpoint(empty=True) as endpoint:
        yield endpoint


@asynccontextmanager
async def setup(arm: ArmEndpoint, wishes: Wishes, **options: object) -> AsyncIterator[Setup]:
    settings = AzureSettings(**arm.gate_options(**{"regions": ["westeurope"], **options}))
    async with AdminClients(settings) as clients:
        yield Setup(settings, clients, wishes, interval=0.01)


async def look(arm: ArmEndpoint, wishes: Wishes, **options: object) -> list[Step]:
    async with setup(arm, wishes, **options) as made:
        return await made.look()


async def make(arm: ArmEndpoint, wishes: Wishes, **options: object) -> None:
    async with setup(arm, wishes, **options) as made:
        for step in await made.look():
            if step.standing is not Standing.THERE:
                assert step.act is not None
                await step.act()


def named(steps: list[Step], words: str) -> Step:
    (found,) = (step for step in steps if words in step.title)
    return found


def rules_of(arm: ArmEndpoint) -> dict[str, dict[str, Any]]:
    (group,) = arm.arm.resources.list("Microsoft.Network/networkSecurityGroups")
    return {one["name"]: one["properties"] for one in group.properties["securityRules"]}


async def test_an_empty_subscription_gets_everything(arm: ArmEndpoint) -> None:
    wishes = Wishes(core=[CORE], nat=True, principal=PRINCIPAL)
    await make(arm, wishes)
    (network,) = arm.arm.resources.list("Microsoft.Network/virtualNetworks")
    assert network.name == "skyport-westeurope"
    (subnet,) = arm.arm.resources.list("Microsoft.Network/virtualNetworks/subnets")
    assert subnet.name == "nodes"
    assert subnet.properties["networkSecurityGroup"]["id"].endswith("/skyport-westeurope")
    assert subnet.properties["natGateway"]["id"].endswith("/skyport-westeurope")
    assert rules_of(arm)[CORE_RULE]["sourceAddressPrefix"] == CORE
    assert rules_of(arm)[DENY_RULE]["access"] == "Deny"
    roles = [role.name for role in arm.arm.rights.roles.values() if role.custom]
    assert {name.partition(" (")[0] for name in roles} == {MACHINES.title, CATALOG.title}
    given = [one for one in arm.arm.rights.assignments if one.principal == PRINCIPAL]
    assert {one.scope.count("/") for one in given} == {2, 4}


async def test_a_second_run_finds_nothing_to_do(arm: ArmEndpoint) -> None:
    wishes = Wishes(core=[CORE], nat=True, principal=PRINCIPAL)
    await make(arm, wishes)
    steps = await look(arm, wishes)
    assert {step.standing for step in steps} == {Standing.THERE}


@pytest.mark.parametrize("code", ["RoleDefinitionDoesNotExist", "PrincipalNotFound"])
async def test_what_azure_does_not_know_everywhere_yet_is_tried_again(
    arm: ArmEndpoint, code: str
) -> None:
    fault = Fault("roleAssignments.put", code, 400, times=2)
    arm.arm.faults.add(fault)
    await make(arm, Wishes(principal=PRINCIPAL))
    assert fault.struck == 2
    assert [one for one in arm.arm.rights.assignments if one.principal == PRINCIPAL]


async def test_looking_makes_nothing(arm: ArmEndpoint) -> None:
    await look(arm, Wishes(nat=True, principal=PRINCIPAL))
    assert not [call for call in arm.arm.calls if call.kind.endswith(".put")]


async def test_what_differs_is_told_and_changed_only_by_its_step(arm: ArmEndpoint) -> None:
    await make(arm, Wishes(core=[CORE]))
    step = named(await look(arm, Wishes(core=["10.0.0.5/32"])), "security group")
    assert step.standing is Standing.DIFFERENT
    assert CORE in step.notes[0]
    assert rules_of(arm)[CORE_RULE]["sourceAddressPrefix"] == CORE
    await make(arm, Wishes(core=["10.0.0.5/32"]))
    assert rules_of(arm)[CORE_RULE]["sourceAddressPrefix"] == "10.0.0.5/32"


async def test_nothing_is_let_in_from_outside_the_network(arm: ArmEndpoint) -> None:
    await make(arm, Wishes(core=None), regions=["westeurope", "eastus"])
    groups = arm.arm.resources.list("Microsoft.Network/networkSecurityGroups")
    let_in = {
        group.location: [rule.sources for rule in rules if rule.access == "Allow"]
        for group in groups
        for rules in [[Rule.read(one) for one in group.properties["securityRules"]]]
    }
    assert let_in == {"westeurope": [{"10.64.0.0/16"}], "eastus": [{"10.65.0.0/16"}]}
    steps = await look(arm, Wishes(core=None), regions=["westeurope", "eastus"])
    assert {step.standing for step in steps} == {Standing.THERE}


async def test_an_existing_group_can_be_closed_to_the_outside(arm: ArmEndpoint) -> None:
    await make(arm, Wishes(core=[CORE]))
    step = named(await look(arm, Wishes(core=None)), "security group")
    assert step.standing is Standing.DIFFERENT
    await make(arm, Wishes(core=None))
    assert rules_of(arm)[CORE_RULE]["sourceAddressPrefix"] == "10.64.0.0/16"


async def test_a_nat_gateway_can_be_added_later(arm: ArmEndpoint) -> None:
    await make(arm, Wishes())
    steps = await look(arm, Wishes(nat=True))
    assert named(steps, "NAT gateway").standing is Standing.MISSING
    network = named(steps, "virtual network")
    assert network.standing is Standing.DIFFERENT
    assert "NAT gateway none" in network.notes[0]
    await make(arm, Wishes(nat=True))
    assert {step.standing for step in await look(arm, Wishes(nat=True))} == {Standing.THERE}


async def test_networks_of_two_regions_do_not_overlap(arm: ArmEndpoint) -> None:
    steps = await look(arm, Wishes(), regions=["westeurope", "eastus"])
    notes = [step.notes for step in steps if "virtual network" in step.title]
    assert notes == [("addresses 10.64.0.0/16",), ("addresses 10.65.0.0/16",)]


async def test_a_region_with_a_subnet_of_its_own_gets_no_network(arm: ArmEndpoint) -> None:
    subnets = {"westeurope": "/subscriptions/s/own/subnet"}
    steps = await look(arm, Wishes(), subnets=subnets)
    assert not [step for step in steps if "network" in step.title]


async def test_a_role_with_other_rights_differs(arm: ArmEndpoint) -> None:
    await make(arm, Wishes())
    (role,) = (
        one for one in arm.arm.rights.roles.values() if one.name.startswith(MACHINES.title + " (")
    )
    role.actions.remove("Microsoft.Compute/virtualMachines/delete")
    role.actions.append("Microsoft.Storage/storageAccounts/read")
    notes = named(await look(arm, Wishes()), f"{MACHINES.title} (").notes
    assert notes == (
        "it lacks Microsoft.Compute/virtualMachines/delete",
        "it also allows Microsoft.Storage/storageAccounts/read",
    )


async def test_a_provider_that_is_not_registered_is_registered(arm: ArmEndpoint) -> None:
    arm.arm.providers["microsoft.compute"] = "NotRegistered"
    step = named(await look(arm, Wishes()), "Microsoft.Compute")
    assert (step.standing, step.notes) == (Standing.MISSING, ("it is NotRegistered",))
    await make(arm, Wishes())
    assert named(await look(arm, Wishes()), "Microsoft.Compute").standing is Standing.THERE


async def test_a_step_that_fails_leaves_the_rest_for_the_next_run(arm: ArmEndpoint) -> None:
    arm.arm.faults.add(
        Fault(
            kind="virtualNetworks.put",
            code="RequestDisallowedByPolicy",
            status=403,
            message="Not in westeurope.",
        )
    )
    with pytest.raises(HttpResponseError, match="Not in westeurope"):
        await make(arm, Wishes())
    standings = {step.title: step.standing for step in await look(arm, Wishes())}
    assert standings["network security group skyport-westeurope"] is Standing.THERE
    await make(arm, Wishes())
    assert {step.standing for step in await look(arm, Wishes())} == {Standing.THERE}
