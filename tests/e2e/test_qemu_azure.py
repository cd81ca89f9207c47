"""A server on an emulated PC with Debian's own cloud-init, through hub, core, gate and endpoint.

Collected only with SKYPORT_QEMU=1 (``make test-qemu``); it takes some minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from skyport_core.client import CoreClient
from skyport_core.model import JobState
from tests.e2e.steps import hub_over, visit
from tests.infra.arm.backends.qemu import QemuBackend
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.core import CoreProcess
from tests.infra.desk import SERVER, Desk
from tests.infra.lab import QUICK, TINY
from tests.infra.nodes import Fabric
from tests.infra.requirements import needs_nodes
from tests.infra.wait import eventually

pytestmark = needs_nodes

SLOW = {"connect_timeout": 30, "keepalive_interval": 5, "keepalive_count": 6, "boot_timeout": 300}


async def test_a_server_on_a_real_machine_of_the_cloud(
    fabric: Fabric, record_property: Callable[[str, object], None]
):
    async with ArmEndpoint(backend=QemuBackend(fabric), fabric=fabric) as endpoint:
        traits = endpoint.gate_options(bootstrap="none", sizes=["Standard_D2s_v5"])
        lines = [f"c.SkyPortCore.gates = {{'azure': {{'class': 'azure', **{traits!r}}}}}"]
        lines += [f"c.SkyPortCore.{name} = {value!r}" for name, value in (QUICK | SLOW).items()]
        core = CoreProcess("\n".join(["c = get_config()", *lines, ""]), fabric=fabric)
        # The machine has none of this checkout: the server's text goes along.
        command = ["/usr/bin/python3", "-c", Path(TINY[-1]).read_text()]
        async with core, hub_over(core, fabric, command, start_timeout=600) as hub:
            began = time.monotonic()
            await hub.start_server("alice")
            await hub.wait_ready("alice", timeout=500)
            record_property("ready", seconds := round(time.monotonic() - began, 1))
            print(f"server ready: {seconds} s")
            (name,) = endpoint.arm.machines()
            assert (await visit(hub, "alice")).split()[0] in name
            await hub.stop_server("alice", timeout=60)
            async with CoreClient(core.socket) as client:
                (job,) = await client.list_jobs()
                assert job.state.final
            await eventually(lambda: not endpoint.arm.leftovers(), "Azure without leftovers", 60)


async def test_a_machine_that_slept_wakes_with_its_files(
    fabric: Fabric, record_property: Callable[[str, object], None]
):
    async with ArmEndpoint(backend=QemuBackend(fabric), fabric=fabric) as endpoint:
        traits = endpoint.gate_options(bootstrap="none", sizes=["Standard_D2s_v5"])
        lines = [f"c.SkyPortCore.gates = {{'azure': {{'class': 'azure', **{traits!r}}}}}"]
        lines += [f"c.SkyPortCore.{name} = {value!r}" for name, value in (QUICK | SLOW).items()]
        core = CoreProcess("\n".join(["c = get_config()", *lines, ""]), fabric=fabric)
        async with core, CoreClient(core.socket) as client:
            desk = Desk(core, client)
            seconds = []
            for _ in range(2):
                began = time.monotonic()
                job_id = await desk.serve(f"echo here >> notes; cat notes; {SERVER}", keep="lab")
                await desk.reach(job_id, JobState.RUNNING, timeout=400)
                seconds.append(round(time.monotonic() - began, 1))
                (machine,) = endpoint.arm.machines()
                await client.delete_job(job_id)
                await desk.end(job_id, timeout=60)
                await eventually(
                    lambda name=machine: endpoint.arm.vm(name).hidden["power"] == "deallocated",
                    "the machine asleep",
                    60,
                )
            record_property("ready", seconds)
            print(f"server ready: {seconds[0]} s on a new machine, {seconds[1]} s on a woken one")
            assert "here\nhere\n" in await desk.log(job_id)
            for partition in await client.partitions():
                if partition.keep:
                    await client.delete_partition(partition.name)
            await eventually(lambda: not endpoint.arm.leftovers(), "Azure without leftovers", 60)
