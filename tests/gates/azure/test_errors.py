"""What each of Azure's errors becomes; texts are Azure's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.polling.base_polling import OperationFailed
from azure.identity import CredentialUnavailableError

from skyport_gates.azure.errors import (
    codes,
    has_code,
    is_gone,
    operation_failed,
    translate,
    translate_fault,
)
from skyport_gates.azure.meanings import Fault, Subject
from skyport_gates.gate import (
    ConfigurationError,
    GateError,
    GateUnavailable,
    InvalidRequest,
    NoCapacity,
    NotAuthorized,
    PartitionNotFound,
    QuotaExceeded,
    Scope,
    Shortage,
    Throttled,
)
from tests.infra.data import AZURE_DATA, needs_azure_data

SIZE, REGION, ZONE = "Standard_D4s_v5", "westeurope", "2"
FAMILY = frozenset({SIZE, "Standard_D2s_v5"})
SUBJECT = Subject(SIZE, REGION, ZONE, False, FAMILY)
SPOT = Subject(SIZE, REGION, ZONE, True, FAMILY)
ONE = frozenset({SIZE})
HOUR = 3600.0

QUOTA = (
    "Operation could not be completed as it results in exceeding approved {} quota. Additional "
    "details - Deployment Model: Resource Manager, Location: westeurope, Current Limit: {}, "
    "Current Usage: {}, Additional Required: 4, (Minimum) New Limit Required: 14."
)


class Response:
    """An answer as far as the SDK's exceptions look at it."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str]) -> None:
        self.status_code = status
        self.reason = "because"
        self.headers = dict(headers)
        self._text = text

    def text(self, encoding: str | None = None) -> str:
        return self._text


def raised(
    status: int,
    code: str,
    message: str = "",
    *,
    kind: type[HttpResponseError] = HttpResponseError,
    headers: Mapping[str, str] | None = None,
    **more: Any,
) -> HttpResponseError:
    """An exception of the SDK for an answer of Azure."""
    body = {"error": {"code": code, "message": message, **more}}
    return answered(status, body, kind=kind, headers=headers)


def answered(
    status: int,
    body: Any,
    *,
    kind: type[HttpResponseError] = HttpResponseError,
    headers: Mapping[str, str] | None = None,
    failed: bool = False,
) -> HttpResponseError:
    text = body if isinstance(body, str) else json.dumps(body)
    response: Any = Response(status, text, headers or {})
    return kind(response=response, error=OperationFailed("failed") if failed else None)


@pytest.mark.parametrize(
    ("code", "subject", "scope", "seconds"),
    [
        ("AllocationFailed", SUBJECT, Scope(ONE, REGION, ZONE, None), HOUR),
        ("AllocationFailed", SPOT, Scope(ONE, REGION, ZONE, True), HOUR),
        ("ZonalAllocationFailed", SUBJECT, Scope(ONE, REGION, ZONE, None), HOUR),
        ("ZonalAllocationFailed", SPOT, Scope(ONE, REGION, ZONE, None), HOUR),
        ("OverconstrainedAllocationRequest", SPOT, Scope(ONE, REGION, ZONE, None), HOUR),
        ("OverconstrainedZonalAllocationRequest", SPOT, Scope(ONE, REGION, ZONE, None), HOUR),
        ("SkuNotAvailable", SUBJECT, Scope(ONE, REGION, ZONE, False), 23 * HOUR),
        ("SkuNotAvailable", SPOT, Scope(ONE, REGION, ZONE, True), HOUR),
        ("SubnetIsFull", SUBJECT, Scope(None, REGION, None, None), 600),
    ],
)
def test_a_lack_of_capacity_says_of_which_offers_and_how_long(
    code: str, subject: Subject, scope: Scope, seconds: float
) -> None:
    error = translate(raised(409, code, "no", kind=ResourceExistsError), subject)
    assert isinstance(error, NoCapacity)
    assert (error.scope, error.retry_after) == (scope, seconds)
    assert error.hint


def test_a_size_that_is_short_is_tried_again_sooner_than_one_that_is_not_sold() -> None:
    message = "Following SKUs have failed for Capacity Restrictions: Standard_D4s_v5"
    error = translate(raised(409, "SkuNotAvailable", message), Subject(SIZE, REGION))
    assert isinstance(error, NoCapacity)
    assert (error.scope, error.retry_after) == (Scope(ONE, REGION, None, False), HOUR)


