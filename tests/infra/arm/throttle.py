"""Azure's request limits: token buckets of Compute and of ARM itself, and their headers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tests.infra.arm.clock import Clock, stamp
from tests.infra.arm.router import ArmError, Call


@dataclass(frozen=True)
class Limit:
    """A bucket's size and how many tokens a minute refill it."""

    bucket: int
    per_minute: float


# learn.microsoft.com/azure/virtual-machines/compute-throttling-limits; HighCostGet from the
# numbers that Azure's answers carry.
COMPUTE_LIMITS: dict[str, tuple[Limit, Limit | None]] = {
    "PutVM": (Limit(1500, 500), Limit(12, 4)),
    "UpdateVM": (Limit(1500, 500), Limit(12, 4)),
    "DeleteVM": (Limit(1500, 500), Limit(12, 4)),
    "LowCostGet": (Limit(24_000, 8000), Limit(36, 12)),
    "HighCostGet": (Limit(900, 300), None),
    "GetOperation": (Limit(15_000, 5000), Limit(45, 15)),
}
# learn.microsoft.com/azure/azure-resource-manager/management/request-limits-and-throttling
ARM_LIMITS = {
    "reads": (Limit(250, 1500), Limit(3750, 22_500)),
    "writes": (Limit(200, 600), Limit(3000, 9000)),
    "deletes": (Limit(200, 600), Limit(3000, 9000)),
}
_GROUPS = {
    "virtualmachines.put": "PutVM",
    "virtualmachines.patch": "UpdateVM",
    "virtualmachines.delete": "DeleteVM",
    "virtualmachines.deallocate": "DeleteVM",
    "virtualmachines.simulateeviction": "DeleteVM",
    "virtualmachines.get": "LowCostGet",
    "virtualmachines.instanceview": "LowCostGet",
    "virtualmachines.list": "HighCostGet",
    "virtualmachines.listall": "HighCostGet",
    "operations.get": "GetOperation",
}


class Bucket:
    """A token bucket on a clock."""

    def __init__(self, clock: Clock, limit: Limit) -> None:
        self._clock = clock
        self._limit = limit
        self._tokens = float(limit.bucket)
        self._seen = clock.time()

    def _refill(self) -> None:
        now = self._clock.time()
        refill = (now - self._seen) * self._limit.per_minute / 60
        self._tokens = min(float(self._limit.bucket), self._tokens + refill)
        self._seen = now

    def wait(self) -> float:
        """Seconds until there is a token; 0 when there is one."""
        self._refill()
        return max(0.0, (1 - self._tokens) * 60 / self._limit.per_minute)

    def take(self) -> int:
        """Take a token; how many are left."""
        self._refill()
        self._tokens -= 1
        return int(self._tokens)


class Throttle:
    """Counts calls and refuses those above the limits.

    Parameters
    ----------
    clock
        Refills the buckets.
    enabled
        Off, it only writes the headers of full buckets.
    """

    def __init__(self, clock: Clock, *, enabled: bool = False) -> None:
        self.enabled = enabled
        self._clock = clock
        self._buckets: dict[tuple[str, ...], Bucket] = {}

    def admit(self, call: Call) -> dict[str, str]:
        """Count a call.

        Returns
        -------
        dict
            The headers of its answer, with what is left.

        Raises
        ------
        ArmError
            429 with Retry-After when a limit is reached.
        """
        return self._arm(call) | self._compute(call)

    def reset(self) -> None:
        """Fill all buckets."""
        self._buckets.clear()

    def _bucket(self, key: tuple[str, ...], limit: Limit) -> Bucket:
        if key not in self._buckets:
            self._buckets[key] = Bucket(self._clock, limit)
        return self._buckets[key]

    def _take(self, key: tuple[str, ...], limit: Limit) -> int:
        return self._bucket(key, limit).take() if self.enabled else limit.bucket - 1

    def _arm(self, call: Call) -> dict[str, str]:
        verb = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}.get(call.method, "writes")
        own, whole = ARM_LIMITS[verb]
        caller = str(call.caller.get("oid", call.caller.get("appid", "")))
        key = ("arm", verb, caller)
        if self.enabled and (wait := self._bucket(key, own).wait()):
            raise _arm_throttled(call, verb[:-1], math.ceil(wait))
        start = "x-ms-ratelimit-remaining-subscription-"
        everyone = self._take(("global", verb), whole)
        return {
            f"{start}{verb}": str(self._take(key, own)),
            f"{start}global-{verb}": str(everyone),
        }

    def _compute(self, call: Call) -> dict[str, str]:
        group = _GROUPS.get(call.kind.lower())
        if group is None and call.kind.startswith("virtualMachines."):
            group = "UpdateVM"
        if group is None:
            return {}
        resource = call.path.lower().split("?")[0]
        parts = []
        for scope, limit in zip(
            ("SubscriptionMaximum", "Resource"), COMPUTE_LIMITS[group], strict=True
        ):
            if limit is None:
                continue
            who = ("compute", group, scope, _vm_path(resource) if scope == "Resource" else "")
            if self.enabled and (wait := self._bucket(who, limit).wait()):
                raise self._compute_throttled(f"{group}{scope}", limit, math.ceil(wait))
            parts.append((who, limit, f"Microsoft.Compute/{group}{scope}"))
        left = [f"{name};{self._take(who, limit)}" for who, limit, name in parts]
        return {"x-ms-ratelimit-remaining-resource": ",".join(left)}

    def _compute_throttled(self, group: str, limit: Limit, wait: int) -> ArmError:
        start, end = stamp(self._clock.time()), stamp(self._clock.time() + wait)
        measured = (
            f'{{"operationGroup":"{group}","startTime":"{start}","endTime":"{end}",'
            f'"allowedRequestCount":{limit.bucket},"measuredRequestCount":{limit.bucket + 1}}}'
        )
        return ArmError(
            429,
            "OperationNotAllowed",
            "The server rejected the request because too many requests have been received for "
            "this subscription.",
            None,
            [{"code": "TooManyRequests", "target": group, "message": measured}],
            {
                "Retry-After": str(wait),
                "x-ms-ratelimit-remaining-resource": f"Microsoft.Compute/{group};0",
            },
        )


def _vm_path(path: str) -> str:
    """The path of the VM itself: its actions count for it."""
    head, found, tail = path.partition("/virtualmachines/")
    return f"{head}{found}{tail.split('/')[0]}" if found else path


def _arm_throttled(call: Call, verb: str, wait: int) -> ArmError:
    actor = call.caller.get("oid", "")
    return ArmError(
        429,
        "SubscriptionRequestsThrottled",
        f"Number of '{verb}' requests for subscription '{call.arm.subscription}' actor '{actor}' "
        f"exceeded. Please try again after '{wait}' seconds after additional tokens are "
        "available. Refer to https://aka.ms/arm-throttling for additional information.",
        headers={"Retry-After": str(wait), "x-ms-failure-cause": "gateway"},
    )
