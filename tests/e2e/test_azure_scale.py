"""A hundred machines of Azure at once: within its limits, and with few calls for each."""

from __future__ import annotations

import asyncio
from collections import Counter

from skyport_core.model import JobState
from tests.infra.azure import azure_desk
from tests.infra.requirements import needs_root

MACHINES = 100
USUAL = {"operation_interval": 2.0, "fleet_interval": 15.0}
"""The gate's defaults, instead of the hurry of the other tests."""

WRITES, READS = 3, 5
"""Calls that one machine may cost from its creation to its end, besides shared lists."""


@needs_root
async def test_a_hundred_machines_at_once_stay_within_azures_limits():
    async with azure_desk(throttle=True, boot_time=1.0, gate=USUAL) as azure:
        submitted = [
            azure.desk.submit("true", flavor="Standard_D2s_v5", name=f"job{number}")
            for number in range(MACHINES)
        ]
        jobs = await asyncio.gather(*submitted)
        ends = [await azure.desk.end(job, timeout=120) for job in jobs]
        assert Counter(end.state for end in ends) == {JobState.FINISHED: MACHINES}
        told = [event.message for job in jobs for event in await azure.desk.events(job)]
        assert not [message for message in told if "hrottl" in message or "TooMany" in message]
        await azure.nothing_left(60)
        calls = azure.arm.calls
        assert not [call for call in calls if call.status == 429], "Azure never had to refuse"
        writes = Counter(call.vm for call in calls if call.vm and call.method != "GET")
        reads = Counter(call.vm for call in calls if call.vm and call.method == "GET")
        assert len(writes) == MACHINES
        assert max(writes.values()) <= WRITES
        assert max(reads.values()) <= READS
