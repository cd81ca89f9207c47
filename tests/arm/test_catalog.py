"""What the endpoint offers: sizes, usages, prices, images."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.infra.arm.catalog import Catalog
from tests.infra.arm.clients import Clients, vm_request
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.odata import FilterError, compile_filter
from tests.infra.arm.prices import Prices
from tests.infra.arm.raw import RawClient
from tests.infra.arm.sizes import SIZES, capability
from tests.infra.data import AZURE_DATA, needs_azure_data

ON_DEMAND = (
    "serviceName eq 'Virtual Machines' and priceType eq 'Consumption'"
    " and armRegionName eq 'westeurope'"
)


async def prices(endpoint: ArmEndpoint, **query: str) -> list[dict[str, Any]]:
    """All rows of a question, by its pages."""
    url: str | None = f"{endpoint.url}/api/retail/prices"
    params: dict[str, str] | None = {f"${k}" if k == "filter" else k: v for k, v in query.items()}
    found: list[dict[str, Any]] = []
    async with aiohttp.ClientSession() as session:
        while url:
            async with session.get(url, params=params, ssl=False) as response:
                assert response.status == 200, await response.text()
                body = await response.json()
            assert body["Count"] == len(body["Items"]) <= 1000
            found += body["Items"]
            url, params = body["NextPageLink"], None
    return found


def plain(row: dict[str, Any]) -> bool:
    """Whether a row is the price of a Linux machine on demand."""
    kinds = ("Spot", "Low Priority")
    products = ("Windows", "Cloud Services")
    return not any(row["skuName"].endswith(kind) for kind in kinds) and not any(
        each in row["productName"] for each in products
    )


async def test_sizes_of_a_region_are_listed(sdk: Clients):
    rows = [each async for each in sdk.compute.resource_skus.list(filter="location eq 'eastus'")]
    machines = [each.name for each in rows if each.resource_type == "virtualMachines"]
    assert "Standard_NC24ads_A100_v4" in machines
    assert "Standard_HB120rs_v3" not in machines
    assert {each.resource_type for each in rows} > {"virtualMachines", "disks"}


async def test_sizes_of_all_regions_are_listed_without_a_filter(sdk: Clients):
    rows = [each async for each in sdk.compute.resource_skus.list()]
    assert {each.locations[0] for each in rows if each.locations} == set(sdk.arm.regions)


async def test_long_lists_of_sizes_come_in_pages(sdk: Clients):
    sdk.arm.sizes.page_size = 5
    rows = [each async for each in sdk.compute.resource_skus.list(filter="location eq 'eastus'")]
    names = [each.name for each in rows]
    assert names == [row["name"] for row in sdk.arm.sizes.of("eastus")]
    assert sdk.arm.calls.count("skus.list") == 1 + (len(names) - 1) // 5


async def test_another_filter_of_sizes_is_refused(raw: RawClient):
    path = f"/subscriptions/{raw.endpoint.subscription}/providers/Microsoft.Compute/skus"
    reply = await raw("GET", path, **{"$filter": "name eq 'a'"})
    assert (reply.status, reply.code) == (400, "InvalidFilterInQueryString")


def test_the_built_in_sizes_cover_what_clients_must_tell_apart():
    catalog = Catalog.built_in(("westeurope",))
    rows = catalog.virtual_machines("westeurope")
    assert len(rows) >= 14

    def some(name: str, value: str) -> bool:
        return any(capability(row, name) == value for row in rows)

    for name in ("LowPriorityCapable", "EphemeralOSDiskSupported", "PremiumIO", "RdmaEnabled"):
        assert some(name, "True"), name
        assert some(name, "False"), name
    assert some("GPUs", "1")
    assert some("CpuArchitectureType", "Arm64")
    assert some("HibernationSupported", "True")
    assert some("TrustedLaunchDisabled", "True")
    kinds = {each["type"] for row in rows for each in row["restrictions"]}
    assert kinds == {"Location", "Zone"}
    assert any(not row["locationInfo"][0]["zones"] for row in rows)


@needs_azure_data
def test_the_recorded_catalog_is_whole():
    catalog = Catalog.recorded(AZURE_DATA)
    machines = [row for row in catalog.rows if row["resourceType"] == "virtualMachines"]
    assert len(machines) == 9051
    row = catalog.sku("EastUS", "standard_d2s_v3")
    assert row is not None
    assert catalog.price(row) == 0.096


def test_a_large_catalog_can_be_invented():
    catalog = Catalog.synthetic(2000, 2)
    assert len(catalog.regions) == 2
    assert len({row["name"] for row in catalog.virtual_machines("westeurope")}) == 2000
    assert len({row["family"] for row in catalog.virtual_machines("westeurope")}) == 200


async def test_usages_follow_what_runs(sdk: Clients):
    async def used(name: str) -> int:
        counters = [each async for each in sdk.compute.usage.list("westeurope")]
        return next(each.current_value for each in counters if each.name.value == name)

    await sdk.create("one", vm_request(sdk.arm, "one", size="Standard_D4s_v5"))
    assert await used("cores") == 4
    assert await used("standardDSv5Family") == 4
    assert await used("standardESv5Family") == 0
    await sdk.delete("one")
    assert await used("cores") == 0


async def test_usages_of_a_region_that_is_none_are_refused(sdk: Clients):
    with pytest.raises(HttpResponseError, match="NoRegisteredProviderFound"):
        assert [each async for each in sdk.compute.usage.list("atlantis")]


async def test_prices_need_no_token_and_come_in_pages():
    catalog = Catalog.synthetic(150, 3)
    async with ArmEndpoint(sizes=catalog) as endpoint:
        rows = await prices(endpoint, filter="serviceName eq 'Virtual Machines'")
    assert len(rows) == len(Prices(catalog).rows()) > 3000
    assert len({row["meterId"] for row in rows}) == len(rows)


async def test_the_price_on_demand_stands_among_others(endpoint: ArmEndpoint):
    rows = await prices(endpoint, filter=f"{ON_DEMAND} and armSkuName eq 'Standard_D4s_v5'")
    assert [row["retailPrice"] for row in rows if plain(row)] == [0.192]
    assert any("Windows" in row["productName"] for row in rows)
    assert any(row["skuName"].endswith("Low Priority") for row in rows)


async def test_every_size_has_a_price(endpoint: ArmEndpoint):
    rows = await prices(endpoint, filter=ON_DEMAND)
    found = {row["armSkuName"]: row["retailPrice"] for row in rows if plain(row)}
    assert found == {
        size.name: size.price for size in SIZES if not size.regions or "westeurope" in size.regions
    }


async def test_spot_prices_stand_only_where_spot_is_sold(endpoint: ArmEndpoint):
    rows = await prices(endpoint, filter=f"{ON_DEMAND} and contains(skuName, 'Spot')")
    linux = {row["armSkuName"] for row in rows if "Windows" not in row["productName"]}
    assert "Standard_B2s" not in linux
    assert linux == {size.name for size in SIZES if size.spot}


async def test_reservations_are_told_apart_by_their_type(endpoint: ArmEndpoint):
    rows = await prices(
        endpoint, filter="armSkuName eq 'Standard_D2s_v5' and type eq 'Reservation'"
    )
    assert {row["reservationTerm"] for row in rows} == {"1 Year", "3 Years"}


async def test_prices_come_in_other_currencies(endpoint: ArmEndpoint):
    wanted = f"{ON_DEMAND} and armSkuName eq 'Standard_D2s_v5'"
    (euros,) = filter(plain, await prices(endpoint, filter=wanted, currencyCode="'EUR'"))
    assert euros["currencyCode"] == "EUR"
    assert euros["retailPrice"] == round(0.096 * 0.92, 6)


@pytest.mark.parametrize("query", [{"$filter": "nonsense"}, {"currencyCode": "XXX"}])
async def test_a_question_for_prices_that_is_not_understood_is_refused(
    endpoint: ArmEndpoint, query: dict[str, str]
):
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{endpoint.url}/api/retail/prices", params=query, ssl=False) as response,
    ):
        assert response.status == 400
        assert (await response.json())["Error"]["Code"] == "BadRequest"


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("a eq 'x'", True),
        ("a eq 'X'", False),
        ("a ne 'y' and b eq 'it''s'", True),
        ("a eq 'y' or contains(b, 't''s')", True),
        ("(a eq 'y' or a eq 'x') and startswith(b, 'it')", True),
        ("a eq 'y' or a eq 'x' and n gt 5", False),
        ("not endswith(a, 'x')", False),
        ("missing ne 'x'", False),
        ("", True),
    ],
)
def test_filters_are_understood(text: str, passes: bool):
    assert compile_filter(text)({"a": "x", "b": "it's", "n": 3}) is passes


@pytest.mark.parametrize("text", ["a", "a eq", "a is 'x'", "a eq 'x' b", "(a eq 'x'", "a eq ?"])
def test_other_filters_are_errors(text: str):
    with pytest.raises(FilterError):
        compile_filter(text)


async def test_the_marketplace_is_walked_from_publisher_to_version(sdk: Clients):
    images = sdk.compute.virtual_machine_images
    assert "Canonical" in [each.name for each in await images.list_publishers("westeurope")]
    offers = await images.list_offers("westeurope", "Canonical")
    assert "ubuntu-24_04-lts" in [each.name for each in offers]
    skus = await images.list_skus("westeurope", "Canonical", "ubuntu-24_04-lts")
    assert [each.name for each in skus] == ["server", "server-arm64", "server-gen1"]
    where = ("westeurope", "Canonical", "ubuntu-24_04-lts", "server")
    newest = await images.list(*where, top=1, orderby="name desc")
    assert [each.name for each in newest] == ["24.04.202509030"]
    version = await images.get(*where, newest[0].name)
    assert (version.architecture, version.hyper_v_generation) == ("x64", "V2")


async def test_an_image_of_the_marketplace_that_is_none_is_not_found(sdk: Clients):
    images = sdk.compute.virtual_machine_images
    with pytest.raises(ResourceNotFoundError, match="VMImage was not found"):
        await images.list_skus("westeurope", "Canonical", "windows")
    with pytest.raises(ResourceNotFoundError, match="VMImage was not found"):
        await images.get("westeurope", "Debian", "debian-12", "12", "9.9.9")


async def test_a_machine_of_an_image_that_is_none_is_refused(sdk: Clients):
    reference = {"publisher": "Canonical", "offer": "none", "sku": "none", "version": "latest"}
    body = vm_request(sdk.arm, "one", storageProfile={"imageReference": reference})
    with pytest.raises(ResourceNotFoundError) as caught:
        await sdk.create("one", body)
    assert caught.value.error is not None
    assert caught.value.error.code == "PlatformImageNotFound"
    assert caught.value.error.target == "imageReference"


async def test_an_image_of_a_gallery_boots(sdk: Clients, raw: RawClient):
    stem = sdk.arm.id("skyport", "Microsoft.Compute/galleries", "lab")
    facts = {"osType": "Linux", "hyperVGeneration": "V2", "architecture": "x64"}
    body: dict[str, Any] = {"location": "westeurope", "properties": facts}
    for path in (stem, f"{stem}/images/jupyter", f"{stem}/images/jupyter/versions/1.2.0"):
        assert (await raw("PUT", path, body)).status == 201
    found = await sdk.compute.gallery_image_versions.get("skyport", "lab", "jupyter", "1.2.0")
    reference = {"id": found.id, "publisher": None, "offer": None, "sku": None, "version": None}
    vm = await sdk.create(
        "one", vm_request(sdk.arm, "one", storageProfile={"imageReference": reference})
    )
    assert vm.provisioning_state == "Succeeded"
