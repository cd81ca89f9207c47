"""What Azure's errors mean: for the core by their type, for people by their words.

Azure says what went wrong by the *code* in an answer's body, sometimes wrapped in others; the
HTTP status and the SDK's exception class mislead (a lack of capacity is a 409 "resource exists",
or the 200 of an operation that failed). So the code decides, and the status only where there is
none that is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.core.polling.base_polling import OperationFailed
from azure.identity import CredentialUnavailableError

from ..gate import GateError, GateUnavailable, InvalidRequest, NotAuthorized, Throttled
from .meanings import MEANINGS, Fault, Subject

WRAPPERS = frozenset(
    {
        "DeploymentFailed",
        "InvalidTemplateDeployment",
        "MultipleErrorsOccurred",
        "ResourceDeploymentFailure",
    }
)
"""Codes that only say that the reason is inside."""

GENERAL = frozenset({"BadRequest", "Conflict", "Forbidden", "InvalidParameter", "NotFound"})
"""Codes that say little; what is inside may say more."""

_DEPTH = 6
"""Errors are nested this deep at most."""


def translate(error: BaseException, subject: Subject | None = None) -> GateError:
    """The gate's error for what a call raised.

    Parameters
    ----------
    error
        What the SDK, aiohttp or a deadline raised. A GateError is given back as it is.
    subject
        The machine in question; decides which other offers a lack of it concerns.

    Returns
    -------
    GateError
        With ``error`` as its cause, for the log.
    """
    if isinstance(error, GateError):
        return error
    found = _translate(error, subject or Subject())
    found.__cause__ = error
    return found


def translate_fault(fault: Fault, subject: Subject) -> GateError:
    """The gate's error for a code and its message alone, as in a machine's instance view."""
    meaning = MEANINGS.get(fault.code.lower())
    found = meaning(fault, subject) if meaning is not None else None
    return found or GateError(
        f"Azure could not make {subject}: {fault}.",
        hint="Another try may work; the core's log has Azure's own words.",
    )


def codes(error: BaseException) -> list[str]:
    """The codes in an error's answer, the outermost first, as Azure writes them."""
    return [fault.code for fault in _faults(_body(error))]


def has_code(error: BaseException, *wanted: str) -> bool:
    """Whether one of these codes (in any case) is in an error's answer."""
    known = {code.lower() for code in wanted}
    return any(code.lower() in known for code in codes(error))


def is_gone(error: BaseException) -> bool:
    """Whether an error says that the resource is not there; not that its group is missing."""
    return (
        isinstance(error, HttpResponseError)
        and error.status_code == 404
        and not has_code(error, "ResourceGroupNotFound", "SubscriptionNotFound")
    )


def is_passing(error: GateError) -> bool:
    """Whether trying again, unchanged, may help."""
    return isinstance(error, (GateUnavailable, Throttled))


def operation_failed(error: BaseException) -> bool:
    """Whether an error is the end of an operation, not of the attempt to look at it."""
    return isinstance(error, HttpResponseError) and isinstance(
        error.inner_exception, OperationFailed
    )


def _translate(error: BaseException, subject: Subject) -> GateError:
    if isinstance(error, ClientAuthenticationError) and not _faults_known(error):
        return _refused_login(error)
    if isinstance(error, HttpResponseError):
        return _answered(error, subject)
    if isinstance(error, ServiceRequestError):
        return GateUnavailable(f"Azure cannot be reached: {_words(error)}", hint=_RETRIED)
    if isinstance(error, ServiceResponseError):
        return GateUnavailable("The connection to Azure broke before its answer.", hint=_RETRIED)
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return GateUnavailable("Azure did not answer in time.", hint=_RETRIED)
    return GateUnavailable(f"Talking to Azure failed: {_words(error)}", hint=_RETRIED)


_RETRIED = "It is tried again."


