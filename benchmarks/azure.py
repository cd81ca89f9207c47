"""Azure machines: the gate against the SDK's documented sequence and against a template.

One endpoint in a process of its own serves all three, at a pace that is given (and printed). *Up*
is the time until the last machine's own operation has ended at the endpoint, whoever made it, and
*added* what is left of that without the time which the endpoint itself takes for a machine: what
the way to ask costs. Calls are counted until nobody looks at an operation any more.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.azure_subjects import OURS, SEQUENCE, TEMPLATE, Pace, Subject, subjects
from benchmarks.report import (
    Result,
    Series,
    argument_parser,
    compare,
    end_tidily,
    median_ratio,
    publish,
)
from benchmarks.tunnel import Child

TARGET = 0.5
"""Of seconds and calls alike: half of the peer's."""

NUMBERS = (1, 10, 100)
TIMEOUT = 300.0


@dataclass(frozen=True)
class Round:
    """One round of a subject: seconds, and calls for each machine.

    ``up`` and ``added`` end with the last machine's operation at the endpoint, ``handed`` when the
    subject has handed over all machines. ``calls`` counts them as made, ``once`` with no more than
    one look at each operation.
    """

    up: float
    added: float
    handed: float
    calls: float
    once: float


async def measure(subject: Subject, endpoint: Child, number: int, label: str, own: float) -> Round:
    """Make machines side by side, see what it took, and remove them.

    ``own`` is what the endpoint itself takes for a machine.
    """
    names = [f"{label}-{index}" for index in range(number)]
    await asyncio.to_thread(endpoint.ask, "begin")
    began, clock = time.time(), time.perf_counter()
    await asyncio.gather(*(subject.make(name) for name in names))
    handed = time.perf_counter() - clock
    # Machines that were handed over may still be coming up; who watches them has to be counted.
    await subject.settled()
    seen = json.loads(await asyncio.to_thread(endpoint.ask, "seen"))
    await subject.remove(names)
    up = seen["up"] - began
    # The gate goes on listing while a peer has its turn.
    calls = seen["calls"] - (0 if subject.lists else seen["lists"])
    once = calls - seen["looks"] + seen["operations"]
    return Round(up, up - own, handed, calls / number, once / number)


async def warm_up(name: str, subject: Subject) -> None:
    """Make and remove a machine: connections, tokens and code are there then."""
    await subject.make(name)
    await subject.settled()
    await subject.remove([name])


async def run(endpoint: Child, numbers: Sequence[int], rounds: int, pace: Pace) -> list[Series]:
    """All subjects in turns."""
    values: dict[tuple[int, str], list[Round]] = {}
    async with subjects(json.loads(endpoint.hear()), pace) as found:
        each = enumerate(found.values())
        await asyncio.gather(*(warm_up(f"warm-{place}", subject) for place, subject in each))
        for number in numbers:
            for turn in range(rounds):
                order = list(found.items())
                first = turn % len(order)
                for place, (name, subject) in enumerate(order[first:] + order[:first]):
                    label = f"n{number}-{turn}-{place}"
                    done = await asyncio.wait_for(
                        measure(subject, endpoint, number, label, pace.machine), TIMEOUT
                    )
                    values.setdefault((number, name), []).append(done)
        handed = {name: subject.handed for name, subject in found.items()}
    ordered = sorted(values.items(), key=lambda item: item[0][0])
    return [
        Series(
            name,
            figure.format(number, handed=handed[name]),
            unit,
            tuple(getattr(one, key) for one in done),
        )
        for figure, key, unit in FIGURES
        for (number, name), done in ordered
    ]


FIGURES = (
    ("up {}", "up", "s"),
    ("added {}", "added", "s"),
    ("calls a machine {}", "calls", "calls"),
    ("calls, one look {}", "once", "calls"),
    ("{handed} {}", "handed", "s"),
)
"""What is shown of rounds: title, attribute, unit."""


def judge(series: Sequence[Series], numbers: Sequence[int]) -> list[Result]:
    """The ratios of the medians against their targets."""

    def found(subject: str, figure: str) -> Series:
        [one] = [one for one in series if (one.subject, one.figure) == (subject, figure)]
        return one

    def result(name: str, peer: str, figure: str, of_peer: str = "") -> Result:
        ours, theirs = found(OURS, figure), found(peer, of_peer or figure)
        return compare(name, ours, [theirs], TARGET, "lower", median_ratio)

    return [
        *(result(f"azure_added_{n}", SEQUENCE, f"added {n}") for n in numbers),
        *(result(f"azure_added_template_{n}", TEMPLATE, f"added {n}") for n in numbers),
        *(result(f"azure_calls_{n}", SEQUENCE, f"calls a machine {n}") for n in numbers),
        # The harder comparison: ours as made, the peer as if it guessed each end at once.
        *(
            result(
                f"azure_calls_one_look_{n}",
                SEQUENCE,
                f"calls a machine {n}",
                f"calls, one look {n}",
            )
            for n in numbers
        ),
    ]


def main(arguments: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument(
        "--numbers", type=int, nargs="+", default=NUMBERS, help="machines (1 10 100)"
    )
    parser.add_argument("--pace", type=float, default=1.0, help="factor for all seconds (1)")
    options = parser.parse_args(arguments)
    end_tidily()
    pace = Pace().times(options.pace)
    words = [str(each) for each in (pace.call, pace.interface, pace.machine, pace.validation)]
    with Child([sys.executable, "-m", "benchmarks.azure_endpoint", *words]) as endpoint:
        series = asyncio.run(run(endpoint, options.numbers, options.rounds, pace))
    print(f"pace: {pace}")
    print("address known: SSH can be tried; poller's end: the peer hears that the machine is up\n")
    publish(series, judge(series, options.numbers), options.json)


if __name__ == "__main__":
    main()
