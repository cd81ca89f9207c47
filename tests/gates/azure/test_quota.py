"""Limits of the subscription, and which sizes they leave no room for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyport_gates.azure.quota import Quotas, parse
from skyport_gates.azure.skus import Size
from tests.infra.data import AZURE_DATA, needs_azure_data

D4S = Size("Standard_D4s_v5", "westeurope", family="standardDSv5Family", cpus=4, cores=4)


def usage(name: str, used: Any, limit: Any) -> dict[str, Any]:
    """A row as Azure lists it."""
    words = {"value": name, "localizedValue": f"Total {name}"}
    return {"unit": "Count", "currentValue": used, "limit": limit, "name": words}


def quotas(**limits: tuple[int, int]) -> Quotas:
    """Limits by name, as ``(used, limit)``."""
    rows = [usage(name, used, limit) for name, (used, limit) in limits.items()]
    return parse(rows, "westeurope")


def test_a_quota_of_zero_says_where_to_ask_for_more() -> None:
    reason = quotas(standardDSv5Family=(0, 0)).lack(D4S, spot=False)
    assert reason == ("quota of standardDSv5Family in westeurope is 0: ask for more in the portal")


def test_a_quota_below_the_size_says_so() -> None:
    reason = quotas(cores=(0, 2)).lack(D4S, spot=False)
    assert reason.startswith("quota of cores in westeurope is 2, less than the 4 of this size")


def test_a_quota_that_is_used_up_says_what_is_left() -> None:
    reason = quotas(standardDSv5Family=(98, 100)).lack(D4S, spot=False)
    assert reason == "quota of standardDSv5Family in westeurope is used up: 2 of 100 left, 4 needed"


def test_a_quota_with_room_is_no_obstacle() -> None:
    limits = quotas(standardDSv5Family=(96, 100), cores=(96, 100), virtualMachines=(9, 10))
    assert limits.lack(D4S, spot=False) == ""


def test_the_number_of_machines_is_limited_too() -> None:
    assert "virtualMachines" in quotas(virtualMachines=(10, 10)).lack(D4S, spot=False)
    assert "virtualMachines" in quotas(virtualMachines=(10, 10)).lack(D4S, spot=True)


def test_spot_machines_have_a_limit_of_their_own() -> None:
    limits = quotas(standardDSv5Family=(0, 0), cores=(0, 0), lowPriorityCores=(0, 100))
    assert limits.lack(D4S, spot=True) == ""
    assert "lowPriorityCores" in quotas(lowPriorityCores=(97, 100)).lack(D4S, spot=True)


def test_what_is_not_known_is_no_obstacle() -> None:
    assert Quotas("westeurope").lack(D4S, spot=False) == ""
    assert quotas(otherFamily=(0, 0)).lack(D4S, spot=True) == ""


def test_names_of_families_count_in_any_case() -> None:
    assert quotas(StandardDSV5Family=(0, 0)).lack(D4S, spot=False)


def test_a_limit_that_was_lowered_below_its_use_leaves_nothing() -> None:
    assert "0 of 10 left" in quotas(cores=(16, 10)).lack(D4S, spot=False)


def test_shown_are_the_general_limits_and_those_of_offered_families() -> None:
    limits = quotas(cores=(4, 10), standardDSv5Family=(4, 8), otherFamily=(0, 0), images=(0, 5))
    shown = limits.uses(["standarddsv5family"])
    assert [(use.name, use.used, use.limit, use.unit) for use in shown] == [
        ("cores", 4, 10, "vCPUs"),
        ("standardDSv5Family", 4, 8, "vCPUs"),
    ]
    assert (shown[0].region, shown[0].description) == ("westeurope", "Total cores")


@pytest.mark.parametrize(
    "row", [None, {}, usage("", 1, 2), usage("cores", None, 2), usage("cores", "1", "2")]
)
def test_a_row_without_sense_is_left_out(row: object) -> None:
    assert not parse([row], "westeurope").limits


@given(st.lists(st.dictionaries(st.sampled_from(["name", "limit", "unit"]), st.integers())))
def test_no_rows_are_a_crash(rows: list[dict[str, int]]) -> None:
    assert not parse(rows, "westeurope").limits


@needs_azure_data
def test_a_recorded_list_is_understood() -> None:
    rows = json.loads((AZURE_DATA / "compute_usages_recorded.json").read_text())["value"]
    limits = parse(rows, "westeurope").limits
    assert len(limits) == len(rows)
    assert (limits["cores"].used, limits["cores"].limit) == (17, 100)
