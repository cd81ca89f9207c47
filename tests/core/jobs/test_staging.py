"""What a job is told of the nodes that it has."""

from __future__ import annotations

import dataclasses
import datetime as dt
import uuid
from types import SimpleNamespace
from typing import Any, cast

from skyport_core.jobs.attachment import Attachment
from skyport_core.jobs.context import JobContext
from skyport_core.jobs.staging import _files, _place
from skyport_core.model import Job, JobSpec
from skyport_core.wire import JobSecrets
from skyport_gates.gate import Node, SSHEndpoint

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
NODES = tuple(Node(f"n{number}", SSHEndpoint(f"10.0.0.{number}")) for number in (1, 2, 3))


class Site:
    """A gate with one partition, and the calls to it."""

    async def get(self, name: str) -> Any:
        return SimpleNamespace(nodes=NODES)

    async def call(self, site: str, call: Any) -> Any:
        return await call


class Home:
    """What is asked of a runner."""

    async def job_dir(self) -> str:
        return "/home/ann/.skyport/jobs/x"

    async def path_of(self, workdir: str) -> str:
        return f"/home/ann/{workdir}"


def a_job(**spec: Any) -> Job:
    job = Job(str(uuid.UUID(int=1)), "ann", JobSpec(command=("true",), **spec), 1, NOW, NOW)
    return dataclasses.replace(job, site="cloud", node="n2", partition="p1")


async def test_job_of_several_nodes_knows_them_all_its_own_first() -> None:
    site = Site()
    sites = SimpleNamespace(gates={"cloud": site}, call=site.call)
    context = SimpleNamespace(sites=sites, settings=SimpleNamespace(storages={}))
    attachment = SimpleNamespace(runner=Home(), connection=SimpleNamespace(node=NODES[1]))
    ties = cast(JobContext, context), cast(Attachment, attachment)
    place = await _place(a_job(nodes=3), *ties)
    assert place.nodes == (("n2", "10.0.0.2"), ("n1", "10.0.0.1"), ("n3", "10.0.0.3"))
    files = {path: data for path, _, data in _files(None, JobSecrets(), place)}
    assert files == {"nodes": b"n2 10.0.0.2\nn1 10.0.0.1\nn3 10.0.0.3\n"}
    assert (await _place(a_job(), *ties)).nodes == (("n2", "10.0.0.2"),)