def _answered(error: HttpResponseError, subject: Subject) -> GateError:
    faults = list(_faults(_body(error)))
    retry_after = _retry_after(error)
    if error.status_code == 429:
        return Throttled(
            "Azure asks to slow down.",
            retry_after=30.0 if retry_after is None else retry_after,
            hint="It goes on by itself.",
        )
    # A general code outside is worth less than a particular one inside.
    for fault in sorted(faults, key=lambda fault: fault.code in GENERAL):
        meaning = MEANINGS.get(fault.code.lower())
        found = meaning(fault, subject) if meaning is not None else None
        if found is not None:
            return found
    told = next((fault for fault in faults if fault.code not in WRAPPERS), None)
    return _by_status(error, told, subject)


def _by_status(error: HttpResponseError, fault: Fault | None, subject: Subject) -> GateError:
    status = error.status_code or 0
    words = str(fault) if fault is not None else f"HTTP {status}"
    if status in (401, 403):
        return NotAuthorized(
            f"Azure refuses the core: {words}.",
            hint="An admin finds out which right is missing: skyport-core azure check",
        )
    if operation_failed(error):
        return translate_fault(fault or Fault("", "the operation failed"), subject)
    if status in (404, 408, 409, 412) or status >= 500:
        return GateUnavailable(f"Azure cannot do that now: {words}.", hint=_RETRIED)
    return InvalidRequest(
        f"Azure refuses {subject}: {words}.",
        hint="Ask for another size, region or image, or tell an admin.",
    )


def _refused_login(error: ClientAuthenticationError) -> GateError:
    if (error.status_code or 0) >= 500 or error.status_code == 429:
        return GateUnavailable("Entra, which lets the core in to Azure, fails.", hint=_RETRIED)
    if isinstance(error, CredentialUnavailableError) and _no_metadata(str(error)):
        return GateUnavailable(
            "The machine's metadata service, which knows the core's identity, does not answer.",
            hint="It is tried again. skyport-core azure check tells more.",
        )
    return NotAuthorized(
        "Azure does not accept the core's credential.",
        hint="An admin checks c.AzureGate.credential: it may be wrong, expired or missing here. "
        "skyport-core azure check tells more.",
    )


def _no_metadata(words: str) -> bool:
    """Whether the machine's identity could not be asked for; not whether it has none."""
    none = "been assigned to this resource" in words
    return words.startswith("ManagedIdentityCredential") and not none


def _faults_known(error: BaseException) -> bool:
    return any(code.lower() in MEANINGS for code in codes(error))


def _retry_after(error: HttpResponseError) -> float | None:
    headers = getattr(error.response, "headers", None) or {}
    for name, scale in (("x-ms-retry-after-ms", 0.001), ("Retry-After", 1.0)):
        with contextlib.suppress(TypeError, ValueError):
            return max(0.0, float(headers.get(name) or "") * scale)
    return None


def _body(error: BaseException) -> Any:
    """The answer that an exception stands for, parsed; None if there was none."""
    response = getattr(error, "response", None)
    try:
        return json.loads(response.text()) if response is not None else None
    except Exception:
        # Not JSON, or read only in part: then there is no code in it.
        return None


def _faults(node: Any, depth: int = 0) -> Iterator[Fault]:
    """All codes of an answer with their messages, the outermost first."""
    if isinstance(node, str) and node.lstrip().startswith("{"):
        try:
            node = json.loads(node)
        except ValueError:
            return
    if depth > _DEPTH or not isinstance(node, Mapping):
        return
    if isinstance(node.get("error"), Mapping):
        yield from _faults(node["error"], depth + 1)
        return
    code, message = node.get("code"), node.get("message")
    if isinstance(code, str) and code:
        yield Fault(code, message if isinstance(message, str) else "")
    inside = [node.get("innererror"), node.get("innerError"), message]
    details = node.get("details")
    for part in [*(details if isinstance(details, list) else []), *inside]:
        yield from _faults(part, depth + 1)


def _words(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:300] if text else type(error).__name__
