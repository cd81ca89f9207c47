"""schemathesis tries the whole API of a running core by HTTPS, as a user with a certificate.

``SKYPORT_SCHEMATHESIS_EXAMPLES`` says how many requests each operation gets in its longest phase.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from pathlib import Path

import aiohttp

from skyport_core.api.openapi import openapi
from skyport_core.client import CoreClient
from skyport_core.model import JobKind, JobState
from skyport_core.wire import JobRequest
from tests.infra.certs import ClientFiles, issue
from tests.infra.core import CoreProcess
from tests.infra.nodes import CHECKOUT
from tests.infra.ports import free_ports
from tests.infra.wait import eventually

EXAMPLES = int(os.environ.get("SKYPORT_SCHEMATHESIS_EXAMPLES", "8"))
LONGEST = 40.0 + EXAMPLES * 20.0
"""Seconds that a run may take."""


async def test_the_whole_api_is_as_its_document_says(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    config = f"""
c.SkyPortCore.gates = {{"local": "local"}}
c.SkyPortCore.https_address = "127.0.0.1"
c.SkyPortCore.https_port = {port}
c.SkyPortCore.rate_limit = 0
"""
    async with CoreProcess(config) as core:
        async with core.client() as client:
            kept, spare = await jobs_of_alice(client)
            # What schemathesis submits stays in the queue.
            await client.drain("local", "localhost")
        alice = await issue(core.home, "alice", tmp_path / "alice")
        others = [await issue(core.home, "alice", tmp_path / str(number)) for number in range(3)]
        serials = [files.record.serial for files in (alice, *others) if files.record]
        told = {
            "SKYPORT_TEST_JOBS": f"{','.join(kept)};{','.join(spare)}",
            "SKYPORT_TEST_SERIALS": ",".join(serials),
            "SKYPORT_TEST_KEY": str(alice.key),
        }
        status, output = await schemathesis(port, alice, tmp_path, told)
        assert status == 0, output
    report = json.loads((tmp_path / "report.json").read_text())
    every = sum(len(methods) for methods in openapi().document()["paths"].values())
    assert (report["operations"]["tested"], report["complete"]) == (every, True)
    assert (report["failures"], report["errors"]) == ([], [])


async def jobs_of_alice(client: CoreClient) -> tuple[list[str], list[str]]:
    """Jobs that ended, one that runs and some that wait: those to look at, and those to change."""
    await eventually(client.nodes, "the node of this machine", 30)
    ended, running, *waiting = (str(uuid.uuid4()) for _ in range(6))
    program = "echo hello; echo oops >&2; echo done > result.txt"
    batch = JobRequest(
        owner="alice",
        kind=JobKind.BATCH,
        script=f"#!/bin/sh\n{program}\n",
        outputs=("result.txt",),
        array="0-5",
        cpus=0.1,
        memory=16,
    )
    await client.put_job(ended, batch)
    await client.put_job(
        running,
        JobRequest(
            owner="alice", kind=JobKind.BATCH, command=("sleep", "3600"), cpus=0.1, memory=16
        ),
    )
    for job_id in waiting:
        await client.put_job(
            job_id,
            JobRequest(
                owner="alice",
                kind=JobKind.BATCH,
                command=("cat", "data"),
                inputs=("data",),
                hold=True,
            ),
        )

    async def there() -> bool:
        jobs = {job.id: job for job in await client.list_jobs()}
        array = [job for job in jobs.values() if job.array == ended]
        done = all(job.state is JobState.FINISHED for job in array)
        return done and jobs[running].state is JobState.RUNNING

    await eventually(there, "the jobs to end and to run", 60)
    array = [job.id for job in await client.list_jobs() if job.array == ended]
    return [*array[:3], running, *waiting[:1]], [*array[3:], *waiting[1:]]


async def schemathesis(
    port: int, alice: ClientFiles, folder: Path, told: dict[str, str]
) -> tuple[int, str]:
    url = f"https://127.0.0.1:{port}/api/v1"
    # From a file, since what it reads by its address it would not try.
    document = folder / "document.json"
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{url}/openapi.json", ssl=alice.context()) as answer,
    ):
        document.write_bytes(await answer.read())
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli"),
        *("--config-file", str(Path(__file__).with_name("schemathesis.toml")), "--no-color"),
        *("run", str(document), "--url", url),
        *("--request-cert", str(alice.cert), "--request-cert-key", str(alice.key)),
        *("--tls-verify", str(alice.ca), "--max-examples", str(EXAMPLES), "--checks", "all"),
        *("--report", "json", "--report-json-path", str(folder / "report.json")),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), **told},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), LONGEST)
    except asyncio.TimeoutError:
        process.kill()
        await process.wait()
        raise
    assert process.returncode is not None
    return process.returncode, output.decode()
