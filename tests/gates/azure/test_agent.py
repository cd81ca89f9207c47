"""The agent on the machines: notices of eviction and the lease, as a real process."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from skyport_gates.azure import cloudinit
from skyport_gates.azure.cloudinit import CloudInit, node_conf
from tests.infra.requirements import needs_root
from tests.infra.wait import eventually

AGENT = Path(cloudinit.__file__).parent / "node" / "agent.sh"
TOOLS = (
    *("cat", "cut", "date", "getent", "grep", "id", "mkdir", "printf", "runuser", "sed", "sh"),
    *("sleep", "timeout", "tr"),
)


class Host:
    """The metadata service of one machine, and the Resource Manager as it sees it."""

    def __init__(self) -> None:
        self.name = "Sky-1"
        self.events: list[dict[str, Any]] = []
        self.looks = 0
        self.acknowledged: list[str] = []
        self.deleted: list[tuple[str, str]] = []
        self.token_query: dict[str, str] = {}
        self.url = ""

    def application(self) -> web.Application:
        """What is served."""
        app = web.Application()
        app.router.add_get("/metadata/instance/compute/{field}", self._about)
        app.router.add_get("/metadata/scheduledevents", self._events)
        app.router.add_post("/metadata/scheduledevents", self._acknowledge)
        app.router.add_get("/metadata/identity/oauth2/token", self._token)
        app.router.add_delete("/subscriptions/{path:.*}", self._delete)
        return app

    async def _about(self, request: web.Request) -> web.Response:
        assert request.headers["Metadata"] == "true" and request.query["format"] == "text"
        known = {"name": self.name, "resourceId": f"/subscriptions/s/{self.name}"}
        return web.Response(text=known[request.match_info["field"]])

    async def _events(self, request: web.Request) -> web.Response:
        assert request.headers["Metadata"] == "true"
        self.looks += 1
        return web.json_response({"DocumentIncarnation": self.looks, "Events": self.events})

    async def _acknowledge(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        self.acknowledged += [each["EventId"] for each in body["StartRequests"]]
        return web.Response()

    async def _token(self, request: web.Request) -> web.Response:
        self.token_query = dict(request.query)
        return web.json_response({"access_token": "t0ken", "expires_in": "3599"})

    async def _delete(self, request: web.Request) -> web.Response:
        self.deleted.append((request.path, request.headers["Authorization"]))
        return web.Response(status=202)


def event(kind: str = "Preempt", *machines: str, **changes: Any) -> dict[str, Any]:
    """A scheduled event; it happens in 30 s."""
    return {
        "EventId": "602d9444-d2cd-49c7-8624-8643e7171297",
        "EventStatus": "Scheduled",
        "EventType": kind,
        "ResourceType": "VirtualMachine",
        "Resources": list(machines or ("other", "sky-1")),
        "NotBefore": formatdate(time.time() + 30, usegmt=True),
        "Description": "",
        "EventSource": "Platform",
        "DurationInSeconds": -1,
        **changes,
    }


class Agent:
    """The agent as a process, with its places below one folder."""

    def __init__(self, folder: Path, host: Host) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.watch = self.home / ".skyport/watch"
        self.user = getpass.getuser()
        self._host = host
        self._readers: list[int] = []
        self._process: subprocess.Popen[bytes] | None = None
        self.watch.mkdir(parents=True)
        (folder / "bin").mkdir()
        for name in TOOLS:
            if found := shutil.which(name, path="/usr/bin:/bin:/usr/sbin:/sbin"):
                (folder / "bin" / name).symlink_to(found)
        self.program("shutdown", f'echo "$*" >>{folder}/shutdown')

    def program(self, name: str, body: str) -> None:
        """A program that the agent finds."""
        path = self.folder / "bin" / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)

    def borrow(self, name: str, found: str | None = None) -> None:
        """A program of this machine that the agent finds."""
        found = found or shutil.which(name)
        if found is None:
            pytest.skip(f"needs {name}")
        (self.folder / "bin" / name).symlink_to(os.path.realpath(found))

    def start(self, *, tick: float = 0.1, **settings: Any) -> None:
        """Run it with settings of a machine, ten times as fast unless ``tick`` is given."""
        wanted: dict[str, Any] = {
            "user_ca": "",
            "host_key_private": "",
            "host_key_public": "",
            "username": self.user,
            "arm_url": self._host.url,
            **settings,
        }
        conf = self.folder / "node.conf"
        conf.write_text(node_conf(CloudInit(**wanted)) + f"home={self.home}\n")
        environment = {
            "PATH": f"{self.folder}/bin",
            "SKYPORT_IMDS": self._host.url,
            "SKYPORT_CONF": str(conf),
            "SKYPORT_STATE": str(self.folder / "state"),
            "SKYPORT_TICK": str(tick),
        }
        self._process = subprocess.Popen(
            ["/bin/sh", str(AGENT)], env=environment, start_new_session=True
        )

    def listen(self, name: str = "node.1") -> int:
        """A FIFO at which the core listens, as its runner makes it; the end to read from."""
        path = self.watch / name
        os.mkfifo(path, 0o600)
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._readers.append(descriptor)
        return descriptor

    @property
    def lease(self) -> Path:
        """The file that is renewed."""
        return self.folder / "state/lease"

    @property
    def shutdowns(self) -> list[str]:
        """How the machine was switched off."""
        path = self.folder / "shutdown"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End it and all that it started."""
        for descriptor in self._readers:
            os.close(descriptor)
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()


