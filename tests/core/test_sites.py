"""The sites' offers, and those that are left out for a while."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from skyport_core.blocks import Blocks
from skyport_core.model import Resources
from skyport_core.places import Listing, list_places
from skyport_core.scheduling import Offer, PendingJob
from skyport_core.sites import Sites
from skyport_gates.gate import Flavor, GateUnavailable, NotAuthorized, Scope, Terms
from tests.core.cloud import GPU, SMALL, CloudGate, LabGate, running_sites, terms
from tests.infra.wait import eventually

ASKED_FOR = Scope(frozenset({"small"}), "westeurope", "1", False)
OFFERS = [
    ("small", "westeurope", "1", False),
    ("small", "westeurope", "2", False),
    ("small", "westeurope", "1", True),
    ("small", "northeurope", "", False),
    ("gpu", "westeurope", "1", False),
]


def left_out(scope: Scope) -> list[tuple[str, str, str, bool]]:
    """Those of OFFERS that a block covers, found in both ways of looking."""
    blocks = Blocks()
    blocks.add("azure", scope, "full", 60)
    found = [offer for offer in OFFERS if blocks.find("azure", *offer)]
    at_site = blocks.at("azure")
    for flavor, region, zone, spot in OFFERS:
        offer = Offer("azure", flavor, Resources(1, 1024), region=region, zone=zone, spot=spot)
        assert (at_site.trouble(offer) is not None) == ((flavor, region, zone, spot) in found)
    return found


async def keys(sites: Sites) -> list[str]:
    return [offer.key for offer in await sites.offers()]


async def test_each_zone_of_each_terms_is_an_offer() -> None:
    async with running_sites(CloudGate(SMALL)) as sites:
        assert sorted(await keys(sites)) == [
            "azure/small@northeurope",
            "azure/small@westeurope-1",
            "azure/small@westeurope-1+spot",
            "azure/small@westeurope-2",
            "azure/small@westeurope-2+spot",
        ]


async def test_a_flavor_without_terms_is_one_offer() -> None:
    async with running_sites(CloudGate(Flavor("vm", 1, 1024, price=0.1))) as sites:
        [offer] = await sites.offers()
        assert (offer.key, offer.price, offer.available) == ("azure/vm", 0.1, True)


async def test_an_offer_says_how_long_its_node_takes_to_make() -> None:
    flavor = Flavor("vm", 1, 1024, terms=(Terms(price=0.1, delay=45.0),))
    now = dt.datetime.now(dt.timezone.utc)
    async with running_sites(CloudGate(flavor)) as sites:
        listing = Listing(
            job=PendingJob("job", "ann", now, Resources(1, 512)),
            walltime=3600,
            nodes=(),
            offers=await sites.offers(),
            conditions=sites.conditions(),
            chosen=None,
            taken=None,
            forecast=None,
            currency=lambda *_: "EUR",
            now=now,
        )
        ([place], _) = list_places(listing)
        assert (place.state, place.delay, place.cost) == ("free", 45.0, 0.1)


async def test_terms_that_cannot_be_had_say_why() -> None:
    async with running_sites(CloudGate(GPU)) as sites:
        [offer] = [offer for offer in await sites.offers() if offer.spot]
        assert (offer.available, offer.reason) == (False, "the quota of spot cores is 0")


async def test_only_a_flavor_of_a_gate_that_can_suspend_sleeps() -> None:
    async with running_sites(CloudGate(SMALL, GPU)) as sites:
        sleeping = {offer.flavor for offer in await sites.offers() if offer.suspendable}
        assert sleeping == {"small"}


async def test_offers_are_sorted_again_only_when_the_flavors_change() -> None:
    gate = CloudGate(SMALL)
    async with running_sites(gate, LabGate()) as sites:
        first, table = await sites.offers(), await sites.flavors()
        gate.offered = [SMALL]
        gate.known_images = []
        await eventually(lambda: not sites.snapshots()[0].images, "images looked at anew")
        assert await sites.offers() is first
        assert await sites.flavors() is table
        gate.offered = [SMALL, GPU]
        await eventually(lambda: len(sites.snapshots()[0].flavors) == 2, "the new flavor is seen")
        assert len(await sites.offers()) > len(first)


async def test_images_that_cannot_be_listed_do_not_close_a_site() -> None:
    gate = CloudGate(SMALL)
    async with running_sites(gate) as sites:

        async def fail() -> list[object]:
            raise GateUnavailable("no answer")

        gate.images = fail  # type: ignore[method-assign, assignment]
        gate.offered = [SMALL, GPU]
        await eventually(lambda: len(sites.snapshots()[0].flavors) == 2, "looked at anew")
        [snapshot] = sites.snapshots()
        assert snapshot.available
        assert [image.name for image in snapshot.images or ()] == ["ubuntu"]


@pytest.mark.parametrize(
    ("scope", "count"),
    [
        (ASKED_FOR, 1),
        (Scope(frozenset({"small"}), "westeurope"), 3),
        (Scope(None, "westeurope", "1"), 3),
        (Scope(None, "westeurope", None, True), 1),
        (Scope(frozenset({"small", "gpu"}), "westeurope", None, False), 3),
        (Scope(None, None, None, False), 4),
        (Scope(), 5),
        (Scope(frozenset({"other"})), 0),
    ],
)
def test_a_scope_covers_what_it_names(scope: Scope, count: int) -> None:
    assert len(left_out(scope)) == count


def test_of_several_blocks_the_longest_counts() -> None:
    blocks = Blocks()
    blocks.add("azure", Scope(None, "westeurope"), "long", 600)
    blocks.add("azure", ASKED_FOR, "short", 60)
    found = blocks.find("azure", *OFFERS[0])
    assert found is not None and found.trouble.reason == "long"


def test_blocks_of_another_site_do_not_count() -> None:
    blocks = Blocks()
    blocks.add("other", Scope(), "full", 60)
    assert blocks.find("azure", *OFFERS[0]) is None
    assert blocks.whole_site("azure") is None


async def test_a_blocked_offer_says_why() -> None:
    async with running_sites(CloudGate(SMALL)) as sites:
        sites.block("azure", ASKED_FOR, "no capacity")
        assert sites.blocked("azure", "small", "westeurope", "1") == "no capacity"
        assert sites.blocked("azure", "small", "westeurope", "2") is None
        troubles = {offer.key: sites.conditions().trouble(offer) for offer in await sites.offers()}
        blocked = [key for key, trouble in troubles.items() if trouble is not None]
        assert blocked == ["azure/small@westeurope-1"]


async def test_a_block_expires_and_tells_so() -> None:
    told = asyncio.Event()
    async with running_sites(CloudGate(SMALL), changed=told.set) as sites:
        sites.block("azure", ASKED_FOR, "no capacity", 0.05)
        assert told.is_set()
        told.clear()
        await asyncio.wait_for(told.wait(), 10)
        assert sites.blocked("azure", "small", "westeurope", "1") is None


async def test_a_site_whose_credential_fails_makes_nothing() -> None:
    async with running_sites(CloudGate(SMALL)) as sites:
        sites.block("azure", Scope(), "The credential has expired")
        assert sites.closed("azure") == "The credential has expired"
        assert sites.conditions().closed["azure"].reason == "The credential has expired"


async def test_a_site_that_does_not_answer_is_closed() -> None:
    gate = CloudGate(SMALL)
    async with running_sites(gate) as sites:
        gate.trouble = NotAuthorized("The secret is wrong")
        await eventually(lambda: sites.conditions().closed, "site closed")
        assert sites.conditions().closed["azure"].reason == "The secret is wrong"
        assert len(await sites.offers()) == 5


async def test_thousands_of_flavors_are_offered() -> None:
    flavors = [
        Flavor(
            f"size{index}",
            cpus=2,
            memory=4096,
            terms=tuple(terms(f"r{region}", index / 100, "1", "2") for region in range(5)),
        )
        for index in range(2000)
    ]
    gate = CloudGate(*flavors)
    async with running_sites(gate) as sites:
        assert len(await sites.offers()) == 20_000


@pytest.mark.parametrize("answer", [None, [None], [object()]])
async def test_a_gate_that_answers_nonsense_closes_its_site_until_it_is_mended(
    answer: object, caplog: pytest.LogCaptureFixture
) -> None:
    gate, sane = CloudGate(SMALL), LabGate()

    async def flavors() -> object:
        return answer

    gate.flavors = flavors  # type: ignore[method-assign, assignment]
    async with running_sites(gate, sane) as sites:
        cloud, lab = sites.snapshots()
        assert not cloud.available and "fault in its gate" in cloud.reason
        assert lab.available
        assert "Traceback" in caplog.text
        del gate.flavors  # type: ignore[method-assign]
        await eventually(lambda: sites.snapshots()[0].available, "the site is open again")
