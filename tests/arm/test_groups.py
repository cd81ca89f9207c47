"""Resource groups, lists by tag, providers, template deployments and rights."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError
from azure.mgmt.authorization.aio import AuthorizationManagementClient
from azure.mgmt.resource.deployments.aio import DeploymentsMgmtClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient

from tests.infra.arm import presets
from tests.infra.arm.clients import GROUP, Clients, subnet_id, vm_request
from tests.infra.arm.clock import ManualClock
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.operations import Durations
from tests.infra.arm.raw import RawClient
from tests.infra.arm.rights import READER
from tests.infra.arm.state import NIC, VM, Arm
from tests.infra.wait import eventually


def options(endpoint: ArmEndpoint) -> dict[str, Any]:
    return {
        "base_url": endpoint.url,
        "credential_scopes": [f"{endpoint.url}/.default"],
        "connection_verify": str(endpoint.ca_file),
        "polling_interval": 0,
        "retry_total": 0,
    }


@pytest.fixture
async def resources(endpoint: ArmEndpoint, sdk: Clients) -> AsyncIterator[ResourceManagementClient]:
    settings = options(endpoint)
    async with ResourceManagementClient(
        sdk.credential, endpoint.subscription, **settings
    ) as client:
        yield client


@pytest.fixture
async def deployments(endpoint: ArmEndpoint, sdk: Clients) -> AsyncIterator[DeploymentsMgmtClient]:
    async with DeploymentsMgmtClient(
        sdk.credential, endpoint.subscription, **options(endpoint)
    ) as client:
        yield client


@pytest.fixture
async def roles(
    endpoint: ArmEndpoint, sdk: Clients
) -> AsyncIterator[AuthorizationManagementClient]:
    async with AuthorizationManagementClient(
        sdk.credential, endpoint.subscription, **options(endpoint)
    ) as client:
        yield client


def code_of(error: HttpResponseError) -> str:
    assert error.error is not None
    return str(error.error.code)


async def test_a_group_is_made_found_and_deleted(resources: ResourceManagementClient):
    groups = resources.resource_groups
    assert not await groups.check_existence("lab")
    made = await groups.create_or_update("lab", {"location": "West Europe", "tags": {"a": "b"}})
    assert (made.location, made.tags) == ("westeurope", {"a": "b"})
    assert await groups.check_existence("LAB")
    assert {each.name async for each in groups.list()} == {"skyport", "lab"}
    assert [e.name async for e in groups.list(filter="tagName eq 'a' and tagValue eq 'b'")] == [
        "lab"
    ]
    await (await groups.begin_delete("lab")).result()
    assert not await groups.check_existence("lab")


async def test_a_group_stays_where_it_is(resources: ResourceManagementClient):
    with pytest.raises(HttpResponseError) as caught:
        await resources.resource_groups.create_or_update("skyport", {"location": "eastus"})
    assert code_of(caught.value) == "InvalidResourceGroupLocation"


async def test_a_deleted_group_takes_all_it_holds(
    resources: ResourceManagementClient, sdk: Clients
):
    await sdk.create("one")
    await (await resources.resource_groups.begin_delete("skyport")).result()
    assert sdk.arm.leftovers() == []
    assert list(sdk.arm.resources) == []
    assert sdk.arm.quotas.used("westeurope", "cores") == 0


async def test_resources_are_listed_by_tag(resources: ResourceManagementClient, sdk: Clients):
    await sdk.create("one")
    listed = resources.resources.list(filter="tagName eq 'skyport-core' and tagValue eq 'tests'")
    assert VM in {each.type async for each in listed}
    other = resources.resources.list(filter="tagName eq 'skyport-core' and tagValue eq 'other'")
    assert [each async for each in other] == []


async def test_resources_are_listed_by_type_and_group(
    resources: ResourceManagementClient, sdk: Clients
):
    await sdk.create("one")
    everywhere = resources.resources.list(filter=f"resourceType eq '{NIC}'")
    inside = resources.resources.list_by_resource_group(GROUP, filter=f"resourceType eq '{VM}'")
    assert len([each async for each in everywhere]) == 1
    assert [each.name async for each in inside] == ["one"]


async def test_tags_cannot_be_asked_for_along_with_other_things(
    resources: ResourceManagementClient,
):
    mixed = resources.resources.list(filter="tagName eq 'a' and resourceType eq 'b'")
    with pytest.raises(HttpResponseError, match="InvalidFilterInQueryString"):
        assert [each async for each in mixed]


async def test_a_provider_must_be_registered(resources: ResourceManagementClient, sdk: Clients):
    sdk.arm.providers["microsoft.compute"] = "NotRegistered"
    with pytest.raises(HttpResponseError) as caught:
        await sdk.create("one")
    assert code_of(caught.value) == "MissingSubscriptionRegistration"
    assert (await resources.providers.register("Microsoft.Compute")).registration_state == (
        "Registering"
    )
    assert (await resources.providers.get("Microsoft.Compute")).registration_state == "Registered"
    await sdk.create("one")


async def test_a_subscription_is_shown(raw: RawClient):
    reply = await raw("GET", f"/subscriptions/{raw.endpoint.subscription}")
    assert (reply.body["state"], reply.body["tenantId"]) == ("Enabled", raw.endpoint.tenant_id)
    reply = await raw("GET", f"/subscriptions/{raw.endpoint.subscription}/locations")
    assert [each["name"] for each in reply.body["value"]] == list(raw.endpoint.arm.regions)


def machine_template(arm: Arm) -> dict[str, Any]:
    """A template that makes an interface and a machine on it."""
    nic = {
        "type": NIC,
        "apiVersion": "2023-09-01",
        "name": "[concat(parameters('name'), '-nic')]",
        "location": "[resourceGroup().location]",
        "properties": {
            "ipConfigurations": [
                {"name": "ip", "properties": {"subnet": {"id": "[parameters('subnet')]"}}}
            ]
        },
    }
    body = vm_request(arm, "one", osProfile={"customData": None})
    reference = f"[resourceId('{NIC}', concat(parameters('name'), '-nic'))]"
    body["properties"]["networkProfile"] = {
        "networkInterfaces": [{"id": reference, "properties": {"deleteOption": "Delete"}}]
    }
    body["properties"]["osProfile"]["customData"] = "[base64(variables('data'))]"
    vm = {"type": VM, "apiVersion": "2024-07-01", "name": "[parameters('name')]", **body}
    template = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": {"name": {"type": "string"}, "subnet": {"type": "string"}},
        "variables": {"data": "#cloud-config\n"},
        "resources": [{**vm, "dependsOn": [reference]}, nic],
    }
    parameters = {"name": {"value": "one"}, "subnet": {"value": subnet_id(arm)}}
    return {"properties": {"mode": "Incremental", "template": template, "parameters": parameters}}


async def test_a_template_makes_its_resources_in_order(
    deployments: DeploymentsMgmtClient, sdk: Clients
):
    poller = await deployments.deployments.begin_create_or_update(
        GROUP, "first", machine_template(sdk.arm)
    )
    done = await poller.result()
    assert done.properties.provisioning_state == "Succeeded"
    made = [each.id.rsplit("/", 1)[-1] for each in done.properties.output_resources]
    assert made == ["one-nic", "one"]
    assert await sdk.power("one") == "running"
    assert sdk.vm("one").hidden["machine"].custom_data == b"#cloud-config\n"


async def test_a_template_whose_machine_cannot_be_allocated_fails_with_the_inner_code(
    deployments: DeploymentsMgmtClient, sdk: Clients
):
    sdk.arm.faults.add(presets.allocation_failed())
    poller = await deployments.deployments.begin_create_or_update(
        GROUP, "first", machine_template(sdk.arm)
    )
    with pytest.raises(HttpResponseError) as caught:
        await poller.result()
    assert code_of(caught.value) == "DeploymentFailed"
    (step,) = caught.value.error.details  # type: ignore[union-attr]
    assert (step.code, step.details[0].code) == ("ResourceDeploymentFailure", "AllocationFailed")


async def test_a_template_that_asks_for_too_much_is_not_valid(
    deployments: DeploymentsMgmtClient, sdk: Clients
):
    sdk.arm.quotas.set("westeurope", "cores", 1)
    with pytest.raises(HttpResponseError) as caught:
        await deployments.deployments.begin_create_or_update(
            GROUP, "first", machine_template(sdk.arm)
        )
    assert code_of(caught.value) == "InvalidTemplateDeployment"
    assert caught.value.error.details[0].code == "OperationNotAllowed"  # type: ignore[union-attr]
    assert sdk.arm.leftovers() == []


async def test_a_template_is_validated_without_doing_it(
    deployments: DeploymentsMgmtClient, sdk: Clients
):
    poller = await deployments.deployments.begin_validate(GROUP, "first", machine_template(sdk.arm))
    assert (await poller.result()).error is None
    assert sdk.arm.leftovers() == []


async def test_a_deployment_takes_as_long_as_its_parts():
    clock = ManualClock()
    durations = Durations({"virtualMachines.put": 60})
    async with ArmEndpoint(durations=durations, clock=clock) as slow, RawClient(slow) as raw:
        path = slow.arm.id(GROUP, "Microsoft.Resources/deployments", "first")
        reply = await raw("PUT", path, machine_template(slow.arm))
        status = reply.headers["Azure-AsyncOperation"]
        assert (await raw("GET", status)).body == {"status": "Running"}
        assert (await raw("GET", path)).body["properties"]["provisioningState"] == "Running"
        await eventually(lambda: "one" in slow.arm.machines(), "the machine is being made")
        clock.advance(60)
        await slow.arm.operations.settled()
        assert (await raw("GET", status)).body == {"status": "Succeeded"}


VM_USER = (
    "Microsoft.Compute/virtualMachines/*",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
)


def limit(sdk: Clients, *actions: str, scope: str = "") -> str:
    """Let the SDK's client do no more than this; its object id."""
    principal = sdk.arm.authority.clients[sdk.arm.client_id].object_id
    sdk.arm.rights.limit(principal, actions, scope=scope)
    return principal


