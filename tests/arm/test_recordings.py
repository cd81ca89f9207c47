"""The endpoint leads the conversations that were recorded with Azure."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.infra.arm.clock import ManualClock
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.images import PlatformImage
from tests.infra.arm.operations import Durations
from tests.infra.arm.raw import RawClient, Reply
from tests.infra.arm.recordings import Exchange, recording, source_package

NOT_OFFERED = ("/extensions", "/runCommands/", "/generalize", "beginGetAccess", "endGetAccess")
"""What the endpoint does not have: extensions, lists of commands, images of machines, exports."""

LEFT_OUT = {
    "identity": "given to the machine by a policy of the recorded subscription",
    "tags": "given to the machine by a policy of the recorded subscription",
    "extensions": "there are none",
    "resources": "there are none",
    "vmAgent/extensionHandlers": "there are none",
    "properties/osProfile/windowsConfiguration": "Windows is shown as it was sent",
    "properties/allowPort25Out": "network details that nobody can set",
    "properties/disableTcpStateTracking": "network details that nobody can set",
    "properties/dnsSettings/internalDomainNameSuffix": "network details that nobody can set",
    "properties/ipConfigurations/etag": "network details that nobody can set",
    "properties/vnetEncryptionSupported": "network details that nobody can set",
    "properties/diskIOPSReadWrite": "disks have no speed",
    "properties/diskMBpsReadWrite": "disks have no speed",
    "properties/networkAccessPolicy": "disks cannot be exported",
    "properties/publicNetworkAccess": "disks cannot be exported",
}
"""Recorded fields, with all below them, that the endpoint does not show, and why."""

MACHINE = "vm.pyTestMgmtComputetest_compute_vm"
DISK = "disks.pyTestMgmtComputetest_compute_disks"
_NOBODY = "00000000-0000-0000-0000-000000000000"


class Steady(Durations):
    """All operations take as long as the test says now."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0

    def draw(self, kind: str) -> float:
        return self.seconds


class Replay:
    """Sends recorded requests again."""

    def __init__(self, client: RawClient, clock: ManualClock, durations: Steady) -> None:
        self._client = client
        self._clock = clock
        self._durations = durations

    def here(self, text: str) -> str:
        """Recorded text with the names of this endpoint."""
        return text.replace(_NOBODY, self._client.endpoint.subscription)

    async def send(self, recorded: Exchange) -> Exchange:
        """The exchange as the endpoint has it, its operation followed as it was recorded."""
        self._durations.seconds = 60.0 if len(recorded.polls) > 1 else 0.0
        sent = json.loads(self.here(json.dumps(recorded.request))) if recorded.request else None
        reply = await self._client(recorded.method, self.here(recorded.path), sent)
        headers = {key.lower(): value for key, value in reply.headers.items()}
        found = Exchange(recorded.method, recorded.path, sent, reply.status, headers, reply.body)
        await self._follow(found)
        if recorded.result is not None:
            end = await self._client("GET", reply.headers["Location"])
            found.result = (end.status, end.body)
        return found

    async def _follow(self, exchange: Exchange) -> None:
        url = exchange.headers.get("azure-asyncoperation")
        if url is None:
            return
        if not self._durations.seconds:
            await self._client.endpoint.arm.operations.settled()
        exchange.polls.append((await self._client("GET", url)).body["status"])
        if exchange.polls == ["InProgress"]:
            self._clock.advance(60)
            await self._client.endpoint.arm.operations.settled()
            exchange.polls.append((await self._client("GET", url)).body["status"])


@pytest.fixture(scope="module")
def archive() -> Any:
    found = source_package()
    if found is None:
        pytest.skip("needs the source package azure-mgmt-compute 30.0.0 of PyPI")
    return found


@pytest.fixture
async def replay() -> AsyncIterator[Replay]:
    clock, durations = ManualClock(), Steady()
    async with (
        ArmEndpoint(clock=clock, durations=durations, regions=("eastus",), empty=True) as endpoint,
        RawClient(endpoint) as client,
    ):
        windows = PlatformImage(
            "MicrosoftWindowsServer",
            "WindowsServer",
            "2016-Datacenter",
            ("14393.5786.230310",),
            "Windows",
            generation="V1",
            disk=127,
        )
        endpoint.arm.images.platform.append(windows)
        group: Reply = await client("PUT", endpoint.arm.group_id("rgname"), {"location": "eastus"})
        assert group.status == 201
        yield Replay(client, clock, durations)


def offered(exchange: Exchange) -> bool:
    return not any(part in exchange.path for part in NOT_OFFERED)


def fields(body: Any, path: str = "") -> set[str]:
    """Paths of all fields of an answer."""
    if isinstance(body, list):
        return set().union(*(fields(each, path) for each in body))
    if not isinstance(body, dict):
        return set()
    found = set()
    for key, value in body.items():
        below = f"{path}/{key}".strip("/")
        found |= {below} | fields(value, below)
    return found


async def test_the_life_of_a_machine_goes_as_recorded(archive: Any, replay: Replay):
    seen = []
    for recorded in recording(archive, MACHINE):
        if not offered(recorded):
            continue
        found = await replay.send(recorded)
        last = recorded.path.split("?")[0].rsplit("/", 1)[-1]
        name = last if recorded.method == "POST" else recorded.method
        seen.append(name)
        assert found.status == recorded.status, (name, found.body)
        if recorded.method != "PATCH":  # the recorded one changed nothing, so nothing followed
            assert found.following() == recorded.following(), name
            assert found.polls == recorded.polls, name
        assert (found.result or (0,))[0] == (recorded.result or (0,))[0], name
    for step in ("runCommand", "restart", "powerOff", "start", "reapply", "redeploy", "deallocate"):
        assert step in seen
    assert seen[-1] == "DELETE"


async def test_a_disk_is_made_and_deleted_as_recorded(archive: Any, replay: Replay):
    for recorded in recording(archive, DISK):
        if not offered(recorded):
            continue
        found = await replay.send(recorded)
        assert found.status == recorded.status, (recorded.method, found.body)
        assert found.following() == recorded.following(), recorded.method
        assert found.polls == recorded.polls, recorded.method


async def test_answers_have_the_fields_that_were_recorded(archive: Any, replay: Replay):
    missing: set[str] = set()
    for name in (MACHINE, DISK):
        for recorded in recording(archive, name):
            if offered(recorded) and recorded.method != "PATCH":
                found = await replay.send(recorded)
                missing |= fields(recorded.body) - fields(found.body)
    unexplained = {
        each for each in missing if not any(f"{each}/".startswith(f"{k}/") for k in LEFT_OUT)
    }
    assert unexplained == set()
