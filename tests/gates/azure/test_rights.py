"""Which rights the core needs, and which of them it lacks."""

from __future__ import annotations

from skyport_gates.azure.rights import CATALOG, MACHINES, allowed, missing, needed
from skyport_gates.azure.settings import AzureSettings

SCOPE = "/subscriptions/0a1b2c3d-0000-0000-0000-000000000000/resourceGroups/skyport"
READ = "Microsoft.Compute/virtualMachines/read"
WRITE = "Microsoft.Compute/virtualMachines/write"


def test_a_star_allows_what_it_covers_in_any_case() -> None:
    assert allowed(READ, [{"actions": ["microsoft.compute/*/READ"]}])
    assert not allowed(WRITE, [{"actions": ["Microsoft.Compute/*/read"]}])


def test_what_one_role_excludes_another_may_allow() -> None:
    without = {"actions": ["*"], "notActions": ["Microsoft.Compute/*"]}
    assert not allowed(READ, [without])
    assert allowed(READ, [without, {"actions": [READ]}])


def test_missing_rights_are_named_one_by_one() -> None:
    assert missing([READ, WRITE], [{"actions": [READ], "notActions": []}]) == [WRITE]


def test_rights_of_options_that_are_off_are_not_needed() -> None:
    plain, public = (needed(AzureSettings(public_ip=choice)) for choice in (False, True))
    assert set(public) - set(plain) == {
        action for action in MACHINES.actions if "publicIPAddresses" in action
    }


def test_role_names_differ_between_groups_and_subscriptions() -> None:
    other = SCOPE.replace("0a1b", "ffff")
    names = {MACHINES.name(SCOPE), MACHINES.name(f"{SCOPE}2"), MACHINES.name(other)}
    assert len(names) == 3
    assert (
        CATALOG.name(SCOPE.partition("/resourceGroups")[0]) == "Sky Port core, catalog (0a1b2c3d)"
    )


def test_a_role_keeps_its_id_however_its_scope_is_written() -> None:
    again = MACHINES.id(SCOPE.replace("resourceGroups", "resourcegroups"))
    assert again == MACHINES.id(SCOPE)
