"""Who may charge a job to which account, and where it runs then."""

from __future__ import annotations

import pytest

from skyport_core.accounts import (
    UnknownAccount,
    account_at,
    account_named,
    parse_accounts,
    sites_of,
)
from skyport_core.identifiers import account_id

SITES = ("azure", "lab")
ACCOUNTS = parse_accounts({"bio": {"users": ["ann"], "sites": ["azure"]}, "all": {}})


def test_without_accounts_each_site_is_one() -> None:
    assert sites_of({}, "lab", "ann", SITES) == {"lab"}


def test_an_account_leads_to_its_sites() -> None:
    assert sites_of(ACCOUNTS, "bio", "ann", SITES) == {"azure"}
    assert sites_of(ACCOUNTS, "all", "bob", SITES) == set(SITES)


@pytest.mark.parametrize("name", ["bio", "lab"])
def test_what_is_not_allowed_names_what_is(name: str) -> None:
    with pytest.raises(UnknownAccount, match=f"no account '{name}'; allowed: all"):
        sites_of(ACCOUNTS, name, "bob", SITES)


@pytest.mark.parametrize("value", [["ann"], {"user": []}, {"users": "ann"}, {"sites": [1]}])
def test_a_malformed_account_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"accounts\['bio'\]"):
        parse_accounts({"bio": value})


def test_an_account_may_be_given_by_its_uuid() -> None:
    assert account_named(ACCOUNTS, account_id("bio").upper(), SITES) == "bio"
    assert account_named({}, account_id("lab"), SITES) == "lab"
    assert account_named(ACCOUNTS, "chemistry", SITES) == "chemistry"


def test_a_site_has_the_first_account_that_its_user_may_charge_there() -> None:
    assert account_at(ACCOUNTS, "azure", "ann", SITES) == "all"
    assert account_at(ACCOUNTS, "lab", "bob", SITES) == "all"
    assert account_at(parse_accounts({"bio": {"sites": ["azure"]}}), "lab", "bob", SITES) is None
    assert account_at({}, "lab", "bob", SITES) == "lab"
