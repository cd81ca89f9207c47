"""Virtual machines on a fabric: booted by their custom data, reached by SSH, gone when deleted."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from typing import Any

import asyncssh
import pytest

from skyport_gates.gate import SSHEndpoint
from tests.infra import netns
from tests.infra.arm.backends import BootFailed, Machine
from tests.infra.arm.backends.node import NodeBackend, Trouble
from tests.infra.logins import Authority
from tests.infra.nodes import Fabric
from tests.infra.requirements import needs_nodes
from tests.infra.run import start_ticks
from tests.infra.wait import eventually

pytestmark = needs_nodes


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with Fabric() as fabric:
        yield fabric


class Hypervisor:
    """What machines told the platform."""

    def __init__(self) -> None:
        self.off: list[str] = []
        self.acknowledged_events: list[str] = []

    def powered_off(self, machine: Machine) -> None:
        self.off.append(machine.name)

    def acknowledged(self, machine: Machine, event_id: str) -> None:
        self.acknowledged_events.append(event_id)

    def identity_token(
        self, machine: Machine, resource: str, client_id: str
    ) -> dict[str, Any] | None:
        if machine.identity is None:
            return None
        return {"access_token": f"{client_id} at {resource}", "token_type": "Bearer"}


@pytest.fixture
def platform() -> Hypervisor:
    return Hypervisor()


@pytest.fixture
async def backend(fabric: Fabric, platform: Hypervisor) -> AsyncIterator[NodeBackend]:
    backend = NodeBackend(fabric, boot_timeout=10)
    backend.listener = platform
    yield backend
    await backend.close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def host_key() -> asyncssh.SSHKey:
    return asyncssh.generate_private_key("ssh-ed25519")


def cloud_config(**settings: object) -> bytes:
    return b"#cloud-config\n" + json.dumps(settings).encode()


def new_machine(name: str = "vm1", custom_data: bytes = b"", **fields: Any) -> Machine:
    return Machine(
        name=name,
        id=f"/subscriptions/s/resourceGroups/g/providers/x/virtualMachines/{name}",
        vm_id=str(uuid.uuid4()),
        custom_data=custom_data,
        **fields,
    )


def pinned(authority: Authority, host_key: asyncssh.SSHKey, **settings: object) -> bytes:
    """Custom data for alice's login by certificate and for one known host key."""
    return cloud_config(
        users=[{"name": "alice", "uid": 21000, "shell": "/bin/bash"}],
        ssh_deletekeys=True,
        ssh_keys={
            "ed25519_private": host_key.export_private_key().decode(),
            "ed25519_public": host_key.export_public_key().decode(),
        },
        write_files=[
            {"path": "/etc/ssh/user_ca.pub", "content": authority.public_key + "\n"},
            {
                "path": "/etc/ssh/sshd_config.d/50-ca.conf",
                "content": "TrustedUserCAKeys /etc/ssh/user_ca.pub\n",
            },
        ],
        **settings,
    )


class Cloud:
    """Machines with alice's login and the pinned host key."""

    def __init__(
        self,
        fabric: Fabric,
        backend: NodeBackend,
        authority: Authority,
        host_key: asyncssh.SSHKey,
    ) -> None:
        self.fabric, self.backend = fabric, backend
        self.authority, self.host_key = authority, host_key

    async def boot(self, name: str = "vm1", **settings: object) -> Machine:
        """A new machine that has reported ready and answers by SSH."""
        machine = new_machine(name, pinned(self.authority, self.host_key, **settings))
        machine.address = await self.backend.create(machine)
        await self.backend.booted(machine)
        await self.answers(name)
        return machine

    async def answers(self, name: str) -> None:
        """Wait for sshd."""
        await asyncio.to_thread(self.backend.guest(name).wait_ssh)

    async def finished(self, name: str) -> dict[str, Any]:
        """Wait for the end of cloud-init; its result."""
        guest = self.backend.guest(name)
        text = await eventually(lambda: guest.read("/run/cloud-init/result.json"), "cloud-init")
        return dict(json.loads(text)["v1"])

    async def ssh(self, machine: Machine, command: str) -> str:
        """What a command prints for alice, logged in by certificate, host key verified."""
        sock = self.fabric.hub.connect(machine.address, 22)
        sock.setblocking(False)
        public = self.host_key.export_public_key().decode()
        endpoint = SSHEndpoint(machine.address, host_keys=(public,))
        async with self.authority.connect(endpoint, "alice", sock=sock) as connection:
            result = await connection.run(command, check=True)
        return str(result.stdout).strip()


