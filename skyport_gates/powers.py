"""What only some gates can do: mixins that a gate opts into."""

from __future__ import annotations

import abc
from dataclasses import dataclass


class Suspend:
    """Power of a gate whose partitions can sleep: disks are kept, nodes are not billed."""

    @abc.abstractmethod
    async def suspend(self, name: str) -> None:
        """Put a partition to sleep; return once accepted. Idempotent.

        :meth:`Gate.get` shows SUSPENDING, then SUSPENDED. Raises PartitionNotFound.
        """
        raise NotImplementedError

    @abc.abstractmethod
    async def resume(self, name: str) -> None:
        """Wake a partition; return once accepted. Idempotent.

        :meth:`Gate.get` shows CREATING, then READY, with new addresses maybe. Raises Shortage
        (then or by ``error`` with status SUSPENDED later) when there is no room now; nothing is
        lost by that. Raises PartitionNotFound.
        """
        raise NotImplementedError


class Spot:
    """Power of a gate that offers spot nodes, which the site may take back.

    The node hears of it first: a program there writes the line ``notice preempt EPOCH`` into the
    FIFOs ``~/.skyport/watch/*`` of the job's login, EPOCH being the second at which the node goes.
    The core then saves the job's results. Later :meth:`Gate.get` shows FAILED with
    :class:`Preempted`, or SUSPENDED with it where the disks are kept.
    """

    spot_notice: float = 30.0
    """Seconds between the notice and the end."""


@dataclass(frozen=True)
class QuotaUse:
    """One limit of the account: ``used`` and ``limit`` in ``unit``; ``region`` "" for all."""

    name: str
    description: str
    region: str
    used: float
    limit: float
    unit: str = "count"


class Quota:
    """Power of a gate that knows the limits of its account."""

    @abc.abstractmethod
    async def quotas(self) -> list[QuotaUse]:
        """The limits and what is used of them. Answers from a cache; never slow."""
        raise NotImplementedError
