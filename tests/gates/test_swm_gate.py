"""A site behind the original's cloud gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncssh
import pytest
from traitlets import TraitError

from skyport_gates.conformance import ElasticGateConformance
from skyport_gates.gate import (
    ConfigurationError,
    Gate,
    GateContext,
    GateError,
    GateUnavailable,
    InvalidRequest,
    NoCapacity,
    NotAuthorized,
    PartitionNotFound,
    PartitionRequest,
    PartitionStatus,
    QuotaExceeded,
)
from skyport_gates.local_process import LocalProcess
from skyport_gates.local_server import Settings
from skyport_gates.swm import SwmGate
from skyport_gates.swm.meanings import meaning
from skyport_gates.swm.protocol import Protocol
from tests.infra.swm_gate import Machine, SwmCloud
from tests.infra.wait import eventually

LOGIN = "conformance"


def identity(folder: Path, authority: asyncssh.SSHKey) -> str:
    """A private key that the machines let in, as the gate's configuration would see to."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    path = folder / "identity"
    key.write_private_key(path)
    path.chmod(0o600)
    certificate = authority.generate_user_certificate(key, "test", principals=[LOGIN])
    certificate.write_certificate(f"{path}-cert.pub")
    return str(path)


def options(cloud: SwmCloud, folder: Path, **changes: Any) -> dict[str, Any]:
    pem = folder / "credential.pem"
    pem.write_text("-----BEGIN PRIVATE KEY-----\n")
    given = {
        "url": f"http://127.0.0.1:{cloud.port}",
        "location": "west",
        "pem_file": str(pem),
        "identity_file": str(folder / "identity"),
        "trust_first_contact": True,
    }
    return given | changes


class TestSwmGate(ElasticGateConformance):
    """Machines that the original's gate makes."""

    ready_timeout = gone_timeout = 20.0
    username = LOGIN

    @pytest.fixture(autouse=True)
    async def _cloud(self, _context: None, tmp_path: Path) -> AsyncIterator[None]:
        home = tmp_path / "node"
        server = LocalProcess(Settings(home, home / "homes", self.context.user_ca))
        attachment = await server.attach()
        self.cloud = SwmCloud()
        await self.cloud.start()
        identity(tmp_path, self.authority)
        self.options = options(self.cloud, tmp_path, ssh_port=attachment.hello.port)
        yield
        await self.cloud.stop()
        await attachment.close()
        await server.stop()

    def make_gate(self) -> Gate:
        return SwmGate(**self.options)


@pytest.fixture
async def cloud() -> AsyncIterator[SwmCloud]:
    """The original's gate; its machines do not answer to SSH."""
    cloud = SwmCloud(delay=0.0)
    await cloud.start()
    yield cloud
    await cloud.stop()


@pytest.fixture
async def gate(cloud: SwmCloud, context: GateContext, tmp_path: Path) -> AsyncIterator[SwmGate]:
    site = SwmGate(name="swm", context=context, **options(cloud, tmp_path, ssh_port=1))
    await site.start()
    yield site
    await site.close(idle=True)


REQUEST = PartitionRequest(
    "skyport-core-1-job-0", "Standard_B2s", "ann", "", tags={"skyport-job": "j1"}
)


async def test_flavors_come_in_mib_and_gib(gate: SwmGate) -> None:
    (flavor,) = await gate.flavors()
    assert (flavor.name, flavor.cpus, flavor.memory, flavor.storage) == ("Standard_B2s", 2, 4096, 8)
    assert flavor.price == 0.05


async def test_a_request_is_told_as_the_original_core_tells_it(
    gate: SwmGate, cloud: SwmCloud
) -> None:
    await gate.create(REQUEST)
    (sent,) = cloud.creations
    assert sent["partname"] == "swm-skyport-core-1-job-0"
    wanted = {"flavorname": "Standard_B2s", "username": "ann", "count": "0", "jobid": "j1"}
    assert wanted.items() <= sent.items()
    assert sent["runtime"] == "swm_source=ssh"
    assert all("BEGIN PRIVATE KEY" in body["pem_data"] for body in cloud.bodies)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("Error from Azure: QuotaExceeded; Operation could not be completed", QuotaExceeded),
        ("Error from Azure: Failed; SkuNotAvailable", NoCapacity),
        ("No subscription ID", ConfigurationError),
        (["Traceback (most recent call last):\n", "KeyError: 'x'\n"], GateUnavailable),
        ("Error from Azure: InvalidParameter", InvalidRequest),
        ("AADSTS700027: invalid", NotAuthorized),
    ],
)
async def test_an_error_with_status_200_is_an_error(
    gate: SwmGate, cloud: SwmCloud, told: str | list[str], kind: type[GateError]
) -> None:
    cloud.refusals.append(told)
    with pytest.raises(kind):
        await gate.create(REQUEST)
    with pytest.raises(PartitionNotFound):
        await gate.get(REQUEST.name)