@pytest.fixture
def cloud(
    fabric: Fabric, backend: NodeBackend, authority: Authority, host_key: asyncssh.SSHKey
) -> Cloud:
    return Cloud(fabric, backend, authority, host_key)


# -- cloud-init --------------------------------------------------------------------------------


async def test_a_user_logs_in_by_certificate_at_the_pinned_host_key(cloud: Cloud):
    machine = await cloud.boot()
    assert await cloud.ssh(machine, "id -un; id -u; echo $HOME; hostname") == (
        "alice\n21000\n/home/alice\nvm1"
    )


async def test_another_host_key_than_asked_for_is_noticed(cloud: Cloud):
    cloud.backend.troubles.append(Trouble(other_host_key=True))
    machine = await cloud.boot()
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        await cloud.ssh(machine, "true")


async def test_files_are_written_with_owner_mode_and_encoding(cloud: Cloud):
    files = [
        {"path": "/opt/a/plain", "content": "plain"},
        {
            "path": "/opt/a/secret",
            "content": base64.b64encode(b"\x00bytes").decode(),
            "encoding": "b64",
            "permissions": "0600",
        },
        {"path": "/home/alice/late", "content": "x", "owner": "alice:alice", "defer": True},
    ]
    machine = new_machine(
        custom_data=cloud_config(users=[{"name": "alice"}], write_files=files), address=""
    )
    await cloud.backend.create(machine)
    assert (await cloud.finished("vm1"))["errors"] == []
    guest = cloud.backend.guest("vm1")
    listing = guest.run(
        ["stat", "-c", "%n %U %a %s", "/opt/a/plain", "/opt/a/secret", "/home/alice/late"]
    )
    assert listing.stdout.splitlines() == [
        "/opt/a/plain root 644 5",
        "/opt/a/secret root 600 6",
        "/home/alice/late alice 644 1",
    ]


async def test_modules_that_the_config_leaves_out_do_not_run(cloud: Cloud):
    files = [{"path": "/opt/late", "content": "x", "defer": True}]
    config = cloud_config(
        write_files=files,
        runcmd=["touch /opt/ran"],
        cloud_config_modules=["runcmd"],
        cloud_final_modules=["scripts_user", "final_message"],
    )
    await cloud.backend.create(new_machine(custom_data=config))
    await cloud.finished("vm1")
    listing = cloud.backend.guest("vm1").run(["ls", "/opt"]).stdout.split()
    assert "ran" in listing
    assert "late" not in listing


async def test_an_owner_who_does_not_exist_yet_ends_the_writing_of_files(cloud: Cloud):
    files = [{"path": "/opt/f", "content": "x", "owner": "nobody-yet"}, {"path": "/opt/g"}]
    await cloud.backend.create(new_machine(custom_data=cloud_config(write_files=files)))
    (error,) = (await cloud.finished("vm1"))["errors"]
    assert error.startswith("write-files:")
    assert cloud.backend.guest("vm1").run(["ls", "/opt/g"], check=False).returncode != 0


async def test_boot_commands_run_at_each_boot_and_run_commands_at_the_first(cloud: Cloud):
    machine = await cloud.boot(
        bootcmd=["echo boot >> /opt/log"],
        runcmd=[["sh", "-c", "echo run >> /opt/log"], "echo HOME=$HOME >> /opt/log"],
    )
    await cloud.finished("vm1")
    await cloud.backend.stop(machine)
    await cloud.backend.start(machine)
    await cloud.finished("vm1")
    log = cloud.backend.guest("vm1").read("/opt/log")
    assert log.splitlines() == ["boot", "run", "HOME=", "boot"]


async def test_a_service_is_started_by_a_command_and_again_at_each_boot(cloud: Cloud):
    unit = """\
[Service]
Environment=WORD=hello
ExecStart=/bin/sh -c 'echo $WORD >> /opt/service; exec sleep 600'
Restart=always
[Install]
WantedBy=multi-user.target
"""
    machine = new_machine(
        custom_data=cloud_config(
            write_files=[{"path": "/etc/systemd/system/greeter.service", "content": unit}],
            runcmd=["systemctl daemon-reload", "systemctl enable --now greeter"],
        )
    )
    await cloud.backend.create(machine)
    guest = cloud.backend.guest("vm1")
    await eventually(lambda: guest.read("/opt/service") == "hello\n", "first start")
    guest.run(["pkill", "--full", "^sleep 600"])
    await eventually(lambda: guest.read("/opt/service") == "hello\n" * 2, "restart")
    await cloud.backend.stop(machine)
    await cloud.backend.start(machine)
    await eventually(lambda: guest.read("/opt/service") == "hello\n" * 3, "start at boot")
    guest.run(["systemctl", "stop", "greeter"])
    assert guest.run(["systemctl", "is-active", "greeter"], check=False).returncode != 0


