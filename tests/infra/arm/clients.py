"""The real Azure SDK for an endpoint, and the body of a virtual machine to try it with."""

from __future__ import annotations

import base64
import contextlib
import copy
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from azure.core.exceptions import HttpResponseError
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.compute.aio import ComputeManagementClient
from azure.mgmt.network.aio import NetworkManagementClient

from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.raw import RawClient, Reply
from tests.infra.arm.state import VNET, Arm, Resource

GROUP = "skyport"


@dataclass
class Clients:
    """The SDK's clients with the endpoint that they talk to.

    Attributes
    ----------
    endpoint
        The endpoint.
    compute, network
        Its :class:`ComputeManagementClient` and :class:`NetworkManagementClient`, which retry
        nothing and poll without waiting. Their overloads do not admit plain dicts as bodies,
        which they take: hence no type.
    credential
        Gets their tokens.
    """

    endpoint: ArmEndpoint
    compute: Any
    network: Any
    credential: ClientSecretCredential

    @property
    def arm(self) -> Arm:
        """The endpoint's state."""
        return self.endpoint.arm

    async def send(self, method: str, path: str, body: Any = None) -> Reply:
        """A request as it is, without the SDK; ``path`` has its query and may be a whole URL."""
        async with RawClient(self.endpoint, version="") as raw:
            return await raw(method, path, body)

    async def create(self, name: str, body: dict[str, Any] | None = None) -> Any:
        """Create a VM and wait until its operation has ended; the SDK's model of it."""
        poller = await self.compute.virtual_machines.begin_create_or_update(
            GROUP, name, body or vm_request(self.arm, name)
        )
        return await poller.result()

    async def delete(self, name: str) -> None:
        """Delete a VM and wait until its operation has ended."""
        poller = await self.compute.virtual_machines.begin_delete(GROUP, name, force_deletion=True)
        await poller.result()

    async def power(self, name: str) -> str:
        """What the instance view says of a VM: "running"."""
        view = await self.compute.virtual_machines.instance_view(GROUP, name)
        codes = [status.code or "" for status in view.statuses or ()]
        return next((code.split("/")[1] for code in codes if code.startswith("Power")), "")

    def vm(self, name: str) -> Resource:
        """The endpoint's own record of a VM."""
        return self.arm.vm(name)


@contextlib.asynccontextmanager
async def clients(endpoint: ArmEndpoint, **options: Any) -> AsyncIterator[Clients]:
    """Clients for an endpoint; ``options`` go to them, such as ``retry_total=3``."""
    verify = {"connection_verify": str(endpoint.ca_file)}
    credential = ClientSecretCredential(
        endpoint.tenant_id,
        endpoint.client_id,
        endpoint.client_secret,
        authority=endpoint.url,
        **verify,
    )
    settings: dict[str, Any] = {
        "base_url": endpoint.url,
        "credential_scopes": [f"{endpoint.url}/.default"],
        "polling_interval": 0,
        "retry_total": 0,
        **verify,
        **options,
    }
    async with (
        credential,
        ComputeManagementClient(credential, endpoint.subscription, **settings) as compute,
        NetworkManagementClient(credential, endpoint.subscription, **settings) as network,
    ):
        yield Clients(endpoint, compute, network, credential)


def code_of(error: HttpResponseError) -> str:
    """Azure's code of an error that the SDK raised."""
    assert error.error is not None
    return str(error.error.code)


def subnet_id(arm: Arm, region: str = "westeurope") -> str:
    """The subnet that a furnished endpoint has in a region."""
    return f"{arm.id(GROUP, VNET, f'skyport-{region}')}/subnets/nodes"


def vm_request(
    arm: Arm,
    name: str,
    *,
    size: str = "Standard_D2s_v5",
    region: str = "westeurope",
    subnet: str = "",
    **properties: Any,
) -> dict[str, Any]:
    """The body of a PUT that makes a small Debian VM with all that goes with it.

    ``properties`` are merged into the body's; None takes one away.
    """
    inline = {
        "name": "nic",
        "properties": {
            "primary": True,
            "deleteOption": "Delete",
            "ipConfigurations": [
                {"name": "ip", "properties": {"subnet": {"id": subnet or subnet_id(arm, region)}}}
            ],
        },
    }
    body: dict[str, Any] = {
        "hardwareProfile": {"vmSize": size},
        "storageProfile": {
            "imageReference": {
                "publisher": "Debian",
                "offer": "debian-12",
                "sku": "12-gen2",
                "version": "latest",
            },
            "osDisk": {
                "createOption": "FromImage",
                "deleteOption": "Delete",
                "managedDisk": {"storageAccountType": "Premium_LRS"},
            },
        },
        "osProfile": {
            "computerName": name,
            "adminUsername": "alice",
            "adminPassword": "not-a-secret-1",
            "customData": base64.b64encode(b"#cloud-config\n").decode(),
        },
        "networkProfile": {
            "networkApiVersion": "2022-11-01",
            "networkInterfaceConfigurations": [inline],
        },
    }
    _merge(body, properties)
    return {"location": region, "tags": {"skyport-core": "tests"}, "properties": body}


def _merge(body: dict[str, Any], more: dict[str, Any]) -> None:
    for key, value in more.items():
        if value is None:
            body.pop(key, None)
        elif isinstance(value, dict) and isinstance(body.get(key), dict):
            _merge(body[key], value)
        else:
            body[key] = copy.deepcopy(value)
