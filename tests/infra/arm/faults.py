"""Faults that tests order: wrong answers, lost answers, failed operations, an outage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Literal

from tests.infra.arm.clock import Clock
from tests.infra.arm.router import ArmError, Call

_CAUSES = {503: "gateway", 504: "service"}

When = Literal["before", "lro", "lost_answer", "reset", "lie", "leftover", "slow", "delay", "late"]


@dataclass
class Fault:
    """One thing that goes wrong.

    Attributes
    ----------
    kind
        Calls it strikes, such as "virtualMachines.put"; may hold wildcards.
    code, message, status
        The error, for "before" and "lro".
    when
        "before": the error is the answer, nothing is done. "lro": the call is accepted and its
        operation fails. "lost_answer": the call is carried out and the connection drops before
        the answer. "reset": the connection drops before anything is done. "lie": the operation
        says Succeeded and nothing was done. "leftover": a deletion leaves NIC, disk and public
        address behind. "slow": the operation takes ``seconds`` longer. "delay": the call is only
        looked at ``seconds`` later. "late": it is carried out, and answered ``seconds`` later.
    times
        How many calls it strikes; None for all.
    match
        Which of these calls; None for all.
    retry_after
        Seconds of a Retry-After header; None sends none.
    seconds
        For "slow", "delay" and "late"; for "lro", after how long the operation fails.
    lasts
        Seconds after which it strikes no more; None for ever.
    struck
        How many calls it struck.
    since
        When it was ordered, on the endpoint's clock.
    body
        Text of the answer instead of ARM's error (for a broken proxy in between, say).
    """

    kind: str
    code: str = "InternalServerError"
    status: int = 409
    message: str = ""
    when: When = "before"
    times: int | None = 1
    match: Callable[[Call], bool] | None = None
    retry_after: int | None = None
    seconds: float = 0.0
    body: str | None = None
    details: list[dict[str, str]] = field(default_factory=list)
    lasts: float | None = None
    struck: int = 0
    since: float = 0.0

    def error(self) -> ArmError:
        """The error that it answers."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status in _CAUSES:
            headers["x-ms-failure-cause"] = _CAUSES[self.status]
        return ArmError(self.status, self.code, self.message, None, self.details, headers)


class Faults:
    """The faults in wait; the first that fits a call strikes it.

    Parameters
    ----------
    clock
        Ends faults that last for a time.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._faults: list[Fault] = []

    def add(self, *faults: Fault) -> Fault:
        """Lie in wait; the last of them is returned, to see how often it struck."""
        for fault in faults:
            fault.since = self._clock.time()
        self._faults.extend(faults)
        return faults[-1]

    def clear(self) -> None:
        """Let nothing go wrong any more."""
        self._faults.clear()

    def take(self, call: Call) -> Fault | None:
        """The fault that strikes a call, None for none."""
        now = self._clock.time()
        self._faults = [
            each for each in self._faults if each.lasts is None or now < each.since + each.lasts
        ]
        for fault in self._faults:
            fits = fnmatch(call.kind.lower(), fault.kind.lower())
            if fits and (fault.match is None or fault.match(call)):
                fault.struck += 1
                if fault.times is not None and fault.struck >= fault.times:
                    self._faults.remove(fault)
                return fault
        return None