async def test_the_platforms_login_gets_its_keys_when_no_users_are_named(cloud: Cloud):
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    await cloud.backend.create(new_machine(admin_username="azureuser", public_keys=[key]))
    await cloud.finished("vm1")
    guest = cloud.backend.guest("vm1")
    assert guest.read("/home/azureuser/.ssh/authorized_keys").strip() == key


async def test_what_a_boot_printed_is_in_the_serial_log(cloud: Cloud):
    machine = await cloud.boot(runcmd=["echo to the console", "exit 3"], packages=["git"])
    assert "runcmd failed" in (await cloud.finished("vm1"))["errors"][0]
    log = await cloud.backend.serial_log(machine)
    assert "to the console" in log
    assert "WARNING: packages has no effect" in log
    assert "ERROR: module scripts-user failed" in log


# -- power and disk ----------------------------------------------------------------------------


async def test_a_disk_and_the_address_survive_a_stop_and_processes_do_not(cloud: Cloud):
    machine = await cloud.boot()
    await cloud.ssh(machine, "echo kept > ~/file; setsid sleep 600 >/dev/null 2>&1 </dev/null &")
    await cloud.backend.stop(machine)
    assert not cloud.backend.guest("vm1").up
    assert await cloud.backend.start(machine) == machine.address
    await cloud.answers("vm1")
    assert await cloud.ssh(machine, "cat ~/file; pgrep -u alice sleep || echo none") == "kept\nnone"


async def test_a_shutdown_from_inside_is_told_to_the_platform(cloud: Cloud, platform: Hypervisor):
    machine = await cloud.boot()
    cloud.backend.guest("vm1").run(["shutdown", "-P", "now"], check=False)
    await eventually(lambda: platform.off == ["vm1"], "word of the shutdown")
    await cloud.backend.start(machine)
    await cloud.answers("vm1")
    assert await cloud.ssh(machine, "hostname") == "vm1"
    assert platform.off == ["vm1"]


async def test_nothing_is_left_of_a_deleted_machine(cloud: Cloud, fabric: Fabric):
    before = netns.names()
    machine = await cloud.boot()
    pid = cloud.backend.guest("vm1").pid
    disks = cloud.backend.disks()
    assert len(disks) == 1
    await cloud.backend.delete(machine)
    assert cloud.backend.disks() == []
    assert netns.names() == before
    assert start_ticks(pid) is None
    assert "p10" not in fabric.bridge.run(["ip", "link"])
    await cloud.backend.delete(machine)


async def test_a_machine_deleted_while_it_is_made_is_gone(cloud: Cloud):
    machine = new_machine()
    making = asyncio.ensure_future(cloud.backend.create(machine))
    await asyncio.sleep(0)
    making.cancel()
    await cloud.backend.delete(machine)
    assert cloud.backend.guests() == {}
    assert cloud.backend.disks() == []


async def test_twenty_machines_boot_at_a_time(cloud: Cloud):
    machines = await asyncio.gather(*(cloud.boot(f"vm{number}") for number in range(20)))
    assert len({machine.address for machine in machines}) == 20
    names = await asyncio.gather(*(cloud.ssh(machine, "hostname") for machine in machines))
    assert names == [machine.name for machine in machines]


async def test_an_address_is_given_again_and_answers_at_once(cloud: Cloud):
    first = await cloud.boot("vm1")
    await cloud.ssh(first, "true")
    await cloud.backend.delete(first)
    second = await cloud.boot("vm2")
    assert second.address == first.address
    assert await cloud.ssh(second, "hostname") == "vm2"


# -- boots that go wrong -----------------------------------------------------------------------


@pytest.mark.parametrize("trouble", [Trouble(mute=True), Trouble(unplugged=True)])
async def test_a_machine_that_never_reports_failed_to_boot(fabric: Fabric, trouble: Trouble):
    backend = NodeBackend(fabric, boot_timeout=0.5)
    backend.troubles.append(trouble)
    machine = new_machine()
    try:
        await backend.create(machine)
        with pytest.raises(BootFailed) as caught:
            await backend.booted(machine)
    finally:
        await backend.close()
    assert caught.value.code == "OSProvisioningTimedOut"


