"""The catalog: flavors, prices and limits from memory, kept fresh in the background."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

from skyport_gates.azure import catalog as module
from skyport_gates.azure import skus
from skyport_gates.azure.catalog import Catalog
from skyport_gates.azure.clients import Clients
from skyport_gates.azure.settings import AzureSettings
from skyport_gates.gate import (
    Flavor,
    GateUnavailable,
    NotAuthorized,
    Terms,
    TransientStore,
)
from tests.infra.arm.catalog import Catalog as Sizes
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.faults import Fault
from tests.infra.wait import eventually

REGIONS = ("westeurope", "northeurope")
LOG = logging.getLogger("test-catalog")


class Shop:
    """An endpoint, and catalogs of it that share one memory."""

    def __init__(self, endpoint: ArmEndpoint) -> None:
        self.endpoint = endpoint
        self.arm = endpoint.arm
        self.store = TransientStore()
        self._closing = AsyncExitStack()

    async def make(self, *, patience: float = 10.0, **traits: Any) -> Catalog:
        """A catalog, not started."""
        settings = AzureSettings(**self.endpoint.gate_options(**traits))
        clients = Clients(settings, 10.0)
        self._closing.push_async_callback(clients.close)
        await clients.open()
        made = Catalog(
            settings, lambda: clients.compute, clients.http, self.store, LOG, patience=patience
        )
        self._closing.push_async_callback(made.close)
        return made

    async def open(self, **traits: Any) -> Catalog:
        """A catalog that was started."""
        made = await self.make(**traits)
        await made.start()
        return made

    async def full(self, **traits: Any) -> Catalog:
        """A catalog that has read everything."""
        made = await self.open(**traits)
        keys = [f"{kind}/{r}" for kind in ("skus", "usages", "prices") for r in REGIONS]
        for key in keys:
            await self.known(key)
        return made

    async def known(self, key: str) -> None:
        """Wait until something is remembered."""

        async def look() -> bool:
            return await self.store.get(key) is not None

        await eventually(look, key)  # type: ignore[arg-type]

    async def close(self) -> None:
        """Close all catalogs."""
        await self._closing.aclose()


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """An endpoint with two regions."""
    async with ArmEndpoint(regions=REGIONS) as endpoint:
        made = Shop(endpoint)
        yield made
        await made.close()


def flavor(catalog: Catalog, name: str = "Standard_D4s_v5") -> Flavor:
    """A flavor by its name."""
    (found,) = [each for each in catalog.flavors() if each.name == name]
    return found


def term(catalog: Catalog, region: str = "westeurope", *, spot: bool = False) -> Terms:
    """The terms of Standard_D4s_v5."""
    terms = flavor(catalog).terms
    (found,) = [each for each in terms if (each.region, each.spot) == (region, spot)]
    return found


# -- what is on offer --------------------------------------------------------------------------


async def test_the_first_answer_is_not_empty(shop: Shop) -> None:
    found = flavor(await shop.open())
    assert (found.cpus, found.memory, found.gpus) == (4, 16384, 0)
    assert found.labels["family"] == "standardDSv5Family" and found.labels["arch"] == "x64"


async def test_a_flavor_has_terms_for_each_region_on_demand_and_spot(shop: Shop) -> None:
    terms = flavor(await shop.full()).terms
    assert [(each.region, each.spot) for each in terms] == [
        ("westeurope", False),
        ("westeurope", True),
        ("northeurope", False),
        ("northeurope", True),
    ]
    assert terms[0].zones == ("1", "2", "3")
    assert all(each.price and each.delay and not each.reason for each in terms)


async def test_prices_are_those_of_azure(shop: Shop) -> None:
    catalog = await shop.full()
    assert term(catalog).price == pytest.approx(0.192)
    spot = term(catalog, spot=True).price
    assert spot is not None and spot < 0.192
    assert flavor(catalog).price == pytest.approx(0.192)
    assert flavor(catalog).currency == "USD"
    assert "list price" not in flavor(catalog).description


async def test_prices_come_in_the_currency_that_is_configured(shop: Shop) -> None:
    catalog = await shop.full(currency="EUR")
    assert flavor(catalog).currency == "EUR"
    assert term(catalog).price == pytest.approx(0.192 * 0.92, abs=1e-5)


async def test_spot_zones_and_regions_can_be_left_out(shop: Shop) -> None:
    catalog = await shop.open(offer_spot=False, use_zones=False, regions=["northeurope"])
    terms = flavor(catalog).terms
    assert [(each.region, each.spot, each.zones) for each in terms] == [("northeurope", False, ())]


async def test_sizes_are_chosen_by_patterns(shop: Shop) -> None:
    catalog = await shop.open(sizes=["standard_d*"], exclude_sizes=["*_v3"])
    names = [each.name for each in catalog.flavors()]
    assert "Standard_D4s_v5" in names
    assert all(name.startswith("Standard_D") and not name.endswith("_v3") for name in names)


async def test_arm_machines_are_offered_only_with_an_image_for_them(shop: Shop) -> None:
    def architectures(catalog: Catalog) -> set[str]:
        return {each.labels["arch"] for each in catalog.flavors()}

    assert architectures(await shop.open()) == {"x64", "Arm64"}
    assert architectures(await shop.open(boot_images={"own": {"urn": "a:b:c:latest"}})) == {"x64"}


async def test_sizes_without_room_for_an_ephemeral_disk_are_not_offered_if_it_must_be_one(
    shop: Shop,
) -> None:
    catalog = await shop.open(disk="ephemeral")
    names = [each.name for each in catalog.flavors()]
    assert "Standard_D4ds_v5" in names and "Standard_D4s_v5" not in names
    assert not any(each.suspendable for each in catalog.flavors())


async def test_flavors_can_sleep_unless_their_disks_are_ephemeral(shop: Shop) -> None:
    assert flavor(await shop.open()).suspendable


async def test_a_size_of_a_restricted_region_is_not_offered_there(shop: Shop) -> None:
    row = shop.arm.sizes.sku("westeurope", "Standard_D4s_v5")
    assert row is not None
    row["restrictions"] = [
        {
            "type": "Location",
            "values": ["westeurope"],
            "restrictionInfo": {"locations": ["westeurope"]},
            "reasonCode": "NotAvailableForSubscription",
        }
    ]
    catalog = await shop.full()
    assert {each.region for each in flavor(catalog).terms} == {"northeurope"}
    known = catalog.size("Standard_D4s_v5", "westeurope")
    assert known is not None and known.restriction


async def test_sizes_are_found_in_any_case(shop: Shop) -> None:
    catalog = await shop.open()
    found = catalog.size("standard_d4S_V5", "WestEurope")
    assert found is not None and found.name == "Standard_D4s_v5"
    assert catalog.size("Standard_X1", "westeurope") is None
    assert catalog.size("Standard_D4s_v5", "atlantis") is None


async def test_the_sizes_of_a_family_share_its_limit(shop: Shop) -> None:
    catalog = await shop.open()
    assert catalog.family_sizes("StandardDSv5family") == {
        "Standard_D2s_v5",
        "Standard_D4s_v5",
        "Standard_D8s_v5",
    }
    assert catalog.family_sizes("none") == frozenset()


async def test_images_are_those_of_the_settings(shop: Shop) -> None:
    catalog = await shop.make(boot_images={"own": {"urn": "a:b:c:latest"}})
    assert [image.name for image in catalog.images()] == ["own"]


# -- limits ------------------------------------------------------------------------------------


async def test_a_size_beyond_the_limits_says_why(shop: Shop) -> None:
    shop.arm.quotas.set("westeurope", "standardDSv5Family", 0)
    catalog = await shop.full()
    assert term(catalog).reason.startswith("quota of standardDSv5Family in westeurope is 0")
    assert term(catalog, spot=True).reason == ""
    assert term(catalog, "northeurope").reason == ""


async def test_limits_are_shown(shop: Shop) -> None:
    shop.arm.quotas.set("westeurope", "standardDSv5Family", 12)
    catalog = await shop.full()
    (use,) = [
        each
        for each in catalog.quotas()
        if (each.name, each.region) == ("standardDSv5Family", "westeurope")
    ]
    assert (use.used, use.limit, use.unit) == (0, 12, "vCPUs")


async def test_a_note_makes_the_limits_be_read_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUOTA_LEAST", 0.01)
    catalog = await shop.full()
    before = catalog.flavors()
    shop.arm.quotas.set("westeurope", "lowPriorityCores", 0)
    catalog.note_quota("westeurope")
    await eventually(lambda: term(catalog, spot=True).reason, "the reason")
    assert catalog.flavors() is not before
    assert term(catalog).reason == ""


# -- memory and outages ------------------------------------------------------------------------


async def test_nothing_new_is_the_same_list(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUOTA_LEAST", 0.01)
    catalog = await shop.full()
    before, asked = catalog.flavors(), shop.arm.calls.count("usages.list")
    catalog.note_quota()
    await eventually(
        lambda: shop.arm.calls.count("usages.list") >= asked + 2, "new looks at the limits"
    )
    assert catalog.flavors() is before


async def test_a_restart_has_everything_at_once_while_azure_is_down(shop: Shop) -> None:
    before = await shop.full()
    expected = before.flavors()
    await before.close()
    await shop.endpoint.down()
    after = await shop.open()
    assert after.flavors() == expected
    assert after.quotas() == before.quotas()
    assert after.size("Standard_D4s_v5", "westeurope") is not None


async def test_a_restart_does_not_ask_again_for_what_is_fresh(shop: Shop) -> None:
    before = await shop.full()
    await before.close()
    shop.arm.calls.clear()
    await shop.open()
    assert shop.arm.calls.count("skus.list") == 0
    assert shop.arm.calls.count("prices.list") == 0


async def test_facts_are_read_again_when_they_are_old(shop: Shop) -> None:
    await shop.full(catalog_interval=1)
    asked = shop.arm.calls.count("skus.list")
    await eventually(lambda: shop.arm.calls.count("skus.list") >= asked + 2, "another look")


async def test_an_outage_changes_nothing(shop: Shop) -> None:
    catalog = await shop.full(catalog_interval=1)
    before = catalog.flavors()
    shop.arm.faults.add(Fault("skus.list", status=500, times=None))
    shop.arm.faults.add(Fault("usages.list", status=500, times=None))
    shop.arm.faults.add(Fault("prices.list", status=404, times=None))
    asked = shop.arm.calls.count("skus.list")
    await eventually(lambda: shop.arm.calls.count("skus.list") >= asked + 4, "failed looks")
    assert catalog.flavors() is before


async def test_one_region_out_of_order_does_not_hurt_the_other(shop: Shop) -> None:
    shop.arm.faults.add(
        Fault(
            "skus.list",
            status=500,
            times=None,
            match=lambda call: "northeurope" in call.option("$filter"),
        )
    )
    catalog = await shop.open()
    assert {each.region for each in flavor(catalog).terms} == {"westeurope"}


async def test_without_prices_the_shipped_list_counts_and_says_so(shop: Shop) -> None:
    shop.arm.faults.add(Fault("prices.list", status=404, times=None))
    catalog = await shop.open()
    assert term(catalog).price is not None
    assert term(catalog, spot=True).price is None
    assert "list price of 2026-06" in flavor(catalog).description


async def test_the_shipped_list_is_not_used_for_other_currencies(shop: Shop) -> None:
    catalog = await shop.open(currency="EUR", prices_url="")
    assert flavor(catalog).price is None
    assert all(each.price is None for each in flavor(catalog).terms)


async def test_prices_in_another_currency_are_forgotten(shop: Shop) -> None:
    before = await shop.full()
    await before.close()
    catalog = await shop.open(currency="EUR", prices_url="")
    assert flavor(catalog).price is None


async def test_a_damaged_memory_counts_as_none(shop: Shop) -> None:
    for key in ("skus/westeurope", "prices/westeurope", "usages/westeurope"):
        await shop.store.put(key, '{"time": 1, "fields": [], "rows": [[]]}')
    assert flavor(await shop.open())


async def test_without_memory_and_azure_the_start_fails_with_advice(shop: Shop) -> None:
    made = await shop.make(patience=0.5)
    await shop.endpoint.down()
    with pytest.raises(GateUnavailable) as caught:
        await made.start()
    assert caught.value.hint
    await shop.endpoint.up()
    await made.start()
    assert made.flavors()


async def test_the_start_does_not_wait_for_ever(shop: Shop) -> None:
    shop.arm.faults.add(Fault("skus.list", when="delay", seconds=30, times=None))
    made = await shop.make(patience=0.2)
    with pytest.raises(GateUnavailable, match=r"within 0\.2 s") as caught:
        await made.start()
    assert shop.endpoint.url in caught.value.hint


async def test_a_refused_credential_is_told_at_the_start(shop: Shop) -> None:
    shop.arm.faults.add(
        Fault("skus.list", code="AuthorizationFailed", status=403, message="no", times=None)
    )
    made = await shop.make()
    with pytest.raises(NotAuthorized):
        await made.start()


async def test_a_region_that_does_not_exist_is_named(shop: Shop) -> None:
    made = await shop.make(regions=["atlantis"])
    with pytest.raises(GateUnavailable, match="'atlantis'") as caught:
        await made.start()
    assert "c.AzureGate.regions" in caught.value.hint


async def test_a_list_of_several_pages_is_read_to_its_end(shop: Shop) -> None:
    shop.arm.sizes.page_size = 3
    catalog = await shop.open()
    names = {row["name"].lower() for row in shop.arm.sizes.virtual_machines("westeurope")}
    missing = {name for name in names if catalog.size(name, "westeurope") is None}
    assert len(names) > 6 and not missing


async def test_closing_ends_all_that_runs(shop: Shop) -> None:
    catalog = await shop.open()
    await catalog.close()
    await catalog.close()
    names = [task.get_name() for task in asyncio.all_tasks()]
    assert not [name for name in names if name.startswith("refresh ")]


# -- size --------------------------------------------------------------------------------------


async def test_thousands_of_sizes_do_not_hold_up_the_loop() -> None:
    regions = ("westeurope", "northeurope", "eastus", "region3", "region4")
    sizes = Sizes.synthetic(2000, 5)
    async with ArmEndpoint(regions=REGIONS) as endpoint:
        shop = Shop(endpoint)
        catalog = await shop.make(regions=list(regions), prices_url="")
        catalog._sizes = {
            region: await asyncio.to_thread(skus.parse_all, sizes.virtual_machines(region), region)
            for region in regions
        }
        gaps = []
        done = asyncio.create_task(catalog._build())
        began = last = time.perf_counter()
        while not done.done():
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now
        took = time.perf_counter() - began
        assert len(catalog.flavors()) == 2000
        assert all(len(each.terms) >= 5 for each in catalog.flavors())
        # Bounds for a machine that is busy with other things, too.
        assert took < 3 and sorted(gaps)[len(gaps) // 2] < 0.05
        await shop.close()
