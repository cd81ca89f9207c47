"""The published gate of the original, in its mock mode, behind our gate.

Its pretended Azure partitions never come up and never go; its pretended OpenStack ones do both.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from skyport_gates.gate import (
    Flavor,
    GateContext,
    InvalidRequest,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
)
from skyport_gates.local_process import LocalProcess
from skyport_gates.local_server import Settings
from skyport_gates.swm import SwmGate
from tests.infra.logins import Authority
from tests.infra.ports import free_ports
from tests.infra.process import ServerProcess
from tests.infra.venvs import SWM_CLOUD_GATE

CONFIG = """
version: 1
base: {{cache_dir: {cache}}}
providers:
  azure:
    api_credentials: {{subscription_id: s-1, tenant_id: t-1, app_id: a-1}}
    vm_image: {{publisher: debian, offer: debian-12, skus: ""}}
"""

AZURE = {
    "provider": "azure",
    "requests": {
        "images": [
            {
                "id": "/i",
                "name": "debian-12",
                "extra": {
                    "location": "west",
                    "publisher": "debian",
                    "offer": "debian-12",
                    "skus": "12",
                    "version": "1",
                },
            }
        ],
        "sizes": [
            {
                "name": "Standard_B2s",
                "number_of_cores": 2,
                "memory_in_mb": 4096,
                "resource_disk_size_in_mb": 8192,
                "price": 0.05,
            }
        ],
        "resource_groups": [],
    },
}

UP = "skyport-up"
"""A partition that the pretended OpenStack has already made."""


def openstack() -> dict[str, Any]:
    outputs = [{"output_key": "master_instance_public_ip", "output_value": "127.0.0.1"}]
    stack = {
        "id": "stack-1",
        "stack_name": f"swm-{UP}",
        "stack_status": "CREATE_COMPLETE",
        "outputs": outputs,
    }
    return {"provider": "openstack", "requests": {"stacks": [stack]}}


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Where the published gate listens, with one worker."""
    folder = SWM_CLOUD_GATE.environment()
    home = tmp_path / "home"
    (home / ".swm" / "cache").mkdir(parents=True)
    (home / ".swm" / "cloud-gate.yaml").write_text(CONFIG.format(cache=home / ".swm" / "cache"))
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps([AZURE, openstack()]))
    (port,) = free_ports(1)
    command = [str(folder / "bin" / "python"), "-m", "uvicorn", "swmcloudgate.main:app"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    env = {"HOME": str(home), "SWM_TEST_CONFIG": str(answers)}
    server = ServerProcess("swmcloudgate", command, tmp_path, env=env)

    async def ready() -> bool:
        with contextlib.suppress(aiohttp.ClientError, OSError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"http://127.0.0.1:{port}/docs"),
            ):
                return True
        return False

    server.spawn()
    try:
        await server.wait_ready(ready, 60)
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.end()
        server.detach()


@asynccontextmanager
async def opened(
    url: str,
    context: GateContext,
    folder: Path,
    made: type[SwmGate] = SwmGate,
    **options: Any,
) -> AsyncIterator[SwmGate]:
    pem = folder / "credential.pem"
    pem.write_text("pretended\n")
    gate = made(
        name="swm",
        context=context,
        url=url,
        location="west",
        pem_file=str(pem),
        trust_first_contact=True,
        **options,
    )
    await gate.start()
    try:
        yield gate
    finally:
        await gate.close(idle=True)


class _Sized(SwmGate):
    """Knows its flavors by itself: the published gate's mock mode fails to list OpenStack's."""

    async def flavors(self) -> list[Flavor]:
        return [Flavor("m1", cpus=4, memory=8192)]


async def test_it_lists_makes_shows_and_deletes_at_azure(
    url: str, context: GateContext, tmp_path: Path
) -> None:
    async with opened(url, context, tmp_path, identity_file="unused") as gate:
        (flavor,) = await gate.flavors()
        assert (flavor.name, flavor.cpus, flavor.memory) == ("Standard_B2s", 2, 4096)
        assert (flavor.storage, flavor.price) == (8, 0.05)
        assert [image.name for image in await gate.images()] == ["debian-12"]
        with pytest.raises(InvalidRequest):
            await gate.create(PartitionRequest("none", "huge", "ann", ""))
        with pytest.raises(PartitionNotFound):
            await gate.get("p1")
        tags = {"skyport-job": "j1"}
        for _ in range(2):
            await gate.create(PartitionRequest("p1", "Standard_B2s", "ann", "", tags=tags))
        # Without resources that say how they stand, it stays on its way.
        assert (await gate.get("p1")).status is PartitionStatus.CREATING
        assert [(each.name, each.tags) for each in await gate.list()] == [("p1", tags)]
        await gate.delete("p1")
        assert (await gate.get("p1")).status is PartitionStatus.DELETING


async def test_a_machine_comes_up_and_goes_at_openstack(
    url: str, context: GateContext, authority: Authority, tmp_path: Path
) -> None:
    key, certificate = authority.certificate("ann")
    key.write_private_key(tmp_path / "identity")
    certificate.write_certificate(tmp_path / "identity-cert.pub")
    node = LocalProcess(Settings(tmp_path / "node", tmp_path / "homes", context.user_ca))
    attachment = await node.attach()
    options = {"kind": "openstack", "ssh_port": attachment.hello.port}
    try:
        async with opened(
            url, context, tmp_path, _Sized, identity_file=str(tmp_path / "identity"), **options
        ) as gate:
            await gate.create(PartitionRequest(UP, "m1", "ann", ""))
            partition = await gate.get(UP)
            assert partition.status is PartitionStatus.READY
            endpoint = partition.nodes[0].endpoint
            async with authority.connect(
                endpoint, "ann", client_keys=[endpoint.identity_file]
            ) as connection:
                assert (await connection.run("echo in", check=True)).stdout == "in\n"
            await gate.create(PartitionRequest("p2", "m1", "ann", ""))
            assert (await gate.get("p2")).status is PartitionStatus.CREATING
            for name in (UP, "p2"):
                await gate.delete(name)
                with pytest.raises(PartitionNotFound):
                    await gate.get(name)
            assert await gate.list() == []
    finally:
        await attachment.close()
        await node.stop()
