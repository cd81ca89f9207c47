"""The original Sky Port's published clients against this core, over real nodes."""

from __future__ import annotations

import asyncio
import sys
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio

from skyport_core.model import JobState
from tests.e2e.steps import clean, lab, reach
from tests.infra import certs, original
from tests.infra.certs import ClientFiles, OriginalAuthority
from tests.infra.core import CoreProcess
from tests.infra.hub import Hub
from tests.infra.nodes import Fabric, Node
from tests.infra.requirements import needs_nodes
from tests.infra.wait import eventually

pytestmark = [needs_nodes, pytest.mark.asyncio(loop_scope="module")]

PORT = 8443
BOB, CAROL = uuid.uuid4(), uuid.uuid4()
SCRIPT = """#!/bin/sh
#SWM name Hello
#SWM relocatable
#SWM account lab
#SWM gpus 0
#SWM cloud-image
#SWM walltime 10:00
#SWM storage shared
echo "Hello from $SWM_JOB_ID on $(hostname)"
echo to stderr >&2
until [ -e "$HOME/go" ]; do sleep 0.05; done
"""

SPAWNER = """
c.JupyterHub.spawner_class = "swmjupyter.spawner.SwmSpawner"
c.SwmSpawner._config_file = "{home}/.swm/jupyter-spawner.conf"
c.SwmSpawner._swm_host = "localhost"
c.SwmSpawner._swm_ca_file = "{ca}"
c.SwmSpawner._swm_key_file = "{home}/.swm/key.pem"
c.SwmSpawner._swm_cert_file = "{home}/.swm/cert.pem"
c.ConfigurableHTTPProxy.command = ["{python}", "-m", "skyport_spawner.proxy"]
"""


@dataclass
class Site:
    """A core with its HTTPS door over one node, and the certificates of its users.

    Bob and carol have theirs from the original; nobody has said who carol is.
    """

    fabric: Fabric
    node: Node
    core: CoreProcess
    alice: ClientFiles
    bob: ClientFiles
    carol: ClientFiles


@pytest.fixture(scope="module")
def venv() -> Path:
    """The clients' own environment."""
    return original.environment()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(
    venv: Path, fabric: Fabric, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Site]:
    path = f"{sys.prefix}/bin:/usr/local/bin:/usr/bin:/bin"
    node = fabric.add_node("node1", sshd_config=f"SetEnv PATH={path}\n")
    options = {
        "https_port": PORT,
        "https_names": [original.HOST, "localhost"],
        "storages": {"shared": "/srv", "swmblobcontainer": "/srv"},
        "container_engine": "none",
        # The hub of these tests is on the core's own machine.
        "allowed_forwards": ["127.0.0.1:*", "[::1]:*"],
    }
    folder = tmp_path_factory.mktemp("certificates")
    authority = OriginalAuthority()
    (folder / "cluster.pem").write_bytes(authority.bundle)
    options["client_ca_file"] = str(folder / "cluster.pem")
    async with lab(fabric, [node], **options) as core:
        alice = await certs.issue(core.home, "alice", folder / "alice")
        others = [
            authority.issue(name, str(number), folder / name, alice.ca.read_bytes())
            for name, number in (("bob", BOB), ("carol", CAROL))
        ]
        await certs.adopt(core.home, str(BOB), "bob")
        yield Site(fabric, node, core, alice, *others)
    await clean([node])


async def test_all_calls_of_the_client_work_on_a_real_job(site: Site) -> None:
    url = f"https://localhost:{PORT}"
    async with (
        original.swm_api(site.fabric, site.alice, url) as alice,
        original.swm_api(site.fabric, site.bob, url) as bob,
    ):
        [remote] = await alice("get_remote_sites")
        flavors = await eventually(lambda: alice("get_flavors"), "flavors of the site")
        assert (remote["name"], remote["default_flavor_id"]) == ("lab", flavors[0]["id"])
        assert {flavor["remote_id"] for flavor in flavors} == {remote["id"]}
        assert await alice("get_images") == []
        [node] = await alice("get_nodes")
        assert (node["name"], node["state_power"], node["state_alloc"]) == ("node1", "up", "idle")

        flavor = flavors[0]["name"]
        job_id = await alice("submit_job", f"{SCRIPT}#SWM flavor {flavor}\n")
        job = await running(alice, job_id)
        assert (job["name"], job["node_names"]) == ("Hello", ["node1"])
        assert job["node_ips"][0].startswith("127.")
        assert [each["id"] for each in await alice("get_jobs")] == [job_id]

        async def output() -> str | None:
            return await alice("get_job_stdout", job_id)

        assert await eventually(output, "output") == f"Hello from {job_id} on node1\n"
        assert await alice("get_job_stderr", job_id) == "to stderr\n"

        assert await bob("get_jobs") == []
        for call in ("get_job", "get_job_stdout", "get_job_stderr"):
            assert await bob(call, job_id) is None
        assert await bob("cancel_job", job_id) == f"Canceled: \nNot found: {job_id}"
        assert await bob("requeue_job", job_id) == f"Requeued: \nNot found: {job_id}"

        assert await alice("requeue_job", job_id) == f"Requeued: {job_id}\nNot found: "
        await started_again(site.core, job_id)
        assert await alice("cancel_job", job_id) == f"Canceled: {job_id}\nNot found: "
        await state(alice, job_id, "C")

        site.node.run(["touch", "/home/alice/go"], user="alice")
        second = await alice("submit_job", SCRIPT)
        ended = await state(alice, second, "F")
        assert (ended["exitcode"], ended["signal"]) == (0, 0)
        assert await alice("get_job_stdout", second) == f"Hello from {second} on node1\n"
        assert await alice("submit_job", "#!/bin/sh\n#SWM wallime 5\n") is None