@pytest.mark.parametrize("code", ["OperationNotAllowed", "QuotaExceeded"])
@pytest.mark.parametrize(
    ("name", "subject", "scope"),
    [
        ("standardDSv5Family Cores", SUBJECT, Scope(FAMILY, REGION, None, False)),
        ("Total Regional Cores", SUBJECT, Scope(None, REGION, None, False)),
        ("LowPriorityCores", SPOT, Scope(None, REGION, None, True)),
    ],
)
def test_a_quota_of_nothing_says_of_which_offers_and_how_long(
    code: str, name: str, subject: Subject, scope: Scope
) -> None:
    error = translate(raised(409, code, QUOTA.format(name, 0, 0)), subject)
    assert isinstance(error, QuotaExceeded)
    assert (error.scope, error.retry_after) == (scope, HOUR)
    assert name in error.message


@pytest.mark.parametrize("subject", [SUBJECT, SPOT])
def test_a_quota_that_is_used_up_concerns_the_size_alone_and_not_for_long(
    subject: Subject,
) -> None:
    error = translate(raised(409, "QuotaExceeded", QUOTA.format("Family Cores", 10, 8)), subject)
    assert isinstance(error, QuotaExceeded)
    assert (error.scope, error.retry_after) == (Scope(ONE, REGION, None, subject.spot), 60)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AuthorizationFailed", NotAuthorized),
        (403, "LinkedAuthorizationFailed", NotAuthorized),
        (401, "InvalidAuthenticationToken", NotAuthorized),
        (401, "ExpiredAuthenticationToken", NotAuthorized),
        (409, "ReadOnlyDisabledSubscription", NotAuthorized),
        (404, "SubscriptionNotFound", ConfigurationError),
        (404, "ResourceGroupNotFound", ConfigurationError),
        (409, "MissingSubscriptionRegistration", ConfigurationError),
        (409, "SubscriptionNotRegistered", ConfigurationError),
        (409, "ScopeLocked", ConfigurationError),
        (403, "RequestDisallowedByPolicy", InvalidRequest),
        (404, "PlatformImageNotFound", InvalidRequest),
        (404, "ImageNotFound", InvalidRequest),
        (400, "MarketplacePurchaseEligibilityFailed", InvalidRequest),
        (400, "InvalidParameter", InvalidRequest),
        (400, "BadRequest", InvalidRequest),
        (404, "ResourceNotFound", PartitionNotFound),
        (404, "NotFound", PartitionNotFound),
        (500, "InternalServerError", GateUnavailable),
        (503, "ServerTimeout", GateUnavailable),
        (400, "NobodyKnowsThis", InvalidRequest),
        (403, "NobodyKnowsThis", NotAuthorized),
        (409, "Conflict", GateUnavailable),
        (412, "PreconditionFailed", GateUnavailable),
        (502, "NobodyKnowsThis", GateUnavailable),
    ],
)
def test_a_code_has_its_meaning(status: int, code: str, kind: type[GateError]) -> None:
    error = translate(raised(status, code, "Azure's words."), SUBJECT)
    assert type(error) is kind
    assert isinstance(error.__cause__, HttpResponseError)


@pytest.mark.parametrize("wrapper", ["InvalidTemplateDeployment", "DeploymentFailed", "BadRequest"])
def test_the_reason_inside_a_wrapper_decides(wrapper: str) -> None:
    inside = {"code": "SkuNotAvailable", "message": "none"}
    assert isinstance(translate(raised(400, wrapper, "see inside", details=[inside])), NoCapacity)


def test_the_reason_may_be_text_of_json_or_an_inner_error() -> None:
    inside = {"error": {"code": "ZonalAllocationFailed", "message": "none"}}
    detail = {"code": "Conflict", "message": json.dumps(inside)}
    outside = raised(409, "DeploymentFailed", "see", details=[detail])
    assert codes(outside) == ["DeploymentFailed", "Conflict", "ZonalAllocationFailed"]
    assert isinstance(translate(outside), NoCapacity)
    inner = raised(409, "Conflict", "see", innererror={"code": "AllocationFailed"})
    assert isinstance(translate(inner), NoCapacity)


def test_the_end_of_an_operation_has_status_200_and_the_codes_meaning() -> None:
    body = {"status": "Failed", "error": {"code": "AllocationFailed", "message": "none"}}
    error = answered(200, body, failed=True)
    assert operation_failed(error)
    assert isinstance(translate(error, SUBJECT), NoCapacity)


def test_an_unknown_failure_of_an_operation_is_told_with_its_words() -> None:
    body = {"status": "Failed", "error": {"code": "Odd", "message": "It rained in."}}
    error = translate(answered(200, body, failed=True), SUBJECT)
    assert type(error) is GateError
    assert "It rained in (Odd)" in error.message


