"""Prices: what Azure's price list says, read from a server; and the list that is shipped."""

from __future__ import annotations

import functools
import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from skyport_gates.azure import pricelist, prices
from skyport_gates.azure.prices import Meters, PriceTable
from skyport_gates.gate import GateUnavailable
from tests.infra.data import AZURE_DATA, needs_azure_data


def meter(size: str = "Standard_D4s_v5", price: float = 0.23, **changes: Any) -> dict[str, Any]:
    """An item of a page."""
    return {
        "currencyCode": "USD",
        "tierMinimumUnits": 0.0,
        "retailPrice": price,
        "armRegionName": "westeurope",
        "effectiveStartDate": "2022-01-01T00:00:00Z",
        "meterName": "D4s v5",
        "productName": "Virtual Machines Dsv5 Series",
        "skuName": "D4s v5",
        "unitOfMeasure": "1 Hour",
        "type": "Consumption",
        "isPrimaryMeterRegion": True,
        "armSkuName": size,
        **changes,
    }


def table(*items: object) -> PriceTable:
    """What follows from items."""
    meters = Meters("westeurope")
    meters.add(list(items))
    return meters.table()


# -- choosing among meters ---------------------------------------------------------------------


def test_a_size_has_a_price_on_demand_and_one_for_spot() -> None:
    spot = meter(price=0.05, skuName="D4s v5 Spot", meterName="D4s v5 Spot")
    assert table(meter(), spot).of("standard_d4s_V5") == (0.23, 0.05)


def test_a_size_without_spot_has_no_spot_price() -> None:
    assert table(meter()).of("Standard_D4s_v5") == (0.23, None)


@pytest.mark.parametrize(
    "other",
    [
        {"productName": "Virtual Machines Dsv5 Series Windows"},
        {"skuName": "D4s v5 Low Priority", "meterName": "D4s v5 Low Priority"},
        {"productName": "Dsv5 Series Cloud Services"},
        {"type": "Reservation"},
        {"type": "DevTestConsumption"},
        {"tierMinimumUnits": 100.0},
        {"unitOfMeasure": "1/Month"},
        {"armRegionName": "eastus"},
        {"currencyCode": "EUR"},
        {"effectiveStartDate": "2999-01-01T00:00:00Z"},
        {"retailPrice": 0},
        {"retailPrice": None},
        {"armSkuName": ""},
    ],
)
def test_other_meters_do_not_count(other: dict[str, Any]) -> None:
    assert table({**meter(), **other}).of("Standard_D4s_v5") == (None, None)
    assert table(meter(), {**meter(price=0.99), **other}).of("Standard_D4s_v5") == (0.23, None)


def test_the_meter_of_the_primary_region_counts() -> None:
    second = meter(price=0.5, isPrimaryMeterRegion=False)
    assert table(meter(), second).of("Standard_D4s_v5")[0] == 0.23
    assert table(second, meter()).of("Standard_D4s_v5")[0] == 0.23


def test_the_newest_price_counts() -> None:
    newer = meter(price=0.2, effectiveStartDate="2024-01-01T00:00:00Z")
    assert table(newer, meter()).of("Standard_D4s_v5")[0] == 0.2


def test_of_equals_the_dearer_one_counts() -> None:
    assert table(meter(price=0.3), meter(price=0.2)).of("Standard_D4s_v5")[0] == 0.3


@given(
    st.lists(st.dictionaries(st.sampled_from(sorted(meter())), st.none() | st.text() | st.floats()))
)
def test_no_item_is_a_crash(items: list[dict[str, Any]]) -> None:
    table(*items, None, 3)


# -- reading pages -----------------------------------------------------------------------------


class Server:
    """A price API: answers are taken from ``script`` one after the other, the last for ever."""

    def __init__(self) -> None:
        self.script: list[Callable[[], web.Response]] = []
        self.asked: list[dict[str, str]] = []
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append(dict(request.query))
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        return step()

    def pages(self, *pages: list[dict[str, Any]]) -> None:
        """Answer with these items, page by page."""
        for number, items in enumerate(pages):
            last = number + 1 == len(pages)
            following = None if last else f"{self.url}?$skip={number + 1}"
            self.script.append(functools.partial(page, items, following))


