"""What the API shows of the sites: flavors with what is free, images, quotas, sites."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from skyport_core.inventory import Inventory
from skyport_core.service import ServiceError
from skyport_core.sites import Sites
from skyport_core.store import Store
from skyport_core.wire import FlavorQuery, FlavorView
from skyport_gates.gate import GateUnavailable, NodeHealth, Scope
from tests.core.cloud import CloudGate, LabGate, running_sites
from tests.infra.wait import eventually


@dataclass
class Shop:
    inventory: Inventory
    sites: Sites
    store: Store
    cloud: CloudGate
    lab: LabGate

    async def flavor(self, name: str, region: str = "") -> FlavorView:
        page = await self.inventory.flavors(FlavorQuery(name=name))
        [view] = [view for view in page.flavors if view.region == region]
        return view


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", Fernet.generate_key())
    cloud, lab = CloudGate(), LabGate()
    async with running_sites(cloud, lab) as sites:
        yield Shop(Inventory(store, sites, lambda: None), sites, store, cloud, lab)
    await store.close()


async def test_made_nodes_are_available_without_limit(shop: Shop) -> None:
    view = await shop.flavor("small", "westeurope")
    assert (view.available, view.reason) == (True, "")
    assert (view.capacity, view.available_nodes, view.free_cpus) == (None, None, None)


async def test_fixed_nodes_show_what_is_free(shop: Shop) -> None:
    view = await shop.flavor("bench")
    assert (view.available, view.available_nodes, view.capacity) == (True, 1, 1)
    assert (view.free_cpus, view.free_memory) == (4, 4096)


async def test_fixed_nodes_that_are_drained_are_not_available(shop: Shop) -> None:
    await shop.inventory.set_drain("lab", "n1", True, "disk swap")
    view = await shop.flavor("bench")
    assert (view.available, view.available_nodes, view.free_cpus) == (False, 0, 0)
    assert view.reason == "all its nodes are down or drained"


async def test_fixed_nodes_that_went_down_are_not_available(shop: Shop) -> None:
    shop.lab.node = replace(shop.lab.node, health=NodeHealth.DOWN, reason="no route")

    async def gone() -> bool:
        return not (await shop.flavor("bench")).available

    await eventually(gone, "node down")


async def test_a_blocked_flavor_is_not_available_and_says_why(shop: Shop) -> None:
    shop.sites.block("azure", Scope(None, "westeurope"), "the quota of cores is used up")
    view = await shop.flavor("small", "westeurope")
    assert (view.available, view.reason) == (False, "the quota of cores is used up")
    assert (await shop.flavor("small", "northeurope")).available
    page = await shop.inventory.flavors(FlavorQuery(site="azure", available=True))
    assert [(view.name, view.region) for view in page.flavors] == [("small", "northeurope")]


async def test_a_site_that_is_closed_says_why(shop: Shop) -> None:
    shop.sites.block("azure", Scope(), "The credential has expired")
    [azure] = [site for site in await shop.inventory.sites() if site.name == "azure"]
    assert (azure.available, azure.reason) == (False, "The credential has expired")
    assert (await shop.flavor("gpu", "westeurope")).reason == "The credential has expired"


async def test_pages_follow_each_other(shop: Shop) -> None:
    first = await shop.inventory.flavors(FlavorQuery(limit=3))
    assert (len(first.flavors), first.total) == (3, 4)
    rest = await shop.inventory.flavors(FlavorQuery(limit=3, after=first.next))
    assert (len(rest.flavors), rest.next) == (1, None)


async def test_a_cursor_of_another_query_is_refused(shop: Shop) -> None:
    with pytest.raises(ServiceError, match="after") as caught:
        await shop.inventory.flavors(FlavorQuery(after="nonsense"))
    assert (caught.value.status, caught.value.field) == (422, "after")


async def test_images_of_all_sites(shop: Shop) -> None:
    assert [(image.site, image.name) for image in await shop.inventory.images()] == [
        ("azure", "ubuntu")
    ]


async def test_quotas_of_the_sites_that_know_them(shop: Shop) -> None:
    [quota] = await shop.inventory.quotas()
    assert (quota.site, quota.name, quota.used, quota.limit) == ("azure", "cores", 4, 100)


async def test_quotas_of_a_site_that_does_not_answer_are_left_out(shop: Shop) -> None:
    shop.cloud.trouble = GateUnavailable("no answer")
    assert await shop.inventory.quotas() == []
