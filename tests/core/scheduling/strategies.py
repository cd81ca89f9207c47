"""Queues and inventories for property tests: small numbers, so that everything collides."""

from __future__ import annotations

import datetime as dt

from hypothesis import strategies as st

from skyport_core.model import Resources
from skyport_core.scheduling import NodeState, Offer, PendingJob

START = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
SITES = ("lab", "cloud")
FLAVORS = ("small", "large")

labels = st.sampled_from(({}, {}, {}, {"disk": "ssd"}, {"disk": "hdd"}))

needs = st.builds(
    Resources,
    st.sampled_from((1, 2, 4)) | st.integers(1, 9000).map(lambda milli: milli / 1000),
    st.sampled_from((256, 256, 1024)),
    st.sampled_from((0, 0, 0, 1)),
)
totals = st.builds(
    Resources,
    st.sampled_from((4, 4, 8, 0.9)),
    st.sampled_from((1024, 2048)),
    st.sampled_from((0, 0, 2)),
)


@st.composite
def parts(draw: st.DrawFn, total: Resources) -> Resources:
    """What is free of a node; also less than nothing, when the node shrank under its jobs."""
    part = draw(st.sampled_from((1.0, 1.0, 0.5, 0.0, -0.5)))
    return Resources(
        round(total.cpus * part, 3), int(total.memory * part), max(0, int(total.gpus * part))
    )


@st.composite
def inventories(draw: st.DrawFn) -> list[NodeState]:
    nodes = []
    for index in range(draw(st.integers(0, 4))):
        total = draw(totals)
        nodes.append(
            NodeState(
                site=draw(st.sampled_from(SITES)),
                name=f"node{index}",
                flavor=draw(st.sampled_from(FLAVORS)),
                total=total,
                free=draw(parts(total)),
                labels=draw(labels),
                available=draw(st.sampled_from((True, True, True, False))),
                suspect=draw(st.booleans()),
                price=draw(st.sampled_from((None, 0.5))),
            )
        )
    return nodes


@st.composite
def offer_lists(draw: st.DrawFn) -> list[Offer]:
    if draw(st.booleans()):
        return []
    kinds = draw(
        st.lists(
            st.tuples(st.sampled_from(SITES), st.sampled_from(FLAVORS)), unique=True, max_size=2
        )
    )
    return [
        Offer(
            site=site,
            flavor=flavor,
            total=draw(totals),
            price=draw(st.sampled_from((None, 0.1, 0.2))),
            available=draw(st.booleans()),
            labels=draw(labels),
        )
        for site, flavor in kinds
    ]


@st.composite
def queues(draw: st.DrawFn) -> list[PendingJob]:
    keys = st.sampled_from([f"{site}/node{index}" for site in SITES for index in range(4)])
    return [
        PendingJob(
            id=f"job{index}",
            owner="ada",
            submitted=START + dt.timedelta(seconds=draw(st.integers(0, 3))),
            need=draw(needs),
            site=draw(st.sampled_from((None, None, None, *SITES))),
            flavor=draw(st.sampled_from((None, None, None, *FLAVORS))),
            labels=draw(labels),
            excluded=draw(st.just({}) | st.dictionaries(keys, st.just("failed"), max_size=2)),
        )
        for index in range(draw(st.integers(0, 10)))
    ]


unknown_sites = st.sets(st.sampled_from((*SITES, "other")))
