"""Whatever is submitted, a real core answers with a job or an error, and never with half a job."""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.infra.core import CoreProcess
from tests.infra.lab import lab_config

from .test_fuzz import SCRIPTS

EXAMPLES = int(os.environ.get("SKYPORT_FUZZ_EXAMPLES", "80"))

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Submitting:
    """A core on whose site there is no node, so that jobs stay where they are put."""

    core: CoreProcess
    session: aiohttp.ClientSession

    def traces(self, job_id: str) -> list[str]:
        """Where anything of a job is: tables and files."""
        with closing(sqlite3.connect(self.core.home / "skyport.sqlite")) as database:
            tables = [row[0] for row in database.execute("select name from sqlite_master")]
            columns = {"job_id", "id", "array_id"}
            found = []
            for table in tables:
                have = {row[1] for row in database.execute(f"pragma table_info({table})")}
                for column in columns & have:
                    query = f"select count(*) from {table} where {column} = ?"
                    if database.execute(query, (job_id,)).fetchone()[0]:
                        found.append(table)
        return found + [str(path) for path in self.core.home.rglob(f"*{job_id}*")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def submitting() -> AsyncIterator[Submitting]:
    async with CoreProcess(lab_config([])) as core:
        connector = aiohttp.UnixConnector(str(core.socket))
        async with aiohttp.ClientSession("http://core", connector=connector) as session:
            yield Submitting(core, session)


@settings(max_examples=EXAMPLES, deadline=None)
@given(SCRIPTS, st.booleans())
async def test_a_submission_makes_a_whole_job_or_leaves_no_trace(
    submitting: Submitting, script: str, raw: bool
) -> None:
    job_id = str(uuid.uuid4())
    headers = {"Idempotency-Key": job_id}
    body = {"json": {"script": script}}
    if raw:
        headers["Content-Type"] = "text/x-shellscript"
        body = {"data": script.encode()}

    async with submitting.session.post("/api/v1/jobs", headers=headers, **body) as answer:
        status, told = answer.status, await answer.json()

    assert status in (201, 400, 403, 422), told
    if status != 201:
        assert told["error"]["message"]
        assert submitting.traces(job_id) == []
        return
    async with submitting.session.get(f"/api/v1/jobs/{job_id}/script") as answer:
        assert await answer.text() in (script, script.replace("\r\n", "\n"))
    async with submitting.session.delete(f"/api/v1/jobs/{job_id}?array=true") as answer:
        assert answer.status == 202
