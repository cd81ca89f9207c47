"""Servers on Azure: picked by price, made, reached through the tunnel, removed to the last disk.

The machines are nodes that obey their custom data; Azure is the endpoint, talked to by the real
SDK inside a real core.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.async_api import expect

from skyport_core.model import JobState
from tests.e2e.cloud import SIZE, azure
from tests.e2e.lab_page import log_in, run_a_cell
from tests.e2e.steps import batch, ended, hub_over, reach, submit
from tests.infra.arm.backends.node import Trouble
from tests.infra.browser import chromium, new_page, screenshot
from tests.infra.hub import PASSWORD
from tests.infra.lab import NOTEBOOK
from tests.infra.nodes import Fabric
from tests.infra.requirements import needs_browser, needs_nodes
from tests.infra.wait import eventually

pytestmark = needs_nodes


@needs_browser
async def test_a_person_picks_a_size_works_on_it_and_leaves_nothing(fabric: Fabric, tmp_path: Path):
    async with (
        azure(fabric) as cloud,
        hub_over(cloud.core, fabric, NOTEBOOK) as hub,
        chromium(fabric) as browser,
        new_page(browser) as page,
    ):
        cloud.backend.troubles.append(Trouble(delay=3))  # so that its phases can be watched
        await log_in(page, hub.url, "alice", PASSWORD)
        await page.wait_for_selector("form#spawn_form")
        option = page.locator(f"#skyport-machine option[value='azure/{SIZE}']")
        await expect(option).to_have_text(re.compile(r"2 CPUs, 8 GiB, .*\$0\.\d+ per hour"))
        await page.select_option("#skyport-machine", f"azure/{SIZE}")
        await expect(page.locator("#skyport-cost")).to_contain_text("$")
        await screenshot(page, tmp_path, "form")
        await page.click("form#spawn_form [type=submit]")
        await page.wait_for_selector("#progress-bar", state="attached")
        log = page.locator("#progress-log")
        await expect(log).to_contain_text(f"Making a {SIZE}", timeout=20_000)
        await expect(log).to_contain_text("is up")
        await screenshot(page, tmp_path, "progress")
        await page.wait_for_url("**/lab**", timeout=60_000)
        await page.wait_for_selector(".jp-LauncherCard", timeout=60_000)
        (name,) = cloud.backend.guests()
        host = cloud.backend.guest(name).read("/etc/hostname").strip()
        code = "import getpass, os; print(getpass.getuser(), os.uname().nodename)"
        assert await run_a_cell(page, code) == f"alice {host}"
        await screenshot(page, tmp_path, "notebook")
        await page.goto(f"{hub.url}/hub/home")
        await page.click("#stop")
        await expect(page.locator("#stop")).to_be_hidden(timeout=30_000)
        await cloud.clean()


async def test_jobs_run_on_machines_of_their_own(fabric: Fabric):
    async with azure(fabric) as cloud, cloud.core.client() as client:
        jobs = [await submit(client, batch("hostname; id -un")) for _ in range(4)]
        views = [await ended(client, each, 60) for each in jobs]
        assert {view.state for view in views} == {JobState.FINISHED}
        logs = [(await client.log(each)).data.decode().split() for each in jobs]
        assert {user for _, user in logs} == {"alice"}
        assert len({host for host, _ in logs}) == 4
        await cloud.clean()


@pytest.mark.parametrize("trouble", ["silent", "other_host_key", "unplugged"])
async def test_a_machine_that_nobody_can_log_in_to_is_replaced(fabric: Fabric, trouble: str):
    async with azure(fabric, boot_timeout=4) as cloud, cloud.core.client() as client:
        cloud.backend.troubles.append(Trouble(**{trouble: True}))
        job_id = await submit(client, batch("hostname"))
        view = await ended(client, job_id, 60)
        assert view.state is JobState.FINISHED
        events = [event async for event in client.events(job_id, follow=False)]
        assert [event.reason for event in events].count("boot") == 1
        (boot,) = [event for event in events if event.reason == "boot"]
        assert "cloud-init" in boot.hint
        await cloud.clean()


async def test_a_job_on_an_evicted_machine_goes_on_elsewhere_with_its_results(fabric: Fabric):
    script = "hostname >> hosts; [ $(wc -l < hosts) = 2 ] || exec sleep 600; cat hosts"
    async with azure(fabric) as cloud, cloud.core.client() as client:
        job_id = await submit(
            client, batch(script, spot=True, on_eviction="move", outputs=["hosts"])
        )
        await reach(client, job_id, JobState.RUNNING, timeout=60)
        (name,) = cloud.backend.guests()
        find = ["find", "/home/alice", "-name", "hosts", "-size", "+0"]
        guest = cloud.backend.guest(name)
        await eventually(lambda: cloud.backend.host(name).asked, "question of the node's agent")
        await eventually(lambda: guest.run(find).stdout, "first line of the job's file")
        arm = cloud.endpoint.arm
        arm.spawn(arm.evict(name, notice=30))
        view = await ended(client, job_id, 25)  # well before the machine would have vanished
        assert view.state is JobState.FINISHED
        hosts = (await client.log(job_id)).data.decode().split()
        assert len(set(hosts)) == len(hosts) == 2
        await cloud.clean()
