"""Nobody sees or touches what is another's, by any operation there is.

Every operation of the API has a rule here that says what bob meets who tries it on what is
alice's. One without a rule fails.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from tornado.httputil import HTTPServerRequest
from tornado.web import RequestHandler

from skyport_core.api.v1 import ROUTES
from skyport_core.caller import Caller
from skyport_core.model import CertificateKind, CertificateRecord, Job
from skyport_core.pki import Signing
from skyport_core.wire import API_PREFIX, JobRequest

from .served import JOB, UNKNOWN, Answer, Http, ServedCore, now

SECRET = "alices-own-words"
SCRIPT = f"#!/bin/sh\n#SWM name {SECRET}\necho {SECRET}\n"
SERIAL, NO_SERIAL = "a11ce5", "000000"
PARTITION, NO_PARTITION = "alices-partition", "nobodys-machine1"
HERS = (JOB, SERIAL, PARTITION, SECRET, "alice")

UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    "Sec-WebSocket-Version": "13",
}
BYTES = {"Content-Type": "application/octet-stream"}


@dataclass(frozen=True)
class Rule:
    """What bob meets at an operation.

    Attributes
    ----------
    hides
        What is alice's is answered as what does not exist: this status, all else the same.
    refuses
        He gets this status, whosever it is.
    lists
        He gets an answer, with nothing of hers.
    owner
        Asking for hers by ``?owner=alice`` is refused.
    words
        What no answer to him has in it; the tunnels of these tests are all of one job.
    body, headers, query
        What the operation takes.
    """

    hides: int | None = None
    refuses: int | None = None
    lists: bool = False
    owner: bool = False
    words: tuple[str, ...] = HERS
    body: object = None
    data: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    query: str = ""


HIDDEN = Rule(hides=404)
SAME_FOR_ALL = Rule(lists=True)
SUBMISSION = {"command": ["true"]}

RULES = {
    "GET /jobs": Rule(lists=True, owner=True),
    "POST /jobs": Rule(refuses=403, body={**SUBMISSION, "owner": "alice"}),
    "GET /jobs/{id}": HIDDEN,
    # An id belongs to whoever comes first: that one is taken can be found out by whoever knows it,
    # and nothing more.
    "PUT /jobs/{id}": Rule(refuses=409, body=SUBMISSION),
    "PATCH /jobs/{id}": Rule(hides=404, body={"comment": "mine"}),
    "DELETE /jobs/{id}": Rule(refuses=404),
    "POST /jobs/{id}/requeue": HIDDEN,
    "DELETE /jobs/{id}/record": HIDDEN,
    "GET /jobs/{id}/script": HIDDEN,
    "GET /jobs/{id}/events": Rule(hides=404, query="?follow=false"),
    "GET /jobs/{id}/log": HIDDEN,
    "GET /jobs/{id}/files": HIDDEN,
    "GET /jobs/{id}/files/{path}": HIDDEN,
    "PUT /jobs/{id}/inputs/{path}": Rule(hides=404, data=b"mine", headers=BYTES),
    "GET /jobs/{id}/inputs/{path}": HIDDEN,
    "DELETE /jobs/{id}/inputs/{path}": HIDDEN,
    "GET /jobs/{id}/ports/{port}": Rule(hides=404, headers=UPGRADE),
    "GET /jobs/{id}/shell": Rule(hides=404, headers=UPGRADE),
    "POST /offers": Rule(refuses=403, body={**SUBMISSION, "owner": "alice"}),
    "GET /usage": Rule(lists=True, owner=True),
    "GET /tunnels": Rule(lists=True, owner=True, words=("alice",)),
    "GET /certificates": SAME_FOR_ALL,
    "POST /certificates": Rule(refuses=403, body={"csr": "none", "name": "alice"}),
    "DELETE /certificates/{serial}": HIDDEN,
    "GET /certificates/authority": SAME_FOR_ALL,
    "GET /partitions": Rule(lists=True, owner=True),
    "DELETE /partitions/{name}": HIDDEN,
    "GET /nodes": SAME_FOR_ALL,
    "PATCH /nodes/{site}/{node}": Rule(refuses=403, body={"drained": True, "reason": "mine"}),
    "GET /flavors": SAME_FOR_ALL,
    "GET /images": SAME_FOR_ALL,
    "GET /quotas": SAME_FOR_ALL,
    "GET /sites": SAME_FOR_ALL,
    "GET /health": SAME_FOR_ALL,
    "GET /version": SAME_FOR_ALL,
    "GET /openapi.json": SAME_FOR_ALL,
}

ALICES = {"id": JOB, "name": PARTITION, "serial": SERIAL}
NOBODYS = {"id": UNKNOWN, "name": NO_PARTITION, "serial": NO_SERIAL}
OTHERS = {"path": "result.txt", "port": "8888", "site": "lab", "node": "n1"}


def operations() -> Iterator[str]:
    """All that the handlers of all routes do, whether it is described or not."""
    for pattern, handler in ROUTES:
        path = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", pattern.removeprefix(API_PREFIX))
        path = path.replace("{job_id}", "{id}").replace("\\", "")
        for method in ("get", "post", "put", "patch", "delete"):
            if getattr(handler, method) is not getattr(RequestHandler, method):
                yield f"{method.upper()} {path}"


async def identify(request: HTTPServerRequest) -> Caller:
    return Caller(request.headers["X-Test-User"], signing=Signing("0"))


@pytest.fixture
async def http(core: ServedCore, http: Http) -> Http:
    """A door for ordinary users, and alice's things behind it."""
    core.application.settings["identify"] = identify
    asked = JobRequest(script=SCRIPT, name=SECRET, comment=SECRET, inputs=("result.txt",))
    await core.store.put_job(JOB, "alice", asked, now())
    await core.tell(SECRET)
    await core.keep(PARTITION, "alice")
    core.sites.node = core.sites.node.model_copy(update={"jobs": [JOB]})
    until = now() + dt.timedelta(days=1)
    mine = CertificateRecord(SERIAL, CertificateKind.USER, "alice", now(), until)
    await core.store.add_certificate(mine)
    return http