async def test_who_may_not_is_told_so(sdk: Clients):
    principal = limit(sdk, "*/read")
    with pytest.raises(HttpResponseError) as caught:
        await sdk.create("one")
    assert caught.value.status_code == 403
    assert code_of(caught.value) == "AuthorizationFailed"
    wanted = (
        "does not have authorization to perform action 'Microsoft.Compute/virtualMachines/write'"
    )
    assert f"with object id '{principal}' {wanted}" in caught.value.message


async def test_a_machine_needs_rights_on_its_subnet(sdk: Clients):
    limit(sdk, VM_USER[0])
    with pytest.raises(HttpResponseError) as caught:
        await sdk.create("one")
    assert code_of(caught.value) == "LinkedAuthorizationFailed"
    assert f"'{subnet_id(sdk.arm)}'" in caught.value.message


async def test_rights_to_machines_and_subnets_are_enough(sdk: Clients):
    limit(sdk, *VM_USER)
    await sdk.create("one")
    await sdk.delete("one")


async def test_rights_end_at_their_scope(sdk: Clients):
    limit(sdk, "*", scope=sdk.arm.group_id("other"))
    with pytest.raises(HttpResponseError, match="AuthorizationFailed"):
        await sdk.create("one")


async def test_a_reader_of_one_group_reads_no_other(
    resources: ResourceManagementClient, sdk: Clients
):
    await resources.resource_groups.create_or_update("lab", {"location": "westeurope"})
    limit(sdk, "*/read", scope=sdk.arm.group_id("lab"))
    assert [each.name async for each in resources.resource_groups.list()] == ["lab"]
    with pytest.raises(HttpResponseError, match="AuthorizationFailed"):
        await resources.resource_groups.get(GROUP)