async def test_a_refusal_that_comes_late_is_what_the_partition_failed_for(
    gate: SwmGate, cloud: SwmCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyport_gates.swm.gate.PROMPT", 0.01)
    cloud.answer_delay = 0.1
    cloud.refusal_status = 422
    cloud.refusals.append("vmimage: not a valid image")
    await gate.create(REQUEST)

    async def failed() -> GateError | None:
        return (await gate.get(REQUEST.name)).error

    error = await eventually(failed, "the refusal is told")
    assert isinstance(error, InvalidRequest)
    assert error.message == "The cloud refuses the request: vmimage: not a valid image"


async def test_a_gate_that_is_silent_is_told_as_unavailable(cloud: SwmCloud) -> None:
    cloud.answer_delay = 0.2
    protocol = Protocol(f"http://127.0.0.1:{cloud.port}/azure", None, "", 1)
    with pytest.raises(GateUnavailable, match="did not answer in time"):
        await protocol.create({}, 0.05)


def test_only_the_end_of_a_traceback_is_shown() -> None:
    error = meaning(["Traceback:\n", '  File "secret/path.py"\n', "ValueError: no\n"])
    assert "secret/path.py" not in error.message
    assert "ValueError: no" in error.message
    assert "secret/path.py" in str(error.__cause__)


async def test_a_late_refusal_shows_as_failure(
    gate: SwmGate, cloud: SwmCloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyport_gates.swm.gate.PROMPT", 0.1)
    cloud.answer_delay = 0.5
    cloud.refusals.append("Error from Azure: AllocationFailed")
    await gate.create(REQUEST)
    assert (await gate.get(REQUEST.name)).status is PartitionStatus.CREATING

    async def failed() -> bool:
        return (await gate.get(REQUEST.name)).status is PartitionStatus.FAILED

    await eventually(failed, "the refusal is known")
    assert isinstance((await gate.get(REQUEST.name)).error, NoCapacity)
    await gate.delete(REQUEST.name)
    with pytest.raises(PartitionNotFound):
        await gate.get(REQUEST.name)


async def test_what_is_made_while_the_core_dies_is_removed_by_the_next(
    gate: SwmGate,
    cloud: SwmCloud,
    context: GateContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skyport_gates.swm.gate.PROMPT", 0.1)
    cloud.answer_delay = 0.5
    await gate.create(REQUEST)
    await gate.close(idle=False)
    after = SwmGate(name="swm", context=context, **options(cloud, tmp_path, ssh_port=1))
    await after.start()
    try:
        await after.delete(REQUEST.name)
        # The gate still works on what it was asked for: nobody can say that it is gone.
        assert (await after.get(REQUEST.name)).status is PartitionStatus.DELETING
        called = "swm-" + REQUEST.name
        cloud.machines[called] = Machine(called, ready_at=0.0)
        await after.delete(REQUEST.name)

        async def gone() -> bool:
            await after.list()
            return called not in cloud.machines

        await eventually(gone, "the machine is removed")
    finally:
        await after.close(idle=True)


async def test_a_machine_that_shows_no_host_key_is_not_ready(gate: SwmGate) -> None:
    await gate.create(REQUEST)
    assert (await gate.get(REQUEST.name)).status is PartitionStatus.CREATING


async def test_without_a_way_to_trust_machines_the_site_does_not_start(
    cloud: SwmCloud, context: GateContext, tmp_path: Path
) -> None:
    given = options(cloud, tmp_path, trust_first_contact=False)
    with pytest.raises(ConfigurationError, match="host keys"):
        await SwmGate(name="swm", context=context, **given).start()


def test_the_credential_never_travels_in_the_clear() -> None:
    with pytest.raises(TraitError, match="https"):
        SwmGate(url="http://gate.example:8444")


async def test_a_gate_that_is_away_is_unavailable(gate: SwmGate, cloud: SwmCloud) -> None:
    await cloud.stop()
    with pytest.raises(GateUnavailable):
        await gate.flavors()
