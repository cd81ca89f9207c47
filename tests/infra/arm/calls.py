"""Which calls the endpoint saw: for checks such as "no more than two calls a VM"."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class LoggedCall:
    """One call and its answer.

    Attributes
    ----------
    time
        On the endpoint's clock, seconds since the epoch.
    method, path, kind, name, status
        The request and the status of its answer; 0 when the connection was reset.
    vm
        Name of the VM it was for (its operations, NICs, disks and addresses included), "" for
        calls that all VMs share, such as a list.
    user_agent
        As sent.
    """

    time: float
    method: str
    path: str
    kind: str
    name: str
    status: int
    vm: str = ""
    user_agent: str = ""


class CallLog:
    """The calls in their order; clear it to count anew."""

    def __init__(self) -> None:
        self._calls: list[LoggedCall] = []

    def __iter__(self) -> Iterator[LoggedCall]:
        return iter(list(self._calls))

    def __len__(self) -> int:
        return len(self._calls)

    def __getitem__(self, index: int) -> LoggedCall:
        return self._calls[index]

    def append(self, call: LoggedCall) -> None:
        """Note a call."""
        self._calls.append(call)

    def clear(self) -> None:
        """Forget all calls so far."""
        self._calls.clear()

    def count(self, kind: str, name: str | None = None) -> int:
        """How many of a kind ("virtualMachines.put"), for one resource or all."""
        return len(self.of(kind, name))

    def of(self, kind: str, name: str | None = None) -> list[LoggedCall]:
        """Those of a kind, for one resource or all."""
        wanted = None if name is None else name.lower()
        return [
            each
            for each in self
            if each.kind == kind and (wanted is None or each.name.lower() == wanted)
        ]

    def by_vm(self) -> Counter[str]:
        """Calls for each VM, by its name in lower case."""
        return Counter(each.vm.lower() for each in self if each.vm)

    def shared(self) -> Counter[str]:
        """Calls that belong to no VM, by kind."""
        return Counter(each.kind for each in self if not each.vm)