async def test_a_list_of_the_subscription_shows_what_one_may_see(sdk: Clients):
    await sdk.create("one")
    limit(sdk, "*", scope=sdk.arm.group_id(GROUP))
    assert [each.name async for each in sdk.compute.virtual_machines.list_all()] == ["one"]
    limit(sdk, "*", scope=sdk.arm.group_id("other"))
    assert [each.name async for each in sdk.compute.virtual_machines.list_all()] == []


async def test_sizes_need_rights_on_the_subscription(sdk: Clients):
    limit(sdk, "*", scope=sdk.arm.group_id(GROUP))
    with pytest.raises(HttpResponseError, match=r"Microsoft\.Compute/skus/read"):
        assert [each async for each in sdk.compute.resource_skus.list()]


async def test_a_custom_role_is_made_assigned_and_found(
    roles: AuthorizationManagementClient, sdk: Clients
):
    scope = sdk.arm.group_id(GROUP)
    name = str(uuid.uuid4())
    permission = {"actions": list(VM_USER), "notActions": []}
    role = await roles.role_definitions.create_or_update(
        scope,
        name,
        {
            "properties": {
                "roleName": "Sky Port",
                "type": "CustomRole",
                "permissions": [permission],
                "assignableScopes": [scope],
            }
        },
    )
    found = roles.role_definitions.list(scope, filter="roleName eq 'Sky Port'")
    assert [each.id async for each in found] == [role.id]
    core = sdk.arm.authority.add_client(secret="s")
    assignment = {"properties": {"roleDefinitionId": role.id, "principalId": core.object_id}}
    await roles.role_assignments.create(scope, str(uuid.uuid4()), assignment)
    listed = roles.role_assignments.list_for_scope(
        scope, filter=f"principalId eq '{core.object_id}'"
    )
    assert [each.role_definition_id async for each in listed] == [role.id]
    assert sdk.arm.rights.allowed(core.object_id, f"{VM}/write", scope)
    with pytest.raises(HttpResponseError) as caught:
        await roles.role_assignments.create(scope, str(uuid.uuid4()), assignment)
    assert code_of(caught.value) == "RoleAssignmentExists"


async def test_what_one_may_do_in_a_group_is_told(
    roles: AuthorizationManagementClient, sdk: Clients
):
    limit(sdk, *VM_USER, "Microsoft.Authorization/permissions/read")
    found = [each async for each in roles.permissions.list_for_resource_group(GROUP)]
    assert [each.actions for each in found] == [
        [*VM_USER, "Microsoft.Authorization/permissions/read"]
    ]


async def test_an_identity_can_be_made_and_given_a_role(
    raw: RawClient, roles: AuthorizationManagementClient
):
    arm = raw.endpoint.arm
    path = arm.id(GROUP, "Microsoft.ManagedIdentity/userAssignedIdentities", "node")
    made = await raw("PUT", path, {"location": "westeurope"})
    assert made.status == 201
    reader = f"/providers/Microsoft.Authorization/roleDefinitions/{READER.id}"
    principal = made.body["properties"]["principalId"]
    properties = {"roleDefinitionId": reader, "principalId": principal}
    await roles.role_assignments.create(path, str(uuid.uuid4()), {"properties": properties})
    assert arm.rights.allowed(principal, "Microsoft.Compute/virtualMachines/read", path)
