"""Faults as Azure has them, with its codes and words: ``arm.faults.add(presets.throttled(3))``.

Each takes further fields of :class:`~tests.infra.arm.faults.Fault`, such as ``times=None``.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tests.infra.arm.faults import Fault
from tests.infra.arm.router import Call

VM_PUT = "virtualMachines.put"
_GATEWAY = (
    "Diagnostic information: timestamp '20250101T000000Z', subscription id '', tracking id '', "
    "request correlation id ''."
)


def of_size(size: str) -> Callable[[Call], bool]:
    """Matches PUTs of VMs of a size ("" for any)."""
    return lambda call: size in ("", _properties(call).get("hardwareProfile", {}).get("vmSize"))


def of_zone(zone: str) -> Callable[[Call], bool]:
    """Matches PUTs of VMs in a zone ("" for any)."""
    return lambda call: not zone or zone in ((call.body or {}).get("zones") or ())


def of_name(name: str) -> Callable[[Call], bool]:
    """Matches calls for a resource of a name ("" for any)."""
    return lambda call: name.lower() in ("", call.name.lower())


def _properties(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = (call.body or {}).get("properties") or {}
    return found


def _fault(defaults: dict[str, Any], more: dict[str, Any]) -> Fault:
    return Fault(**{**defaults, **more})


def sku_not_available(size: str = "", **more: Any) -> Fault:
    """The region has none of a size: 409 at once."""
    message = (
        "The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: "
        f"{size or 'Standard_D2s_v5'}' is currently not available in location 'westeurope'. Please "
        "try another size or deploy to a different location or different zone. See "
        "https://aka.ms/azureskunotavailable for details."
    )
    fields = {"kind": VM_PUT, "code": "SkuNotAvailable", "message": message}
    return _fault({**fields, "match": of_size(size)}, more)


def allocation_failed(size: str = "", **more: Any) -> Fault:
    """No room in the region: the operation fails."""
    message = (
        "Allocation failed. We do not have sufficient capacity for the requested VM size in this "
        "region. Read more about improving likelihood of allocation success at "
        "http://aka.ms/allocation-guidance"
    )
    fields = {"kind": VM_PUT, "code": "AllocationFailed", "message": message, "when": "lro"}
    return _fault({**fields, "match": of_size(size)}, more)


def zonal_allocation_failed(zone: str = "", **more: Any) -> Fault:
    """No room in a zone: the operation fails."""
    message = (
        "Allocation failed. We do not have sufficient capacity for the requested VM size in this "
        "zone. Read more about improving likelihood of allocation success at "
        "http://aka.ms/allocation-guidance"
    )
    fields = {"kind": VM_PUT, "code": "ZonalAllocationFailed", "message": message, "when": "lro"}
    return _fault({**fields, "match": of_zone(zone)}, more)


def overconstrained(*, zonal: bool = False, **more: Any) -> Fault:
    """No room with all that was asked for (size, Spot, accelerated networking …)."""
    code = "OverconstrainedZonalAllocationRequest" if zonal else "OverconstrainedAllocationRequest"
    message = (
        "Allocation failed. VM(s) with the following constraints cannot be allocated, because the "
        "condition is too restrictive. Please remove some constraints and try again. Constraints "
        "applied are:\n  - Differencing (Ephemeral) Disks\n  - Networking Constraints (such as "
        "Accelerated Networking or IPv6)\n  - VM Size\n"
    )
    return _fault({"kind": VM_PUT, "code": code, "message": message, "when": "lro"}, more)


def quota(
    family: str = "standardDSv5Family", *, code: str = "OperationNotAllowed", **more: Any
) -> Fault:
    """A counter is at its limit; "cores" and "lowPriorityCores" are those of a region."""
    title = {"cores": "Total Regional Cores", "lowPriorityCores": "LowPriorityCores"}.get(
        family, f"{family} Cores"
    )
    message = (
        f"Operation could not be completed as it results in exceeding approved {title} quota. "
        "Additional details - Deployment Model: Resource Manager, Location: westeurope, Current "
        "Limit: 10, Current Usage: 10, Additional Required: 2, (Minimum) New Limit Required: 12. "
        "Setup Alerts when Quota reaches threshold. Learn more at "
        "https://aka.ms/quotamonitoringalerting ."
    )
    return _fault({"kind": VM_PUT, "code": code, "message": message}, more)


def throttled(seconds: int = 1, kind: str = VM_PUT, **more: Any) -> Fault:
    """429 of Microsoft.Compute."""
    details = [
        {
            "code": "TooManyRequests",
            "target": "PutVMSubscriptionMaximum",
            "message": '{"operationGroup":"PutVMSubscriptionMaximum","allowedRequestCount":1500}',
        }
    ]
    fields = {
        "kind": kind,
        "code": "OperationNotAllowed",
        "status": 429,
        "message": "The server rejected the request because too many requests have been received "
        "for this subscription.",
        "details": details,
        "retry_after": seconds,
    }
    return _fault(fields, more)


def arm_throttled(seconds: int = 1, kind: str = "*", **more: Any) -> Fault:
    """429 of ARM itself."""
    message = (
        "Number of 'write' requests for subscription '' actor '' exceeded. Please try again after "
        f"'{seconds}' seconds after additional tokens are available. Refer to "
        "https://aka.ms/arm-throttling for additional information."
    )
    fields = {"code": "SubscriptionRequestsThrottled", "status": 429, "message": message}
    return _fault({"kind": kind, **fields, "retry_after": seconds}, more)


def lro_failure(
    code: str = "InternalExecutionError", message: str = "", kind: str = VM_PUT, **more: Any
) -> Fault:
    """The call is accepted and its operation fails."""
    text = message or "An internal execution error occurred. Please retry later."
    return _fault({"kind": kind, "code": code, "message": text, "when": "lro"}, more)


def vm_start_timed_out(**more: Any) -> Fault:
    """The host did not get the VM to start in time."""
    text = "VM has failed to start within the allotted time. Please try again later."
    return lro_failure("VMStartTimedOut", text, **more)


def server_error(status: int = 500, kind: str = VM_PUT, **more: Any) -> Fault:
    """500, 502, 503 or 504 as Azure words them."""
    code, message = {
        500: ("InternalServerError", "Encountered internal server error. " + _GATEWAY),
        502: ("BadGateway", "The gateway received an invalid response."),
        503: ("ServerTimeout", "The request timed out. " + _GATEWAY),
        504: (
            "GatewayTimeout",
            "The gateway did not receive a response from 'Microsoft.Compute' within the specified "
            "time period.",
        ),
    }[status]
    return _fault({"kind": kind, "code": code, "status": status, "message": message}, more)


def proxy_page(kind: str = VM_PUT, **more: Any) -> Fault:
    """A page of HTML from something in between, instead of ARM's JSON."""
    page = "<html><head><title>502 Bad Gateway</title></head><body></body></html>"
    return _fault({"kind": kind, "code": "", "status": 502, "body": page}, more)


