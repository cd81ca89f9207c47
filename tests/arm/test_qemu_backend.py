"""An emulated PC with Debian and cloud-init's own Azure datasource, driven by the real SDK.

Shows that what the machines of the other backend do is what cloud-init does. Collected only with
SKYPORT_QEMU=1 (``make test-qemu``); it takes some minutes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import asyncssh
import pytest
from azure.identity.aio import ClientSecretCredential
from azure.mgmt.compute.aio import ComputeManagementClient

from skyport_gates.gate import SSHEndpoint
from tests.infra.arm.backends.qemu import IMAGE, QemuBackend
from tests.infra.arm.endpoint import ArmThread
from tests.infra.logins import Authority
from tests.infra.nodes import Fabric
from tests.infra.requirements import needs_nodes
from tests.infra.wait import eventually

pytestmark = needs_nodes

GROUP, NAME, SIZE = "skyport", "vm1", "Standard_D2s_v5"


def body(arm: ArmThread, custom_data: bytes) -> dict[str, Any]:
    """The PUT of a small machine with a NIC of its own."""
    region = arm.arm.regions[0]
    network = f"{arm.arm.group_id(GROUP)}/providers/Microsoft.Network/virtualNetworks"
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    ssh = {"publicKeys": [{"path": "/home/azureuser/.ssh/authorized_keys", "keyData": key}]}
    return {
        "location": region,
        "properties": {
            "hardwareProfile": {"vmSize": SIZE},
            "storageProfile": {
                "imageReference": {
                    "publisher": "Debian",
                    "offer": "debian-12",
                    "sku": "12-gen2",
                    "version": "latest",
                },
                "osDisk": {"createOption": "FromImage", "deleteOption": "Delete"},
            },
            "osProfile": {
                "computerName": NAME,
                "adminUsername": "azureuser",
                "customData": base64.b64encode(custom_data).decode(),
                "linuxConfiguration": {"disablePasswordAuthentication": True, "ssh": ssh},
            },
            "networkProfile": {
                "networkApiVersion": "2022-11-01",
                "networkInterfaceConfigurations": [
                    {
                        "name": "nic",
                        "properties": {
                            "primary": True,
                            "deleteOption": "Delete",
                            "ipConfigurations": [
                                {
                                    "name": "ip",
                                    "properties": {
                                        "subnet": {
                                            "id": f"{network}/skyport-{region}/subnets/nodes"
                                        }
                                    },
                                }
                            ],
                        },
                    }
                ],
            },
        },
    }


def custom_data(authority: Authority, host_key: asyncssh.SSHKey) -> bytes:
    """Custom data that uses all that the other backend's machines understand."""
    config = {
        "users": [{"name": "alice", "uid": 21000, "shell": "/bin/bash", "lock_passwd": True}],
        "ssh_deletekeys": True,
        "ssh_keys": {
            "ed25519_private": host_key.export_private_key().decode(),
            "ed25519_public": host_key.export_public_key().decode(),
        },
        "write_files": [
            {"path": "/etc/ssh/user_ca.pub", "content": authority.public_key + "\n"},
            {
                "path": "/etc/ssh/sshd_config.d/50-ca.conf",
                "content": "TrustedUserCAKeys /etc/ssh/user_ca.pub\n",
            },
            {
                "path": "/home/alice/late",
                "content": base64.b64encode(b"late").decode(),
                "encoding": "b64",
                "permissions": "0600",
                "owner": "alice:alice",
                "defer": True,
            },
        ],
        "bootcmd": ["echo boot >> /var/log/order"],
        "runcmd": [["sh", "-c", "echo run >> /var/log/order"], "echo home=$HOME > /var/log/home"],
    }
    return b"#cloud-config\n" + json.dumps(config).encode()


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with Fabric() as fabric:
        yield fabric


@pytest.fixture(scope="module")
def arm(fabric: Fabric) -> Iterator[ArmThread]:
    assert (IMAGE / "base.qcow2").exists(), f"no image in {IMAGE}; make qemu-image"
    with ArmThread(backend=QemuBackend(fabric)) as arm:
        yield arm


@pytest.fixture
async def compute(arm: ArmThread) -> AsyncIterator[ComputeManagementClient]:
    endpoint = arm.endpoint
    ca: dict[str, Any] = {"connection_verify": str(endpoint.ca_file)}
    credential = ClientSecretCredential(
        endpoint.tenant_id,
        endpoint.client_id,
        endpoint.client_secret,
        authority=endpoint.url,
        **ca,
    )
    client = ComputeManagementClient(
        credential,
        endpoint.subscription,
        base_url=endpoint.url,
        credential_scopes=[f"{endpoint.url}/.default"],
        polling_interval=1,
        **ca,
    )
    async with credential, client:
        yield client


async def test_a_machine_of_the_sdk_boots_by_its_custom_data_sleeps_and_vanishes(
    arm: ArmThread,
    fabric: Fabric,
    compute: ComputeManagementClient,
    record_property: Callable[[str, object], None],
):
    authority, host_key = Authority(), asyncssh.generate_private_key("ssh-ed25519")
    machines, began = compute.virtual_machines, time.monotonic()

    def note(what: str) -> None:
        record_property(what, seconds := round(time.monotonic() - began, 1))
        print(f"{what}: {seconds} s")

    async def ssh(command: str) -> str:
        address = arm.arm.machines()[NAME].address
        endpoint = SSHEndpoint(address, host_keys=(host_key.export_public_key().decode().strip(),))
        sock = await asyncio.to_thread(fabric.hub.connect, address, 22)
        sock.setblocking(False)
        connection = authority.connect(endpoint, "alice", sock=sock, login_timeout=60)
        async with connection as connected:
            return str((await connected.run(command, check=True)).stdout).strip()

    async def answers() -> str:
        try:
            return await ssh("cat /proc/sys/kernel/random/boot_id")
        except (OSError, asyncssh.Error):
            return ""

    poller = await machines.begin_create_or_update(
        GROUP, NAME, body(arm, custom_data(authority, host_key))
    )
    await poller.result()
    note("ready")
    first = await eventually(answers, "SSH", 240)
    note("ssh")
    assert await ssh("cloud-init status --wait >/dev/null; cloud-id; hostname") == f"azure\n{NAME}"
    note("cloud-init done")
    assert await ssh("id -un; stat -c '%U %a' ~/late; cat ~/late") == "alice\nalice 600\nlate"
    assert await ssh("cat /var/log/order /var/log/home") == "boot\nrun\nhome="
    name = "curl -sH Metadata:true 'http://169.254.169.254/metadata/instance/compute/name"
    assert await ssh(f"{name}?api-version=2021-02-01&format=text'") == NAME
    assert "Debian" in await arm_log(arm)

    await (await machines.begin_deallocate(GROUP, NAME)).result()
    note("deallocated")
    await (await machines.begin_start(GROUP, NAME)).result()
    second = await eventually(answers, "SSH after the sleep", 240)
    note("ssh again")
    assert second != first
    assert (await ssh("cat /var/log/order; cat ~/late")).split() == ["boot", "run", "boot", "late"]

    await (await machines.begin_delete(GROUP, NAME, force_deletion=True)).result()
    assert arm.arm.leftovers() == []


async def arm_log(arm: ArmThread) -> str:
    """The machine's serial log."""
    machine = arm.arm.machines()[NAME]
    return await asyncio.to_thread(arm.run, arm.arm.backend.serial_log(machine))
