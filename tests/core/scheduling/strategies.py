"""Queues and inventories for property tests: small numbers, so that everything collides."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

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


places = st.sampled_from((("", ""), ("north", "1"), ("north", "2"), ("south", "")))
terms = st.tuples(places, st.booleans())


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
    """Up to two flavors, each on several terms; a site either bills all of them or none."""
    if draw(st.booleans()):
        return []
    kinds = draw(
        st.lists(
            st.tuples(st.sampled_from(SITES), st.sampled_from(FLAVORS)), unique=True, max_size=2
        )
    )
    billed = draw(st.sets(st.sampled_from(SITES)))
    offers = []
    for site, flavor in kinds:
        like = Offer(
            site, flavor, draw(totals), labels=draw(labels), suspendable=draw(st.booleans())
        )
        for place, spot in draw(st.lists(terms, unique=True, min_size=1, max_size=4)):
            offers.append(
                replace(
                    like,
                    region=place[0],
                    zone=place[1],
                    spot=spot,
                    price=draw(st.sampled_from((0.1, 0.2))) if site in billed else None,
                    available=draw(st.booleans()),
                )
            )
    return offers


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
            region=draw(st.sampled_from((None, None, None, "north", "south"))),
            zone=draw(st.sampled_from((None, None, None, "1"))),
            spot=draw(st.sampled_from((False, None, True))),
            max_price=draw(st.sampled_from((None, None, None, 0.15))),
            keep=draw(st.sampled_from((False, False, False, True))),
            labels=draw(labels),
            excluded=draw(st.just({}) | st.dictionaries(keys, st.just("failed"), max_size=2)),
        )
        for index in range(draw(st.integers(0, 10)))
    ]


unknown_sites = st.sets(st.sampled_from((*SITES, "other")))
