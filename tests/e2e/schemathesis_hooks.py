"""What schemathesis is told about the core that it tries: its jobs, and what keeps it harmless.

It runs in a process of its own; ``SKYPORT_TEST_JOBS`` names jobs of its user, those that stay and
those that it may end and forget ("kept,kept;spare,spare"), ``SKYPORT_TEST_SERIALS`` the
certificates of that user: the one in use, and some that it may revoke, and ``SKYPORT_TEST_KEY`` the
file of the key of the one in use, which it may renew.
"""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

import schemathesis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from schemathesis.core.failures import Failure
from schemathesis.core.parameters import ParameterLocation

KEPT, SPARE = (part.split(",") for part in os.environ["SKYPORT_TEST_JOBS"].split(";"))
OWN, *SERIALS = os.environ["SKYPORT_TEST_SERIALS"].split(",")

CREATED: set[str] = set()

FILES = {"/jobs/{id}/files/{path}": "result.txt", "/jobs/{id}/inputs/{path}": "data"}
STREAMS = ("/jobs/{id}/events", "/jobs/{id}/log")
SUBMISSIONS = ("/jobs", "/jobs/{id}", "/offers")

LARGEST = {"maxLength": 1024, "maxItems": 64, "maxProperties": 64}
"""Limits beyond which making and sending a request of just that size takes too long to try.

The tests in tests/core/api try the large ones."""

REQUEST = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
KEY = serialization.load_pem_private_key(
    Path(os.environ["SKYPORT_TEST_KEY"]).read_bytes(), password=None
)
assert isinstance(KEY, EllipticCurvePrivateKey)
CSR = REQUEST.sign(KEY, hashes.SHA256())


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Leave out limits that are too large to be tried, so that none is taken for the limit."""
    _without_large(raw_schema["components"]["schemas"])
    _without_large(raw_schema["paths"])


def _without_large(part: Any) -> None:
    for value in part.values() if isinstance(part, dict) else part:
        if isinstance(value, (dict, list)):
            _without_large(value)
    if isinstance(part, dict):
        for name, most in LARGEST.items():
            if isinstance(part.get(name), int) and part[name] > most:
                del part[name]


@schemathesis.hook
def after_call(context: Any, case: Any, response: Any) -> None:
    """Note the jobs that were submitted on the way; requests that follow a link go to these."""
    if response.status_code == 201 and case.path in ("/jobs", "/jobs/{id}"):
        CREATED.add(response.json()["id"])


@schemathesis.hook
def map_case(context: Any, case: Any) -> Any:
    """Have most cases meet a job that exists, and none that never ends or fills the machine."""
    given = (case.path_parameters or {}).get("id")
    # DELETE cancels a job, which stays to be looked at: not one that a link led to, since what
    # comes after takes it for gone.
    cancels = case.method == "DELETE" and case.path == "/jobs/{id}"
    if given and _fits(case, ParameterLocation.PATH) and (cancels or given not in CREATED):
        jobs = KEPT if case.method in ("GET", "HEAD") else SPARE
        number = int(str(case.path_parameters["id"])[:8], 16)
        creates = case.method == "PUT" and case.path == "/jobs/{id}"
        if creates and number % 2:
            # The same id with other content is a conflict; most shall get into the queue.
            case.path_parameters["id"] = str(uuid.uuid4())
        elif (number % 4 or given in CREATED) and not creates:
            case.path_parameters["id"] = jobs[number % len(jobs)]
            if number % 2 and case.path in FILES:
                case.path_parameters["path"] = FILES[case.path]
    if given and given in CREATED and case.path == "/jobs/{id}/script":
        # Most that are made on the way are commands, which have none.
        case.path_parameters["id"] = KEPT[0]
    if case.method == "DELETE" and (case.path_parameters or {}).get("serial") == OWN:
        # It would be refused from then on, as it should be.
        case.path_parameters["serial"] = SERIALS[0]
    if case.operation.label == "POST /certificates" and _fits(case, ParameterLocation.BODY):
        case.body = {**case.body, "csr": CSR.public_bytes(serialization.Encoding.PEM).decode()}
    if case.path in STREAMS and _fits(case, ParameterLocation.QUERY):
        # A stream of a job that lives does not end; the tests of the streams hold what it sends.
        case.query = {**(case.query or {}), "follow": False}
    if case.path in SUBMISSIONS and _fits(case, ParameterLocation.BODY):
        case.body = _submittable(case.body)
    return case


def _fits(case: Any, location: ParameterLocation) -> bool:
    """Whether a part of the request is as the document wants it."""
    return case.meta is None or not case.meta.is_negative_at(location)


def _submittable(body: Any) -> Any:
    """The request for a place that exists, in an array of few jobs."""
    if not isinstance(body, dict) or not isinstance(body.get("kind", ""), str):
        return body
    known = {
        "site": "local",
        "array": "0-2",
        "account": "local",
        "owner": "alice",
        "storages": [],
        "dependencies": [],
        "forward_ports": {},
    }
    return {name: known.get(name, value) if value else value for name, value in body.items()}


class UnexplainedRefusal(Failure):
    """A request as the document wants it was refused for what the document could have said."""

    __slots__ = ()


REASONS = {
    # What only the core knows.
    ("invalid", "after"): "the page before belongs to another query, or its last job is forgotten",
    # To schemathesis, tags without quotes are valid ones.
    ("invalid", "If-Match"): "not a list of entity tags, as RFC 9110 writes them",
    # What no JSON schema can say.
    ("invalid", "days"): "users get shorter certificates than admins",
    ("invalid", "until"): "the last day is before the first, or there are too many in between",
    ("invalid_script", "script"): "a directive of the script is not valid",
}


@schemathesis.check
def refusals_have_reasons(ctx: Any, response: Any, case: Any) -> None:
    """A valid request gets 422 only for what no document can say; see :data:`REASONS`."""
    valid = case.meta is not None and case.meta.generation.mode.is_positive
    if not valid or response.status_code != 422:
        return
    error = response.json()["error"]
    if error["code"] == "invalid" and (error["code"], error["field"]) not in REASONS:
        raise UnexplainedRefusal(
            operation=case.operation.label,
            title="A valid request was refused",
            message=f"{error['field']}: {error['message']}",
        )