def page(items: list[dict[str, Any]], following: str | None = None) -> web.Response:
    """A page as Azure makes it."""
    body = {
        "BillingCurrency": "USD",
        "Items": items,
        "NextPageLink": following,
        "Count": len(items),
    }
    return web.json_response(body)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A price API on loopback."""
    made = Server()
    application = web.Application()
    application.router.add_get("/prices", made.answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}/prices"
    yield made
    await runner.cleanup()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession() as made:
        yield made


async def fetch(session: aiohttp.ClientSession, server: Server, **options: Any) -> PriceTable:
    """The prices of westeurope, without patience."""
    options = {"pause": 0.001, **options}
    return await prices.fetch(session, server.url, "westeurope", **options)


async def test_all_pages_are_read(server: Server, session: aiohttp.ClientSession) -> None:
    server.pages([meter("Standard_A")], [meter("Standard_B")], [meter("Standard_C")])
    found = await fetch(session, server)
    assert sorted(found.prices) == ["standard_a", "standard_b", "standard_c"]


async def test_only_machines_of_the_region_are_asked_for(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.pages([meter()])
    await fetch(session, server)
    assert server.asked == [
        {
            "$filter": "serviceName eq 'Virtual Machines' and armRegionName eq 'westeurope' "
            "and priceType eq 'Consumption'"
        }
    ]


async def test_another_currency_is_asked_for(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.pages([meter(currencyCode="EUR", price=0.2)])
    found = await fetch(session, server, currency="EUR")
    assert server.asked[0]["currencyCode"] == "'EUR'"
    assert (found.currency, found.of("Standard_D4s_v5")) == ("EUR", (0.2, None))


async def test_a_page_that_fails_is_asked_for_again(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.script = [
        lambda: web.Response(status=503),
        lambda: web.Response(text="<html>"),
        lambda: web.Response(status=429, headers={"Retry-After": "0"}),
    ]
    server.pages([meter()])
    assert (await fetch(session, server)).prices
    assert len(server.asked) == 4


async def test_the_server_says_how_long_to_wait(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.script = [lambda: web.Response(status=429, headers={"Retry-After": "30"})]
    server.pages([meter()])
    with pytest.raises(GateUnavailable, match="not all pages came within"):
        await fetch(session, server, deadline=0.3)
    assert len(server.asked) == 1


async def test_a_list_that_breaks_off_is_no_list(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.script = [
        lambda: page([meter()], f"{server.url}?$skip=1"),
        lambda: web.Response(status=404),
    ]
    with pytest.raises(GateUnavailable, match="404"):
        await fetch(session, server)


async def test_a_list_without_end_is_no_list(
    server: Server, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "MAX_PAGES", 5)
    server.script = [lambda: page([meter()], server.url)]
    with pytest.raises(GateUnavailable, match="more than 5 pages"):
        await fetch(session, server)


async def test_pages_are_taken_from_one_server_only(
    server: Server, session: aiohttp.ClientSession
) -> None:
    server.script = [lambda: page([meter()], "http://127.0.0.1:1/prices")]
    with pytest.raises(GateUnavailable, match="another server"):
        await fetch(session, server)


async def test_an_empty_list_is_no_list(server: Server, session: aiohttp.ClientSession) -> None:
    server.pages([])
    with pytest.raises(GateUnavailable, match="empty"):
        await fetch(session, server)


async def test_a_page_without_measure_is_refused(
    server: Server, session: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prices, "MAX_PAGE", 1000)
    monkeypatch.setattr(prices, "ATTEMPTS", 1)
    server.script = [lambda: page([meter() for _ in range(100)])]
    with pytest.raises(GateUnavailable, match="more than 1000 bytes"):
        await fetch(session, server)


# -- the shipped list --------------------------------------------------------------------------


def test_the_shipped_list_is_small_and_covers_the_world() -> None:
    assert pricelist.SHIPPED.stat().st_size < 150_000
    document = json.loads(gzip.decompress(pricelist.SHIPPED.read_bytes()))
    assert len(document["regions"]) > 50
    assert len(document["sizes"]) > 1000


def test_the_shipped_list_says_of_when_it_is() -> None:
    found = pricelist.shipped(["westeurope"])["westeurope"]
    regular, spot = found.of("Standard_D4s_v5")
    assert regular is not None and 0.1 < regular < 0.5
    assert spot is None
    assert found.remark == "list price of 2026-06"


def test_the_shipped_list_is_of_no_use_in_other_currencies_and_unknown_regions() -> None:
    assert pricelist.shipped(["westeurope"], "EUR") == {}
    assert pricelist.shipped(["atlantis"]) == {}


@needs_azure_data
def test_the_shipped_list_is_what_azure_said() -> None:
    path = AZURE_DATA / "azure_ondemand_prices_2026-06-18.json.gz"
    known = json.loads(gzip.decompress(path.read_bytes()))["prices"]
    shipped = pricelist.shipped(known)
    for region, sizes in known.items():
        for size in ("Standard_D2s_v5", "Standard_B1s", "Standard_NC4as_T4_v3"):
            assert shipped[region].of(size)[0] == pytest.approx(sizes.get(size), abs=1e-5)


async def test_a_list_made_of_what_the_server_says_can_be_read_again(
    server: Server,
    session: aiohttp.ClientSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.pages([meter(), meter("Standard_D4_Promo"), meter("Dsv5_Type1")])
    path = tmp_path / "prices.json.gz"
    await pricelist.export(session, server.url, ["westeurope"], path, "2027-02-03")
    monkeypatch.setattr(pricelist, "SHIPPED", path)
    found = pricelist.shipped(["westeurope"])["westeurope"]
    assert (dict(found.prices), found.remark) == (
        {"standard_d4s_v5": (0.23, None)},
        "list price of 2027-02",
    )


def test_the_same_prices_make_the_same_file() -> None:
    tables = [PriceTable("westeurope", prices={"standard_d4s_v5": (0.23, 0.05)})]
    assert pricelist.pack(tables, "2026-06-18") == pricelist.pack(tables, "2026-06-18")
