"""Who may charge a job to which account, and where it runs then."""

from __future__ import annotations

import pytest

from skyport_core.accounts import UnknownAccount, parse_accounts, sites_of

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