async def test_a_certificate_of_somebody_unknown_is_told_so(site: Site) -> None:
    async with original.swm_api(site.fabric, site.carol, f"https://localhost:{PORT}") as carol:
        answer = await carol("requeue_job", str(uuid.uuid4()))

    assert answer == f'User with ID="{CAROL}" is not registred in the workload manager'


async def test_the_console_shows_and_drives_a_job(site: Site, tmp_path: Path) -> None:
    def console(*arguments: str) -> Any:
        return original.swmconsole(site.fabric, site.alice, *arguments)

    site.node.run(["rm", "-f", "/home/alice/go"])
    script = tmp_path / "job.sh"
    script.write_text(SCRIPT)

    job_id = (await console("--job-submit", str(script))).strip()

    async def shown() -> str | None:
        text = await console("--job-info", job_id)
        return text if "Job is running" in text else None

    info = await eventually(shown, "running job", 20)
    assert job_id in info
    lists = await asyncio.gather(
        *(console(f"--{kind}-list") for kind in ("job", "remote", "node", "flavor", "image"))
    )
    for text, part in zip(lists, (job_id, "lab", "node1", "8589 MB", "Comment"), strict=True):
        assert part in text
    assert await console("--job-requeue", job_id) == f"Requeued: {job_id}\nNot found:\n"
    assert await console("--job-cancel", job_id) == f"Canceled: {job_id}\nNot found:\n"


async def test_the_spawner_starts_a_server_on_a_node_and_the_hub_reaches_it(
    site: Site, venv: Path
) -> None:
    home = original.user_home(site.alice)
    conf = home / ".swm" / "jupyter-spawner.conf"
    config = SPAWNER.format(home=home, ca=site.alice.ca, python=sys.executable)
    async with Hub(config, fabric=site.fabric, venv=venv) as hub:
        conf.write_text(f"ACCOUNT=lab\nJUPYTERHUB_PORT={hub.hub_port}\n")
        await start_by_form(hub, "alice")
        messages = [event["message"] async for event in hub.progress("alice")]
        [job_id] = [line.split()[-1] for line in messages if "Job submitted: " in line]

        kernel = await hub.kernel("alice")
        code = "import getpass, os; print(getpass.getuser(), os.uname().nodename)"
        assert await kernel.execute(code) == "alice node1"
        async with site.core.client() as client:
            job = await client.get_job(job_id)
            assert job is not None
            assert job.address is not None and job.address.host.startswith("127.")
            assert await hub.address("alice") == f"http://{job.address.host}:8888"
            await hub.stop_server("alice")
            await reach(client, job_id, JobState.CANCELLED)


async def start_by_form(hub: Hub, user: str) -> None:
    """Send the spawner's own form, as its page does."""
    session = await hub.login(user)
    async with session:
        async with session.get(f"{hub.url}/hub/spawn/{user}") as page:
            assert "selected_flavor_name" in await page.text()
        cookies = session.cookie_jar.filter_cookies(aiohttp.client.URL(f"{hub.url}/hub/"))
        form = {
            "selected_flavor_name": "",
            "selected_flavor_gpus": "0",
            "selected_cloud_image_name": "",
        }
        async with session.post(
            f"{hub.url}/hub/spawn/{user}?_xsrf={cookies['_xsrf'].value}", data=form
        ) as answer:
            assert answer.status == 200, await answer.text()


async def started_again(core: CoreProcess, job_id: str) -> None:
    """Wait until the job runs a second time; the original's times are too coarse to tell."""
    async with core.client() as client:

        async def there() -> bool:
            job = await client.get_job(job_id)
            return job is not None and job.attempt > 0 and job.state is JobState.RUNNING

        await eventually(there, "second start", 20)


async def running(api: original.Api, job_id: str) -> Any:
    """The job once it runs."""

    async def there() -> Any:
        job = await api("get_job", job_id)
        assert job["state"] not in "FEC", job
        return job if job["state"] == "R" else None

    return await eventually(there, "running job", 20)


async def state(api: original.Api, job_id: str, letter: str) -> Any:
    """The job once it is in a state."""

    async def there() -> Any:
        job = await api("get_job", job_id)
        return job if job["state"] == letter else None

    return await eventually(there, f"job in {letter}", 20)
