"""Accounts: who may charge a job to whom, and where such jobs run."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from .identifiers import account_id


@dataclass(frozen=True)
class Account:
    """Whom jobs are charged to. Nobody and nowhere named means everybody and everywhere."""

    users: frozenset[str] = frozenset()
    sites: frozenset[str] = frozenset()


class UnknownAccount(ValueError):
    """There is no such account, or it is not the user's; the message names those that are."""


def parse_accounts(configured: Mapping[str, object]) -> dict[str, Account]:
    """The accounts of the configuration.

    Raises
    ------
    ValueError
        An entry is not of the form ``{"users": [...], "sites": [...]}``.
    """
    return {name: _account(name, value) for name, value in configured.items()}


def _account(name: str, value: object) -> Account:
    if not isinstance(value, Mapping) or value.keys() - {"users", "sites"}:
        raise ValueError(
            f"accounts[{name!r}] must be a dict with the keys users and sites, both lists of names"
        )
    lists = {}
    for key in ("users", "sites"):
        names = value.get(key, ())
        if isinstance(names, str) or not all(isinstance(each, str) for each in names):
            raise ValueError(f"accounts[{name!r}][{key!r}] must be a list of names")
        lists[key] = frozenset(names)
    return Account(**lists)


def sites_of(
    accounts: Mapping[str, Account], name: str, owner: str | None, sites: Collection[str]
) -> frozenset[str]:
    """Where the jobs that are charged to an account run.

    Parameters
    ----------
    accounts : mapping of str to Account
        As configured; empty: each site is an account of its own.
    name : str
        Whom to charge.
    owner : str or None
        Whose job it is; None: it has been found to be allowed before.
    sites : collection of str
        All sites.

    Raises
    ------
    UnknownAccount
        There is no such account, or it is not the owner's.
    """
    known = accounts or {site: Account(sites=frozenset({site})) for site in sites}
    allowed = sorted(each for each, account in known.items() if _may_use(account, owner))
    if name not in allowed:
        choices = f"allowed: {', '.join(allowed)}" if allowed else "there is none for you"
        raise UnknownAccount(f"There is no account {name!r}; {choices}")
    return frozenset(known[name].sites or sites)


def account_at(
    accounts: Mapping[str, Account], site: str, owner: str | None, sites: Collection[str]
) -> str | None:
    """The first account that an owner's jobs at a site can be charged to; None: there is none."""
    if not accounts:
        return site if site in sites else None
    names = (
        name
        for name, account in sorted(accounts.items())
        if site in (account.sites or sites) and _may_use(account, owner)
    )
    return next(names, None)


def account_named(accounts: Mapping[str, Account], given: str, sites: Collection[str]) -> str:
    """The name of an account that is given by its UUID; any other text as it is."""
    names = {account_id(name): name for name in accounts or sites}
    return names.get(given.lower(), given)


def _may_use(account: Account, owner: str | None) -> bool:
    return owner is None or not account.users or owner in account.users
