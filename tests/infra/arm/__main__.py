"""``python -m tests.infra.arm``: run the endpoint by hand until it is interrupted."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
from pathlib import Path

from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.operations import Durations


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.infra.arm", description=__doc__)
    data = os.environ.get("SKYPORT_TEST_DATA")
    parser.add_argument("--data", type=Path, default=data, help="folder of recorded data")
    parser.add_argument("--recorded-durations", action="store_true", help="be as slow as Azure")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies these durations")
    parser.add_argument("--throttle", action="store_true", help="enforce Azure's request limits")
    parser.add_argument("--empty", action="store_true", help="begin without group and network")
    options = parser.parse_args()
    if options.recorded_durations and options.data is None:
        parser.error("--recorded-durations needs --data or SKYPORT_TEST_DATA")
    return options


async def serve(options: argparse.Namespace) -> None:
    """Run the endpoint and print a configuration for it."""
    durations = None
    if options.recorded_durations:
        durations = Durations.recorded(options.data, scale=options.scale)
    endpoint = ArmEndpoint(
        data=options.data, durations=durations, throttle=options.throttle, empty=options.empty
    )
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with endpoint:
        print(f"# metadata service of the core's machine: {endpoint.imds_url}")
        print('c.SkyPortCore.gates = {"azure": "azure"}')
        for name, value in endpoint.gate_options().items():
            print(f"c.AzureGate.{name} = {value!r}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(arguments()))
