"""What Azure refuses: the core gets a typed error, at once or through the failed partition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from skyport_gates.gate import (
    ConfigurationError,
    GateError,
    GateUnavailable,
    InvalidRequest,
    NoCapacity,
    NotAuthorized,
    PartitionNotFound,
    PartitionStatus,
    QuotaExceeded,
    Scope,
    Throttled,
)
from tests.gates.azure.site import REGION, SIZE, Core, Site
from tests.infra.arm import presets
from tests.infra.arm.backends.null import NullBackend
from tests.infra.arm.faults import Fault

FAILED = PartitionStatus.FAILED
HOUR = 3600.0


async def refused(site: Site, fault: Fault, **fields: Any) -> GateError:
    """What create() raises."""
    site.arm.faults.add(fault)
    with pytest.raises(GateError) as caught:
        await site.gate.create(site.request(**fields))
    return caught.value


async def failed(site: Site, fault: Fault, **fields: Any) -> GateError:
    """What a partition fails with whose creation was accepted."""
    site.arm.faults.add(fault)
    await site.gate.create(site.request(**fields))
    error = (await site.is_(FAILED)).error
    assert error is not None
    return error


async def test_a_size_that_is_short_is_blocked_in_its_region(azure: Site) -> None:
    error = await refused(azure, presets.sku_not_available())
    assert isinstance(error, NoCapacity)
    assert error.scope == Scope(frozenset({SIZE}), REGION, None, False)
    assert error.retry_after == HOUR


async def test_a_spot_size_that_is_not_to_be_had_is_tried_again_sooner(azure: Site) -> None:
    error = await refused(azure, presets.sku_not_available(), spot=True)
    assert isinstance(error, NoCapacity)
    assert error.scope == Scope(frozenset({SIZE}), REGION, None, True)
    assert error.retry_after == HOUR


async def test_a_refused_partition_leaves_nothing(azure: Site) -> None:
    await refused(azure, presets.sku_not_available())
    with pytest.raises(PartitionNotFound):
        await azure.gate.get("sp-1")
    assert await azure.gate.list() == []
    assert not [key for key in await azure.core.store.items() if "sp-1" in key]


async def test_the_same_partition_can_be_asked_for_again_after_a_refusal(azure: Site) -> None:
    await refused(azure, presets.sku_not_available())
    await azure.ready()


@pytest.mark.parametrize(
    ("family", "spot"), [("standardDSv5Family", False), ("lowPriorityCores", True)]
)
async def test_a_quota_that_is_used_up_is_tried_again_soon(
    azure: Site, family: str, spot: bool
) -> None:
    error = await refused(azure, presets.quota(family), spot=spot)
    assert isinstance(error, QuotaExceeded)
    assert error.retry_after == 60
    assert error.scope is not None
    assert (error.scope.region, error.scope.zone, error.scope.spot) == (REGION, None, spot)


async def test_a_quota_of_nothing_for_a_family_blocks_the_sizes_of_the_family(azure: Site) -> None:
    fault = presets.quota("standardDSv5Family")
    fault.message = fault.message.replace("Limit: 10,", "Limit: 0,")
    error = await refused(azure, fault)
    assert isinstance(error, QuotaExceeded)
    assert error.scope is not None
    assert error.scope.flavors is not None
    assert {SIZE, "Standard_D4s_v5", "Standard_D8s_v5"} <= error.scope.flavors
    assert "Standard_E4s_v5" not in error.scope.flavors


async def test_no_room_in_a_zone_is_found_out_by_the_operation(azure: Site) -> None:
    error = await failed(azure, presets.zonal_allocation_failed(), zone="2")
    assert isinstance(error, NoCapacity)
    assert error.scope == Scope(frozenset({SIZE}), REGION, "2", None)
    assert error.retry_after == HOUR


@pytest.mark.parametrize("make", [presets.allocation_failed, presets.overconstrained])
async def test_no_room_in_the_region_is_found_out_by_the_operation(
    azure: Site, make: Callable[[], Fault]
) -> None:
    error = await failed(azure, make())
    assert isinstance(error, NoCapacity)
    assert error.scope == Scope(frozenset({SIZE}), REGION, None, None)


async def test_a_failed_partition_is_removed_with_all_that_was_made(azure: Site) -> None:
    await failed(azure, presets.allocation_failed())
    assert azure.arm.leftovers()
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_a_boot_that_fails_after_ready_is_told(azure: Site) -> None:
    backend = azure.arm.backend
    assert isinstance(backend, NullBackend)
    backend.hold()
    backend.fail_boot("sp-1")
    await azure.gate.create(azure.request())
    await azure.is_(PartitionStatus.READY)
    backend.release()
    error = (await azure.is_(FAILED)).error
    assert error is not None
    assert "did not come up" in error.message


async def test_throttling_is_passed_on_with_its_time_and_not_slept_through(azure: Site) -> None:
    error = await refused(azure, presets.throttled(17))
    assert isinstance(error, Throttled)
    assert error.retry_after == 17
    assert azure.arm.calls.count("virtualMachines.put") == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_fault_of_azure_is_worth_another_try(azure: Site, status: int) -> None:
    assert isinstance(await refused(azure, presets.server_error(status)), GateUnavailable)
    assert azure.arm.calls.count("virtualMachines.put") == 1
    await azure.ready()


async def test_a_page_of_html_is_no_answer(azure: Site) -> None:
    assert isinstance(await refused(azure, presets.proxy_page()), GateUnavailable)


async def test_a_lacking_right_is_for_an_admin(azure: Site) -> None:
    error = await refused(azure, presets.not_authorized())
    assert isinstance(error, NotAuthorized)
    assert "skyport-core azure setup" in error.hint


async def test_a_policy_decides_about_the_request(azure: Site) -> None:
    assert isinstance(await refused(azure, presets.disallowed_by_policy()), InvalidRequest)


async def test_a_disabled_subscription_is_for_an_admin(azure: Site) -> None:
    assert isinstance(await refused(azure, presets.subscription_disabled()), NotAuthorized)


async def test_a_lock_on_the_group_is_told_at_the_removal(azure: Site) -> None:
    await azure.ready()
    azure.arm.faults.add(presets.locked(times=None))
    with pytest.raises(ConfigurationError, match="locked"):
        await azure.gate.delete("sp-1")
    azure.arm.faults.clear()
    await azure.gate.delete("sp-1")
    await azure.gone()


async def test_a_missing_group_says_how_to_make_it(azure: Site) -> None:
    azure.arm.resources.delete(azure.arm.group_id("skyport"))
    with pytest.raises(ConfigurationError) as caught:
        await azure.gate.create(azure.request())
    assert "skyport-core azure setup" in caught.value.hint


async def test_a_missing_subnet_says_how_to_make_it(bare: Site) -> None:
    subnet = bare.arm.id("skyport", "Microsoft.Network/virtualNetworks", "none") + "/subnets/nodes"
    await bare.start(subnets={REGION: subnet})
    with pytest.raises(ConfigurationError) as caught:
        await bare.gate.create(bare.request())
    assert "skyport-core azure setup" in caught.value.hint


async def test_an_unknown_image_is_an_invalid_request(azure: Site) -> None:
    with pytest.raises(InvalidRequest, match="no image"):
        await azure.gate.create(azure.request(image="windows-95"))
    assert azure.arm.calls.count("virtualMachines.put") == 0


async def test_a_login_that_machines_cannot_have_is_an_invalid_request(azure: Site) -> None:
    with pytest.raises(InvalidRequest):
        await azure.gate.create(azure.request(username="root"))
    assert azure.arm.leftovers() == []


async def test_a_refusal_of_one_node_leaves_the_others_to_be_removed(azure: Site) -> None:
    azure.arm.faults.add(presets.sku_not_available(match=presets.of_name("sp-1-1")))
    with pytest.raises(NoCapacity):
        await azure.gate.create(azure.request(count=2))
    await azure.gate.delete("sp-1")
    await azure.gone()
    assert azure.arm.leftovers() == []


async def test_a_failure_that_nobody_watched_is_found_by_a_look(azure: Site) -> None:
    azure.arm.faults.add(presets.allocation_failed())
    azure.arm.faults.add(presets.operation_lost(times=None))
    await azure.gate.create(azure.request())
    error = (await azure.is_(FAILED)).error
    assert isinstance(error, NoCapacity)


async def test_another_core_of_the_same_name_finds_out_what_failed(azure: Site) -> None:
    await failed(azure, presets.zonal_allocation_failed(), zone="1")
    await azure.start(core=Core(azure.home))
    (listed,) = await azure.gate.list()
    assert listed.name == "sp-1"