def test_a_look_that_fails_is_not_the_end_of_the_operation() -> None:
    assert not operation_failed(raised(500, "InternalServerError"))
    assert not operation_failed(ServiceRequestError("no route"))


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "17"}, 17.0), ({"x-ms-retry-after-ms": "500"}, 0.5), ({}, 30.0)],
)
def test_throttling_says_how_long(headers: dict[str, str], seconds: float) -> None:
    error = translate(raised(429, "OperationNotAllowed", "too many", headers=headers))
    assert isinstance(error, Throttled)
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    "error",
    [
        ServiceRequestError("Cannot connect to host"),
        ServiceResponseError("Server disconnected"),
        asyncio.TimeoutError(),
        aiohttp.ClientConnectionError("broken"),
        OSError("no route to host"),
        answered(502, "<html>Bad Gateway</html>"),
        answered(503, ""),
    ],
)
def test_trouble_on_the_way_is_worth_another_try(error: Exception) -> None:
    assert isinstance(translate(error), GateUnavailable)


def test_a_refused_credential_is_for_an_admin() -> None:
    error = translate(ClientAuthenticationError("AADSTS7000215: Invalid client secret"))
    assert isinstance(error, NotAuthorized)
    assert "AADSTS" not in error.message
    assert "AADSTS" in str(error.__cause__)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        (
            "ManagedIdentityCredential authentication unavailable, no response from the IMDS "
            "endpoint.",
            GateUnavailable,
        ),
        (
            "ManagedIdentityCredential authentication unavailable. No identity has been assigned "
            "to this resource.",
            NotAuthorized,
        ),
        ("WorkloadIdentityCredential authentication unavailable.", NotAuthorized),
    ],
)
def test_a_metadata_service_that_does_not_answer_is_worth_another_try(
    words: str, kind: type[GateError]
) -> None:
    assert type(translate(CredentialUnavailableError(words))) is kind


def test_trouble_at_entra_is_worth_another_try() -> None:
    error = answered(503, {"error": "temporarily_unavailable"}, kind=ClientAuthenticationError)
    assert isinstance(translate(error), GateUnavailable)


def test_a_missing_subnet_says_how_to_make_it() -> None:
    message = "Resource /subscriptions/x/virtualNetworks/v/subnets/nodes referenced by … not found"
    for status, code in ((400, "InvalidResourceReference"), (404, "NotFound")):
        error = translate(raised(status, code, message))
        assert isinstance(error, ConfigurationError)
        assert "skyport-core azure setup" in error.hint


def test_a_missing_identity_is_for_an_admin() -> None:
    message = "The Resource 'Microsoft.ManagedIdentity/userAssignedIdentities/jobs' was not found."
    assert isinstance(translate(raised(404, "ResourceNotFound", message)), ConfigurationError)


def test_a_state_that_forbids_it_is_not_a_quota() -> None:
    message = "Operation 'start' is not allowed on VM 'x' since the VM is marked for deletion."
    assert isinstance(translate(raised(409, "OperationNotAllowed", message)), GateUnavailable)


def test_a_spot_price_above_the_limit_is_no_capacity() -> None:
    message = "The VM's max price is lower than the current Spot price."
    error = translate(raised(409, "OperationNotAllowed", message), SPOT)
    assert isinstance(error, NoCapacity)
    assert error.scope == Scope(ONE, REGION, None, True)


def test_an_error_of_the_gate_stays_as_it_is() -> None:
    error = Throttled("slowly", retry_after=3)
    assert translate(error) is error


@pytest.mark.parametrize(
    ("error", "gone"),
    [
        (raised(404, "ResourceNotFound", kind=ResourceNotFoundError), True),
        (raised(404, "NotFound", kind=ResourceNotFoundError), True),
        (raised(404, "ResourceGroupNotFound", kind=ResourceNotFoundError), False),
        (raised(409, "NotFound"), False),
        (OSError("no"), False),
    ],
)
def test_gone_is_the_resource_and_not_its_group(error: Exception, gone: bool) -> None:
    assert is_gone(error) is gone


def test_codes_are_known_in_any_case() -> None:
    assert has_code(raised(409, "skunotavailable"), "SkuNotAvailable")
    assert isinstance(translate(raised(409, "skunotavailable")), NoCapacity)


def test_without_a_subject_nothing_is_blocked_but_what_was_asked_for() -> None:
    error = translate_fault(Fault("AllocationFailed", ""), Subject())
    assert isinstance(error, Shortage)
    assert error.scope is None


@needs_azure_data
def test_no_recorded_error_is_left_without_a_meaning() -> None:
    corpus = json.loads((AZURE_DATA / "arm_error_corpus_recorded.json").read_text())
    for entry in corpus:
        failed = entry["http"] == 200
        error = translate(answered(entry["http"], entry["body"], failed=failed), SUBJECT)
        assert error.message, entry["body"]
        assert error.hint or isinstance(error, PartitionNotFound), entry["body"]
        if entry["http"] >= 500:
            assert isinstance(error, GateUnavailable), entry["body"]