async def test_a_machine_that_dies_at_boot_is_noticed_at_once(backend: NodeBackend):
    backend.troubles.append(Trouble(dies=True))
    machine = new_machine()
    await backend.create(machine)
    with pytest.raises(BootFailed):
        await backend.booted(machine)


async def test_a_silent_machine_reports_but_refuses_logins(cloud: Cloud):
    cloud.backend.troubles.append(Trouble(silent=True))
    machine = new_machine(custom_data=pinned(cloud.authority, cloud.host_key))
    machine.address = await cloud.backend.create(machine)
    await cloud.backend.booted(machine)
    await cloud.finished("vm1")
    with pytest.raises(ConnectionRefusedError):
        cloud.fabric.hub.connect(machine.address, 22)


async def test_trouble_strikes_only_the_machines_it_names(cloud: Cloud):
    cloud.backend.troubles.append(Trouble(match="vm2", mute=True))
    await cloud.boot("vm1")
    assert cloud.backend.troubles[0].times == 1


# -- the metadata service ----------------------------------------------------------------------

IMDS = "http://169.254.169.254/metadata"


class Curl:
    """Asks the metadata service from inside a machine."""

    def __init__(self, cloud: Cloud, name: str) -> None:
        self._guest = cloud.backend.guest(name)

    async def __call__(self, path: str, *options: str, header: str = "Metadata: true") -> Any:
        command = ["curl", "-sS", "-H", header, *options, f"{IMDS}/{path}"]
        result = await asyncio.to_thread(self._guest.run, command)
        return json.loads(result.stdout) if result.stdout else None


async def test_each_machine_is_told_who_it_is(cloud: Cloud):
    machines = [
        new_machine(name, size="Standard_D2s_v5", tags={"owner": name}) for name in ("vm1", "vm2")
    ]
    for machine in machines:
        machine.address = await cloud.backend.create(machine)
    for machine in machines:
        curl = Curl(cloud, machine.name)
        document = await curl("instance?api-version=2021-02-01")
        assert document["compute"]["vmId"] == machine.vm_id
        assert document["compute"]["tagsList"] == [{"name": "owner", "value": machine.name}]
        assert await curl("instance/compute/name?api-version=2021-02-01") == machine.name


async def test_the_metadata_service_wants_its_header_and_a_version(cloud: Cloud):
    await cloud.backend.create(new_machine())
    curl = Curl(cloud, "vm1")
    answer = await curl("instance?api-version=2021-02-01", header="X: y")
    assert "metadata header" in answer["error"]
    answer = await curl("scheduledevents")
    assert "api-version was not specified" in answer["error"]
    assert "2020-07-01" in answer["newest-versions"]


async def test_a_scheduled_event_is_seen_and_acknowledged(cloud: Cloud, platform: Hypervisor):
    machine = new_machine()
    await cloud.backend.create(machine)
    curl, path = Curl(cloud, "vm1"), "scheduledevents?api-version=2020-07-01"
    empty = await curl(path)
    assert empty["Events"] == []
    event = {
        "EventId": "E1",
        "EventType": "Preempt",
        "ResourceType": "VirtualMachine",
        "Resources": ["vm1"],
        "EventStatus": "Scheduled",
        "NotBefore": "Mon, 19 Sep 2022 18:29:47 GMT",
    }
    await cloud.backend.notice(machine, event)
    seen = await curl(path)
    assert seen["Events"] == [event]
    assert seen["DocumentIncarnation"] > empty["DocumentIncarnation"]
    assert datetime.strptime(event["NotBefore"], "%a, %d %b %Y %H:%M:%S GMT")
    await curl(path, "-d", '{"StartRequests": [{"EventId": "E1"}]}')
    assert platform.acknowledged_events == ["E1"]
    assert (await curl(path))["Events"][0]["EventStatus"] == "Started"


async def test_only_a_machine_with_an_identity_gets_a_token(cloud: Cloud):
    await cloud.backend.create(new_machine("vm1"))
    await cloud.backend.create(new_machine("vm2", identity={"type": "UserAssigned"}))
    path = "identity/oauth2/token?api-version=2018-02-01&resource=https://r/&client_id=c"
    assert (await Curl(cloud, "vm1")(path))["error_description"] == "Identity not found"
    assert (await Curl(cloud, "vm2")(path))["access_token"] == "c at https://r/"