def lost_answer(kind: str = VM_PUT, **more: Any) -> Fault:
    """The call is carried out, its answer never arrives.

    aiohttp repeats a GET, PUT or DELETE once by itself; with ``times=2`` its user sees the loss.
    """
    return _fault({"kind": kind, "when": "lost_answer"}, more)


def reset(kind: str = VM_PUT, **more: Any) -> Fault:
    """The connection drops before anything is done; ``times=2`` as for :func:`lost_answer`."""
    return _fault({"kind": kind, "when": "reset"}, more)


def endpoint_down(seconds: float, **more: Any) -> Fault:
    """Every connection drops for a while."""
    fields = {"kind": "*", "when": "reset", "times": None, "lasts": seconds}
    return _fault(fields, more)


def slow(seconds: float, kind: str = VM_PUT, **more: Any) -> Fault:
    """The operation takes longer."""
    return _fault({"kind": kind, "when": "slow", "seconds": seconds}, more)


def late(seconds: float, kind: str = VM_PUT, **more: Any) -> Fault:
    """The answer comes late."""
    return _fault({"kind": kind, "when": "delay", "seconds": seconds}, more)


def delete_lies(name: str = "", **more: Any) -> Fault:
    """The deletion of a VM says Succeeded and deletes nothing."""
    return _fault({"kind": "virtualMachines.delete", "when": "lie", "match": of_name(name)}, more)


