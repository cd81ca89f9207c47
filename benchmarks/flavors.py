"""The list of flavors of a large cloud, asked of a core over HTTP.

A core in a process of its own has one site with thousands of sizes in several regions, all with
zones, prices and spot. Each time is from the request to the last byte of the answer. There is no
peer: the ratio is to the time that a person does not yet feel as waiting.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

from benchmarks.report import (
    Result,
    Series,
    argument_parser,
    compare,
    end_tidily,
    median_ratio,
    publish,
)
from skyport_core.flavors import SORTS
from tests.infra import run
from tests.infra.core import CoreProcess

OURS = "skyport"
LIMIT = 0.3
"""Seconds."""

SIZES, REGIONS = 2000, 5
PAGES = (100, 1000)
URL = "http://core/api/v1/flavors"
TIMEOUT = 60.0

Query = Mapping[str, str]

FILTERS: Mapping[str, Query] = {
    "in a region": {"region": "region3", "limit": "100"},
    "large, cheap, now": {
        "min_cpus": "8",
        "min_memory": "32768",
        "max_price": "0.9",
        "available": "true",
        "limit": "100",
    },
    "spot GPU": {"spot": "true", "gpu_type": "t4", "min_gpus": "1", "limit": "100"},
    "part of name": {"name": "x19", "limit": "100"},
    "no match": {"name": "nothing", "limit": "100"},
}


@dataclass(frozen=True)
class Question:
    """What is asked: its place in the report, and the query."""

    result: str
    figure: str
    query: Query


class Asker:
    """Asks a core over its Unix socket, by one connection that stays open."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    async def ask(self, query: Query) -> tuple[float, bytes]:
        """Milliseconds until the whole answer was there, and the answer."""
        begin = time.perf_counter()
        async with self._session.get(URL, params=query) as response:
            body = await response.read()
        took = 1000 * (time.perf_counter() - begin)
        if response.status != 200:
            raise RuntimeError(f"{dict(query)}: {response.status} {body.decode()}")
        return took, body

    async def page(self, query: Query) -> dict[str, Any]:
        """The answer as it is meant."""
        page: dict[str, Any] = json.loads((await self.ask(query))[1])
        return page


@contextlib.asynccontextmanager
async def asker(sizes: int, regions: int) -> AsyncIterator[Asker]:
    """A core that has heard of all flavors; nothing is left of it afterwards."""
    config = f"""
c.SkyPortCore.gates = {{"cloud": "benchmarks.flavors_gate:LargeCloud"}}
c.LargeCloud.sizes = {sizes}
c.LargeCloud.regions = {regions}
"""
    async with CoreProcess(config) as core:
        connector = aiohttp.UnixConnector(str(core.socket))
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
            yield Asker(session)


async def questions(asker: Asker) -> list[Question]:
    """All that is asked in each round; cursors are those of the core's own answers."""
    found = [
        *(Question(f"first_{n}", f"first page of {n}", {"limit": str(n)}) for n in PAGES),
        *(Question("filtered", f"filtered: {name}", query) for name, query in FILTERS.items()),
        *(
            Question(f"sort_{sort}", f"sorted by {sort}", {"sort": sort, "limit": "100"})
            for sort in SORTS
        ),
    ]
    for length in PAGES:
        query = {"limit": str(length)}
        following = (await asker.page(query))["next"]
        if following is not None:
            query["after"] = following
        found.append(Question(f"next_{length}", f"next page of {length}", query))
    return found


async def measure(sizes: int, regions: int, rounds: int) -> tuple[list[Question], list[Series]]:
    """Ask everything in turns, after one round that does not count."""
    values: dict[str, list[float]] = {}
    async with asker(sizes, regions) as core:
        total = (await core.page({"limit": "1"}))["total"]
        if total != sizes * regions:
            raise RuntimeError(f"The core has {total} flavors instead of {sizes * regions}")
        asked = await questions(core)
        for number in range(rounds + 1):
            for question in asked:
                took, _ = await core.ask(question.query)
                if number:
                    values.setdefault(question.figure, []).append(took)
    return asked, [Series(OURS, figure, "ms", tuple(times)) for figure, times in values.items()]


def judge(asked: Sequence[Question], series: Sequence[Series]) -> list[Result]:
    """The medians against the limit; of several questions for one result, the slowest."""
    medians = {one.figure: one for one in series}
    results = {}
    for name in dict.fromkeys(question.result for question in asked):
        own = [medians[question.figure] for question in asked if question.result == name]
        slowest = max(own, key=lambda one: one.median)
        limit = Series(f"{LIMIT:g} s", slowest.figure, "ms", (1000 * LIMIT,))
        results[name] = compare(f"flavors_{name}", slowest, [limit], 1.0, "lower", median_ratio)
    return list(results.values())


def main(arguments: list[str] | None = None) -> None:
    """Measure and report."""
    parser = argument_parser(__doc__)
    parser.add_argument("--sizes", type=int, default=SIZES, help=f"sizes ({SIZES})")
    parser.add_argument("--regions", type=int, default=REGIONS, help=f"regions ({REGIONS})")
    parser.add_argument("--rounds", type=int, default=15, help="rounds (15)")
    options = parser.parse_args(arguments)
    end_tidily()
    run.mark()
    asked, series = asyncio.run(measure(options.sizes, options.regions, options.rounds))
    print(f"{options.sizes} sizes in {options.regions} regions\n")
    publish(series, judge(asked, series), options.json)


if __name__ == "__main__":
    main()