def read(descriptor: int) -> list[str]:
    """The lines that came by a FIFO since the last time."""
    with contextlib.suppress(BlockingIOError):
        return os.read(descriptor, 65536).decode().splitlines()
    return []


@pytest.fixture
async def host() -> AsyncIterator[Host]:
    """A metadata service on loopback."""
    made = Host()
    runner = web.AppRunner(made.application(), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


@pytest.fixture
async def agent(tmp_path: Path, host: Host) -> AsyncIterator[Agent]:
    """An agent, not started, with curl."""
    made = Agent(tmp_path, host)
    made.borrow("curl")
    yield made
    made.stop()


# -- eviction ----------------------------------------------------------------------------------


async def test_an_eviction_is_told_within_two_seconds(agent: Agent, host: Host) -> None:
    fifo = agent.listen()
    agent.start(tick=1)
    await eventually(lambda: host.looks, "a look at the events")
    told = event()
    host.events = [told]
    lines = await eventually(lambda: read(fifo), "the notice", timeout=2)
    moment = subprocess.run(
        ["date", "-d", told["NotBefore"], "+%s"], capture_output=True, text=True, check=True
    )
    assert lines[0] == f"notice preempt {moment.stdout.strip()}"


async def test_every_listener_is_told(agent: Agent, host: Host) -> None:
    fifos = [agent.listen("node.1"), agent.listen("node.2")]
    host.events = [event()]
    agent.start()
    for fifo in fifos:
        await eventually(lambda fifo=fifo: read(fifo), "the notice")  # type: ignore[misc]


async def test_the_notice_is_repeated_until_it_was_told_three_times(
    agent: Agent, host: Host
) -> None:
    fifo = agent.listen()
    host.events = [event()]
    agent.start()
    # Each look is over before the next one begins.
    await eventually(lambda: host.looks >= 6, "six looks")
    lines = read(fifo)
    assert len(lines) == 3 and len(set(lines)) == 1


async def test_a_notice_that_was_heard_is_not_repeated(agent: Agent, host: Host) -> None:
    fifo = agent.listen()
    host.events = [event()]
    agent.start()
    (line,) = await eventually(lambda: read(fifo), "the notice")
    (agent.home / ".skyport/notices").write_text(f"heard {line.removeprefix('notice ')}\n")
    seen = host.looks
    await eventually(lambda: host.looks >= seen + 3, "three more looks")
    # One may have been on its way.
    assert len(read(fifo)) <= 1


@pytest.mark.parametrize(
    "other",
    [event("Preempt", "sky-10", "sky"), event("Reboot"), event("Freeze"), event("Terminate")],
    ids=["another machine", "Reboot", "Freeze", "Terminate"],
)
async def test_other_events_are_ignored(agent: Agent, host: Host, other: dict[str, Any]) -> None:
    fifo = agent.listen()
    host.events = [other]
    agent.start()
    await eventually(lambda: host.looks >= 2, "two looks")
    assert read(fifo) == []


async def test_the_own_event_is_found_among_others(agent: Agent, host: Host) -> None:
    fifo = agent.listen()
    others = [event("Reboot", EventId="1"), event("Preempt", "other", EventId="2")]
    host.events = [*others, event()]
    agent.start()
    assert await eventually(lambda: read(fifo), "the notice")


async def test_azure_is_told_to_go_ahead_only_when_all_is_done(agent: Agent, host: Host) -> None:
    fifo = agent.listen()
    host.events = [event()]
    agent.start()
    (line,) = await eventually(lambda: read(fifo), "the notice")
    notices = agent.home / ".skyport/notices"
    notices.write_text(f"heard {line.removeprefix('notice ')}\n")
    seen = host.looks
    await eventually(lambda: host.looks >= seen + 2, "two more looks")
    assert host.acknowledged == []
    notices.write_text(f"done {line.removeprefix('notice ')}\n")
    await eventually(lambda: host.acknowledged == [event()["EventId"]], "the acknowledgement")


async def test_a_listener_that_is_gone_does_not_hold_up_the_others(
    agent: Agent, host: Host
) -> None:
    os.mkfifo(agent.watch / "gone.1")
    fifo = agent.listen("node.2")
    host.events = [event()]
    agent.start()
    assert await eventually(lambda: read(fifo), "the notice", timeout=3)


async def test_an_event_without_a_time_happens_now(agent: Agent, host: Host) -> None:
    fifo = agent.listen()
    host.events = [event(EventStatus="Started", NotBefore="")]
    agent.start()
    lines = await eventually(lambda: read(fifo), "the notice")
    assert abs(int(lines[0].split()[2]) - time.time()) < 5


async def test_without_curl_python_does(tmp_path: Path, host: Host) -> None:
    agent = Agent(tmp_path, host)
    agent.borrow("python3", sys.executable)
    try:
        fifo = agent.listen()
        host.events = [event()]
        agent.start()
        (line, *_) = await eventually(lambda: read(fifo), "the notice")
        (agent.home / ".skyport/notices").write_text(f"done {line.removeprefix('notice ')}\n")
        await eventually(lambda: host.acknowledged, "the acknowledgement")
    finally:
        agent.stop()


async def test_an_outage_of_the_metadata_is_survived(agent: Agent, host: Host) -> None:
    fifo = agent.listen()
    agent.program("curl", "exit 7")
    agent.start()
    await eventually(lambda: (agent.folder / "state").exists(), "its start")
    (agent.folder / "bin/curl").unlink()
    agent.borrow("curl")
    host.events = [event()]
    assert await eventually(lambda: read(fifo), "the notice")


@needs_root
async def test_links_of_the_login_do_not_lead_root_astray(host: Host) -> None:
    # pytest's own folders are closed to other users.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        agent = Agent(Path(folder), host)
        agent.user = "nobody"
        agent.borrow("curl")
        try:
            treasure = Path(folder) / "treasure"
            os.mkfifo(treasure, 0o600)
            hoard = os.open(treasure, os.O_RDWR | os.O_NONBLOCK)
            fifo = agent.listen()
            (agent.watch / "link").symlink_to(treasure)
            shutil.chown(agent.watch / "node.1", "nobody")
            host.events = [event()]
            agent.start()
            assert await eventually(lambda: read(fifo), "the notice")
            await eventually(lambda: host.looks >= 3, "more looks")
            assert read(hoard) == []
            os.close(hoard)
        finally:
            agent.stop()


# -- lease -------------------------------------------------------------------------------------


@contextlib.contextmanager
def door() -> Any:
    """A port that somebody listens on, in place of sshd's."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener


async def test_a_forgotten_machine_is_switched_off(agent: Agent) -> None:
    with door() as listener:
        agent.start(lease=1, ssh_port=listener.getsockname()[1])
        await eventually(lambda: agent.shutdowns, "the end")
    assert agent.shutdowns[0] == "-P now"


async def test_who_is_logged_in_keeps_the_machine_alive(agent: Agent, host: Host) -> None:
    with door() as listener:
        address = listener.getsockname()
        with socket.create_connection(address), listener.accept()[0]:
            agent.start(lease=1, ssh_port=address[1])
            began = time.monotonic()
            await eventually(lambda: time.monotonic() > began + 2.5, "more than the lease")
            assert agent.shutdowns == []
        await eventually(lambda: agent.shutdowns, "the end")


async def test_a_connection_to_another_port_does_not_count(agent: Agent) -> None:
    with (
        door() as listener,
        door() as other,
        socket.create_connection(other.getsockname()),
        other.accept()[0],
    ):
        agent.start(lease=1, ssh_port=listener.getsockname()[1])
        await eventually(lambda: agent.shutdowns, "the end")


async def test_without_a_lease_a_machine_lives_on(agent: Agent, host: Host) -> None:
    agent.start(lease=0)
    await eventually(lambda: host.looks >= 3, "three looks")
    assert agent.shutdowns == [] and agent.alive


async def test_a_lease_from_before_a_sleep_does_not_count(agent: Agent, host: Host) -> None:
    agent.lease.parent.mkdir()
    agent.lease.write_text("another-boot 1000000000\n")
    agent.start(lease=60)
    await eventually(lambda: host.looks >= 2, "two looks")
    assert agent.shutdowns == []
    boot, since = agent.lease.read_text().split()
    assert boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert abs(int(since) - time.time()) < 60


async def test_a_restart_of_the_agent_does_not_renew_the_lease(agent: Agent) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    agent.lease.parent.mkdir()
    agent.lease.write_text(f"{boot} {int(time.time()) - 120}\n")
    agent.start(lease=60)
    await eventually(lambda: agent.shutdowns, "the end")


async def test_a_machine_with_an_identity_deletes_itself(agent: Agent, host: Host) -> None:
    agent.start(lease=1, ssh_port=1, identity="/subscriptions/s/identities/node")
    await eventually(lambda: agent.shutdowns, "the end")
    assert host.deleted[0] == ("/subscriptions/s/Sky-1", "Bearer t0ken")
    assert host.token_query["msi_res_id"] == "/subscriptions/s/identities/node"
    assert host.token_query["resource"] == host.url


async def test_a_machine_without_an_identity_asks_for_no_token(agent: Agent, host: Host) -> None:
    agent.start(lease=1, ssh_port=1)
    await eventually(lambda: agent.shutdowns, "the end")
    assert (host.token_query, host.deleted) == ({}, [])


async def test_a_token_is_in_no_argument(agent: Agent, host: Host) -> None:
    real = os.path.realpath(shutil.which("curl") or "")
    agent.program("curl", f'printf \'%s\\n\' "$*" >>{agent.folder}/arguments\nexec {real} "$@"')
    agent.start(lease=1, ssh_port=1, identity="/subscriptions/s/identities/node")
    await eventually(lambda: agent.shutdowns, "the end")
    said = (agent.folder / "arguments").read_text()
    assert "DELETE" in said and "t0ken" not in said
