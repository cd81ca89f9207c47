"""The original Sky Port's wire protocol, byte by byte."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from tornado.httputil import HTTPServerRequest

from skyport_core.api import Services, make_application, unix_door
from skyport_core.api.errors import ApiError
from skyport_core.caller import Caller
from skyport_core.identifiers import account_id, flavor_id, site_id
from skyport_core.model import EventDraft, Failure, Job, JobState, PartitionRecord, PartitionState
from skyport_core.service import ServiceError
from skyport_core.wire import JobRequest

from .served import UNKNOWN, Answer, MemoryJobs, memory_services, now

SCRIPT = "#!/bin/sh\n#SWM name Hello\n#SWM ports 8888/tcp/in,8081/tcp/out\ndate\n"
BOUNDARY = "0123456789abcdef0123456789abcdef"
FORM = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="script_content"\r\n\r\n'
    f"{SCRIPT}\r\n--{BOUNDARY}--\r\n"
)
NUMBERS = itertools.count()
FORM_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Jobs(MemoryJobs):
    """Jobs in the store that stay where the test puts them."""

    site_names = ("lab", "cloud")
    allowed_forwards = ()
    peer_forwards = True

    async def submit(
        self,
        job_id: str,
        owner: str,
        request: JobRequest,
        *,
        submitted: JobRequest | None = None,
        by: Caller | None = None,
        note: str = "",
    ) -> tuple[Job, bool]:
        return await self.store.put_job(job_id, owner, request, now())

    def account_of(self, site: str, by: Caller) -> str | None:
        return site

    async def requeue(self, job: Job) -> Job:
        if job.state.final:
            raise ServiceError("Its secrets are gone.", code="final", status=409)
        return await self.store.update_job(job, EventDraft("Again"), state=JobState.QUEUED)


@dataclass
class Door:
    """The protocol, as spoken to one caller."""

    services: Services
    session: aiohttp.ClientSession
    user: str = ""

    async def __call__(self, method: str, path: str, by: str = "", **options: Any) -> Answer:
        headers = {
            "X-By": by or self.user,
            "Authorization": "Bearer swm",
            **options.pop("headers", {}),
        }
        async with self.session.request(
            method, f"http://core{path}", headers=headers, **options
        ) as answer:
            return Answer(answer.status, answer.headers, await answer.read())

    async def submit(self, script: str = SCRIPT) -> str:
        answer = await self("POST", "/user/job", data=script)
        assert answer.status == 200, answer.body
        return answer.body.decode()

    async def put(self, job_id: str, **changes: Any) -> Job:
        job = await self.services.store.get_job(job_id)
        assert job is not None
        return await self.services.store.update_job(job, EventDraft("On"), **changes)

    async def show(self, job_id: str) -> Any:
        return (await self("GET", f"/user/job/{job_id}")).json


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Door]:
    async def identify(request: HTTPServerRequest) -> Caller:
        name = request.headers["X-By"]
        if name == "nobody":
            message = "The user UUID 1-2 of your certificate is not known here"
            raise ApiError(403, "unknown_uuid", message)
        return Caller(name, peer="192.0.2.7")

    folder = tmp_path_factory.mktemp("core")
    async with memory_services(folder) as services:
        services = replace(services, jobs=Jobs(services.store))
        application = make_application(services, original=True)
        opened = await unix_door(application, folder / "core.sock")
        application.settings["identify"] = identify
        connector = aiohttp.UnixConnector(str(opened.path))
        async with aiohttp.ClientSession(connector=connector) as session:
            yield Door(services, session)
        await opened.close()


@pytest.fixture
def door(served: Door) -> Door:
    """The core, for a user whom no other test has."""
    assert isinstance(served.services.jobs, Jobs)
    served.services.jobs.logs.clear()
    return replace(served, user=f"alice-{next(NUMBERS)}")


async def test_a_long_list_comes_in_pieces_and_whole(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyport_core.api.skyport.jobs.PAGE", 3)
    ids = [await door.submit() for _ in range(7)]
    newest = ids[::-1]

    for count in (1, 3, 6, 7):
        listed = (await door("GET", f"/user/job?limit={count}")).json
        assert [job["id"] for job in listed] == newest[:count]
    assert [job["id"] for job in (await door("GET", "/user/job")).json] == newest


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (FORM, FORM_TYPE),
        (FORM, "application/octet-stream"),
        (FORM.replace("\r\n\r\n", "\r\nContent-Type: text/plain\r\n\r\n", 1), FORM_TYPE),
        (FORM.replace('content"', 'content"; filename="job.sh"', 1), FORM_TYPE),
        (SCRIPT, "application/x-www-form-urlencoded"),
        (SCRIPT, "text/plain"),
    ],
)
async def test_a_script_is_taken_as_a_form_or_as_it_is(
    door: Door, body: str, content_type: str
) -> None:
    answer = await door("POST", "/user/job", data=body, headers={"Content-Type": content_type})

    assert answer.status == 200
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.body.decode())
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    assert await door.services.store.script(answer.body.decode()) == SCRIPT


async def test_a_new_job_has_all_fields(door: Door) -> None:
    job_id = await door.submit(SCRIPT.replace("date", "#SWM comment why\n#SWM gpus 1"))

    shown = await door.show(job_id)

    assert shown["submit_time"].endswith("Z")
    dt.datetime.fromisoformat(shown.pop("submit_time").replace("Z", "+00:00"))
    assert shown == {
        "id": job_id,
        "name": "Hello",
        "state": "Q",
        "state_details": "Waiting in the queue",
        "start_time": "",
        "end_time": "",
        "duration": 0,
        "exitcode": -1,
        "signal": -1,
        "node_names": [],
        "node_ips": [],
        "remote_id": "",
        "flavor_id": "",
        "request": [
            {"name": "node", "count": 1},
            {"name": "gpus", "count": 1},
            {"name": "ports", "count": 1, "value": "8888"},
        ],
        "resources": [],
        "comment": "why",
    }


FAILURE = Failure("exit", "The job ended with exit status 3", "The log shows why")


@pytest.mark.parametrize(
    ("changes", "letter", "details"),
    [
        ({"wait_reason": "No node is free", "position": 2}, "Q", "No node is free (position 2)"),
        ({"state": JobState.ALLOCATING}, "W", "Start secured tunnel"),
        (
            {"state": JobState.ALLOCATING, "partition": "p1"},
            "W",
            "Waiting for SSH provisioning port",
        ),
        ({"state": JobState.ALLOCATING, "partition": "p2"}, "W", "Initiate a new partition"),
        ({"state": JobState.STAGING}, "T", "Uploading data"),
        ({"state": JobState.STARTING}, "W", "Data uploaded"),
        ({"state": JobState.RUNNING}, "R", "Job is running"),
        ({"state": JobState.COLLECTING}, "T", "Downloading data"),
        ({"state": JobState.FINISHED, "exit_code": 0}, "F", "Job finished (exit code 0)"),
        (
            {"state": JobState.FAILED, "exit_code": 3, "failure": FAILURE},
            "F",
            "The job ended with exit status 3. The log shows why.",
        ),
        (
            {"state": JobState.FAILED, "failure": Failure("boot", "No answer")},
            "E",
            "No answer.",
        ),
        ({"state": JobState.CANCELLED}, "C", "Job canceled"),
    ],
)
async def test_states_are_letters_with_the_details_that_clients_look_for(
    door: Door, changes: Mapping[str, Any], letter: str, details: str
) -> None:
    job_id = await door.submit()
    await door.services.store.put_partition(
        PartitionRecord(
            f"{door.user}-p1",
            site="cloud",
            job_id=job_id,
            owner=door.user,
            flavor="small",
            created_at=now(),
            state_since=now(),
            state=PartitionState.READY,
        )
    )

    if "partition" in changes:
        changes = {**changes, "partition": f"{door.user}-{changes['partition']}"}
    await door.put(job_id, **changes)
    shown = await door.show(job_id)

    assert (shown["state"], shown["state_details"]) == (letter, details)


async def test_a_running_job_has_the_address_at_the_core_as_its_node(door: Door) -> None:
    job = await door.put(
        await door.submit(), state=JobState.RUNNING, site="lab", node="n1", started_at=now()
    )

    shown = await door.show(job.id)

    assert (shown["node_names"], shown["node_ips"]) == (["n1"], [job.core_address])
    assert shown["remote_id"] == site_id("lab")
    assert shown["start_time"].endswith("Z")


@pytest.mark.parametrize(("status", "signal"), [(0, 0), (3, 0), (137, 9), (255, 0)])
async def test_an_ended_job_tells_status_and_signal(door: Door, status: int, signal: int) -> None:
    job = await door.put(await door.submit(), state=JobState.FINISHED, exit_code=status)

    shown = await door.show(job.id)

    assert (shown["exitcode"], shown["signal"]) == (status, signal)


async def test_cancel_and_requeue_tell_what_they_did(door: Door) -> None:
    job_id = await door.submit()
    modification = {"modification": "requeue"}

    again = await door("PATCH", f"/user/job/{job_id}", headers=modification)
    ended = await door("DELETE", f"/user/job/{job_id}")

    assert (again.status, again.body) == (200, f"Requeued: {job_id}\nNot found: ".encode())
    assert (ended.status, ended.body) == (200, f"Canceled: {job_id}\nNot found: ".encode())
    assert (await door.show(job_id))["state"] in "CQ"


async def test_the_first_of_an_array_stands_for_all_of_it(door: Door) -> None:
    job_id = await door.submit("#!/bin/sh\n#SWM array 0-2\n")
    jobs = await door.services.store.list_jobs(array=job_id)

    await door("DELETE", f"/user/job/{job_id}")

    targets = [job.target for job in await door.services.store.list_jobs(array=job_id)]
    assert targets == [JobState.CANCELLED] * len(jobs)
    assert len(jobs) == 3


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
async def test_output_can_be_read_while_the_job_runs(door: Door, stream: str) -> None:
    job = await door.put(await door.submit(), state=JobState.RUNNING, started_at=now())
    written = b"\xff\x00 raw" + b"x" * 3 * 2**20
    assert isinstance(door.services.jobs, Jobs)
    door.services.jobs.logs[stream] = written

    answer = await door("GET", f"/user/job/{job.id}/{stream}")

    assert (answer.status, answer.body) == (200, written)


async def test_a_job_that_has_not_started_has_no_output(door: Door) -> None:
    job_id = await door.submit()

    answer = await door("GET", f"/user/job/{job_id}/stdout")

    assert answer.status == 404
    assert answer.body == f"Error: stdout for job {job_id} is not found".encode()


@pytest.mark.parametrize(
    ("method", "path", "headers", "answer"),
    [
        ("GET", "", {}, (404, "Error: job {id} is not found")),
        ("GET", "/stdout", {}, (404, "Error: stdout for job {id} is not found")),
        ("GET", "/stderr", {}, (404, "Error: stderr for job {id} is not found")),
        ("DELETE", "", {}, (200, "Canceled: \nNot found: {id}")),
        ("PATCH", "", {"modification": "requeue"}, (200, "Requeued: \nNot found: {id}")),
    ],
)
async def test_jobs_of_others_are_as_if_there_were_none(
    door: Door, method: str, path: str, headers: dict[str, str], answer: tuple[int, str]
) -> None:
    job_id = await door.submit()

    for tried in (job_id, UNKNOWN):
        got = await door(method, f"/user/job/{tried}{path}", "bob", headers=headers)
        assert (got.status, got.body.decode()) == (answer[0], answer[1].format(id=tried))

    assert (await door("GET", "/user/job", "bob")).json == []
    assert [job["id"] for job in (await door("GET", "/user/job")).json] == [job_id]
    assert (await door.show(job_id))["state"] == "Q"


@pytest.mark.parametrize(
    ("method", "path", "options", "answer"),
    [
        ("GET", "/user/job/7", {}, (404, "Can't parse the path: /user/job/7")),
        ("DELETE", "/user/job/7", {}, (404, "Can't parse the request")),
        ("GET", "/user/nothing", {}, (404, "Can't parse the path: /user/nothing")),
        ("PATCH", f"/user/job/{UNKNOWN}", {}, (400, "Modification is not specified")),
        (
            "PATCH",
            f"/user/job/{UNKNOWN}",
            {"headers": {"modification": "fly"}},
            (400, "Modification 'fly' is not known; allowed: requeue"),
        ),
        ("PUT", "/user/job", {}, (405, "/user/job does not take this method")),
        ("POST", "/user/job", {}, (400, "There is no script")),
        ("POST", "/user/job?path=/etc/passwd", {"data": SCRIPT}, (400, "path: the core reads no")),
        ("POST", "/user/job", {"data": b"#!/bin/sh\n\xff"}, (400, "line 2: the script must be")),
        (
            "POST",
            "/user/job",
            {"data": "#!/bin/sh\n#SWM wallime 5\n"},
            (400, "script: line 2: #SWM: there is no directive 'wallime'; did you mean walltime?"),
        ),
        (
            "POST",
            "/user/job",
            {
                "data": FORM.replace("script_content", "other"),
                "headers": {"Content-Type": FORM_TYPE},
            },
            (400, "The form must have one part 'script_content'."),
        ),
        (
            "POST",
            "/user/job",
            {"data": "--x", "headers": {"Content-Type": "multipart/form-data"}},
            (400, "Content-Type: multipart/form-data needs a boundary"),
        ),
        ("GET", "/user/flavor?limit=many", {}, (400, "limit ('many'): must be a whole number")),
        ("GET", "/user/job", {"by": "nobody"}, (400, 'User with ID="1-2" is not registred in')),
    ],
)
async def test_refusals_are_text_with_the_status_that_is_documented(
    door: Door, method: str, path: str, options: dict[str, Any], answer: tuple[int, str]
) -> None:
    got = await door(method, path, **options)

    assert got.status == answer[0]
    assert got.body.decode().startswith(answer[1])
    assert await door.services.store.list_jobs(owner=door.user) == []


async def test_flavors_images_nodes_and_remotes_fit_together(door: Door) -> None:
    flavors = (await door("GET", "/user/flavor")).json
    images = (await door("GET", "/user/image")).json
    nodes = (await door("GET", "/user/node")).json
    remotes = (await door("GET", "/user/remote")).json

    assert flavors == [
        {
            "id": flavor_id("lab", "big"),
            "name": "big",
            "remote_id": site_id("lab"),
            "resources": [
                {"name": "cpus", "count": 8},
                {"name": "mem", "count": 16384 * 2**20},
                {"name": "flavor", "count": 1, "value": "big"},
            ],
            "price": 0.0,
        }
    ]
    # The image's site has no flavor, which the published spawner cannot do with.
    assert images == []
    assert [(node["name"], node["state_power"], node["state_alloc"]) for node in nodes] == [
        ("n1", "up", "idle")
    ]
    assert [(remote["id"], remote["kind"]) for remote in remotes] == [(site_id("lab"), "onprem")]
    assert remotes[0]["account_id"] == account_id("lab")
    assert remotes[0]["default_flavor_id"] == flavors[0]["id"]


@pytest.mark.parametrize("kind", ["job", "flavor", "node", "remote", "image"])
async def test_lists_are_as_short_as_asked_for(door: Door, kind: str) -> None:
    await door.submit()

    assert (await door("GET", f"/user/{kind}?limit=0")).json == []


async def test_the_version_of_the_protocol_is_told(door: Door) -> None:
    assert json.loads((await door("GET", "/user")).body) == {"api_version": 1}


async def test_forwards_lead_to_the_machine_that_submitted(door: Door) -> None:
    job = await door.services.store.get_job(await door.submit())

    assert job is not None
    assert dict(job.spec.forwards) == {"p8081": "192.0.2.7:8081"}
    assert dict(job.spec.forward_ports) == {"p8081": 8081}