async def attempt(
    http: Http, operation: str, names: Mapping[str, str], user: str = "bob", query: str = ""
) -> Answer:
    method, _, template = operation.partition(" ")
    rule = RULES[operation]
    path = template.format_map({**OTHERS, **names}) + (query or rule.query)
    options: dict[str, Any] = {"headers": {"X-Test-User": user, **rule.headers}}
    if rule.body is not None:
        options["json"] = rule.body
    if rule.data is not None:
        options["data"] = rule.data
    return await http(method, path, **options)


def neutral(answer: Answer) -> tuple[int, dict[str, str], bytes]:
    """An answer without what is different from request to request, or names what was asked for."""
    headers = {
        name: value
        for name, value in answer.headers.items()
        if name.lower() not in ("date", "x-request-id")
    }
    body = answer.body
    for name, hers in ALICES.items():
        body = body.replace(hers.encode(), b"IT").replace(NOBODYS[name].encode(), b"IT")
    return answer.status, headers, body


async def hers(core: ServedCore) -> tuple[Job | None, object, object]:
    store = core.store
    return (
        await store.get_job(JOB),
        await store.get_partition(PARTITION),
        await store.certificate(SERIAL),
    )


def test_every_operation_has_a_rule() -> None:
    assert sorted(set(operations())) == sorted(RULES)


async def complaints(http: Http, operation: str) -> list[str]:
    """What is wrong with what bob meets."""
    rule = RULES[operation]
    answer = await attempt(http, operation, ALICES)
    said = answer.body.decode()
    wrong = []
    if answer.status != (200 if rule.lists else rule.refuses or rule.hides):
        wrong.append(f"{operation} answers {answer.status}: {said[:200]}")
    told = [word for word in (rule.words if rule.lists else [SECRET]) if word in said]
    if told:
        wrong.append(f"{operation} tells {told}: {said[:500]}")
    if rule.hides:
        nothing = await attempt(http, operation, NOBODYS)
        if neutral(answer) != neutral(nothing):
            wrong.append(f"{operation} differs: {neutral(answer)}\n{neutral(nothing)}")
    if rule.owner:
        refused = await attempt(http, operation, ALICES, query="?owner=alice")
        if (refused.status, refused.error["field"]) != (403, "owner"):
            wrong.append(f"{operation}?owner=alice answers {refused.status}")
    return wrong


async def test_bob_neither_sees_nor_touches_what_is_alices(core: ServedCore, http: Http) -> None:
    before = await hers(core)
    wrong = []
    for operation in RULES:
        wrong += await complaints(http, operation)
        if await hers(core) != before:
            wrong.append(f"{operation} changes what is hers")
            before = await hers(core)
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("operation", ["GET /jobs/{id}", "GET /jobs/{id}/script", "GET /jobs"])
async def test_alice_sees_what_bob_does_not(http: Http, operation: str) -> None:
    answer = await attempt(http, operation, ALICES, user="alice")
    assert answer.status == 200
    assert SECRET in answer.body.decode()
