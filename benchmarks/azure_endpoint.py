"""The Azure endpoint in a process of its own, with the pace of the benchmark.

``python -m benchmarks.azure_endpoint CALL INTERFACE MACHINE VALIDATION`` takes the seconds of any
call, of the operations that make a network interface and a machine, and of a template's validation.
It prints the gate's options as JSON. Each line of its standard input begins a new round, and is
answered with what the round before made: the number of calls (logins left out), how many of them
were lists, how many were looks at operations, at how many operations, and when the last machine's
own operation ended (seconds since the epoch). It ends with its input.
"""

from __future__ import annotations

import asyncio
import json
import sys

from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.faults import Fault
from tests.infra.arm.operations import Durations

MACHINE = "virtualMachines.put"

LOOKS = "operations."
LOGINS = "token."
"""These are not counted: one lasts for an hour and for all machines."""


async def serve(call: float, interface: float, machine: float, validation: float) -> None:
    """Run the endpoint until the input ends."""
    durations = Durations({MACHINE: machine, "networkInterfaces.put": interface})
    async with ArmEndpoint(durations=durations, regions=("westeurope",)) as endpoint:
        slow = Fault("deployments.put", when="delay", seconds=call + validation, times=None)
        every = Fault("*", when="delay", seconds=call, times=None)
        endpoint.arm.faults.add(slow, every)
        print(json.dumps(endpoint.gate_options()), flush=True)
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(_round(endpoint)), flush=True)


def _round(endpoint: ArmEndpoint) -> dict[str, float]:
    """What happened since the last round; the logs then begin anew."""
    arm = endpoint.arm
    calls = [one for one in arm.calls if not one.kind.startswith(LOGINS)]
    arm.calls.clear()
    looks = [one.path for one in calls if one.kind.startswith(LOOKS)]
    ends = [one.ended for one in arm.operations.all() if one.kind == MACHINE]
    return {
        "calls": len(calls),
        "lists": sum(".list" in one.kind for one in calls),
        "looks": len(looks),
        "operations": len(set(looks)),
        "up": max((end for end in ends if end), default=0.0),
    }


if __name__ == "__main__":
    asyncio.run(serve(*map(float, sys.argv[1:])))