def delete_leaves(name: str = "", **more: Any) -> Fault:
    """The deletion of a VM leaves its NIC, disk and public address behind."""
    fields = {"kind": "virtualMachines.delete", "when": "leftover", "match": of_name(name)}
    return _fault(fields, more)


def nic_reserved(**more: Any) -> Fault:
    """A NIC is kept for a VM whose creation failed, for three minutes."""
    message = (
        "Nic(s) in request is reserved for another Virtual Machine for 180 seconds. Please provide "
        "another nic(s) or retry after 180 seconds. To learn more about this error please go to "
        "aka.ms/nicreservedforvm."
    )
    fields = {"kind": "networkInterfaces.delete", "code": "NicReservedForAnotherVm", "status": 400}
    return _fault({**fields, "message": message}, more)


def conflict(kind: str = "virtualMachines.delete", **more: Any) -> Fault:
    """Another request works on the same thing."""
    message = (
        "The request failed due to conflict with a concurrent request. To resolve it, please refer "
        "to https://aka.ms/activitylog to get more details on the conflicting requests."
    )
    return _fault({"kind": kind, "code": "Conflict", "message": message}, more)


def not_authorized(kind: str = VM_PUT, **more: Any) -> Fault:
    """The role of the caller is not enough."""
    message = (
        "The client '' with object id '' does not have authorization to perform action "
        "'Microsoft.Compute/virtualMachines/write' over scope '' or the scope is invalid. If "
        "access was recently granted, please refresh your credentials."
    )
    fields = {"kind": kind, "code": "AuthorizationFailed", "status": 403, "message": message}
    return _fault(fields, more)


def disallowed_by_policy(kind: str = VM_PUT, **more: Any) -> Fault:
    """A policy of the organisation forbids it."""
    message = "Resource 'vm' was disallowed by policy. Policy identifiers: '[]'."
    return _fault(
        {"kind": kind, "code": "RequestDisallowedByPolicy", "status": 403, "message": message}, more
    )


def subscription_disabled(kind: str = "*", **more: Any) -> Fault:
    """The subscription was switched off, for instance because nobody pays."""
    message = (
        "The subscription '' is disabled and therefore marked as read only. You cannot perform any "
        "write actions on this subscription until it is re-enabled."
    )
    fields = {"kind": kind, "code": "ReadOnlyDisabledSubscription", "message": message}
    return _fault({**fields, "match": lambda call: call.method != "GET"}, more)


def locked(kind: str = "virtualMachines.delete", **more: Any) -> Fault:
    """Somebody locked the resource group."""
    message = (
        "The scope '' cannot perform delete operation because following scope(s) are locked: ''. "
        "Please remove the lock and try again."
    )
    return _fault({"kind": kind, "code": "ScopeLocked", "message": message}, more)


def operation_lost(kind: str = "operations.get", **more: Any) -> Fault:
    """The operation's URL is not found."""
    message = "The entity was not found in this Azure location."
    return _fault({"kind": kind, "code": "NotFound", "status": 404, "message": message}, more)


def public_address_limit(**more: Any) -> Fault:
    """The region's public addresses are used up: the operation fails."""
    message = "Cannot create more than 10 public IP addresses for this subscription in this region."
    return lro_failure("PublicIPCountLimitReached", message, **more)


def wrapped(inner: Fault) -> Fault:
    """A fault inside the error of a template deployment."""
    detail = {"code": inner.code, "message": inner.message}
    inner.details = [{"code": "Conflict", "message": json.dumps({"error": detail})}, detail]
    inner.code, inner.status = "InvalidTemplateDeployment", 400
    inner.message = (
        "The template deployment 'vm' is not valid according to the validation procedure. The "
        "tracking id is ''. See inner errors for details."
    )
    return inner
