"""``skyport-core azure``: prepare a subscription, check a site, and keep the shipped prices new."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, cast

from azure.core.exceptions import AzureError
from traitlets import Bool, Enum, List, TraitError, Unicode, validate

from ..command import CommandError, GateCommand
from ..gate import GateError
from . import network as net
from .admin import AdminClients
from .check import Check
from .errors import translate
from .findings import Finding
from .gate import AzureGate
from .pricelist import export, shipped_regions
from .setup import Setup, Standing, Step, Wishes

_CALLED = {
    "subscription": "AzureGate.subscription",
    "resource-group": "AzureGate.resource_group",
    "region": "AzureGate.regions",
    "credential": "AzureGate.credential",
    "tenant-id": "AzureGate.tenant_id",
    "client-id": "AzureGate.client_id",
}
"""Options of the gate that have short names on the command line."""

NOWHERE = "none"
"""In place of the core's address: nothing comes in from outside the virtual network."""

_MARKS = {"ok": "✓", "warning": "!", "error": "✗"}


class AzureSiteCommand(GateCommand):
    """What the commands have in common."""

    gate_class = AzureGate
    classes = [AzureGate]

    aliases = {**GateCommand.aliases, **_CALLED}

    def settings(self) -> AzureGate:
        """The site's options. Raises CommandError for those that cannot work."""
        settings = cast(AzureGate, self.make_gate())
        try:
            settings.check()
        except GateError as error:
            raise CommandError(f"{error.message}\n{error.hint}") from None
        return settings


class SetupCommand(AzureSiteCommand):
    """``skyport-core azure setup``."""

    name = "skyport-core azure setup"
    description = """
    Make what an Azure site stands on: the resource group, in each region a virtual network with a
    subnet, its security group and maybe a NAT gateway, and the roles that the core needs.

    Shows its plan and asks first. What exists is left as it is; where it is not as wanted, that is
    said. To be run by an administrator, for instance after "az login" with --credential=default.
    """
    examples = """
    skyport-core azure setup --dry-run
    skyport-core azure setup --credential=default --core-address=10.0.0.4/32 --nat \\
        --principal=OBJECT-ID
    """

    core_address = List(
        Unicode(),
        help="""
        Address of the core (CIDR) from which SSH is let in; may be given several times. "none":
        nothing is let in from outside the virtual network. Left out: SSH is let in from everywhere
        in the virtual network and in those joined to it, and an existing rule stays as it is.
        """,
    ).tag(config=True)

    nat = Bool(
        False,
        help="""
        Make a NAT gateway with a public address in each region: the way out for machines that have
        no public address of their own. Billed by the hour.
        """,
    ).tag(config=True)

    principal = Unicode(
        help="""
        Object id of the core's identity, to which the roles are given. "skyport-core azure check"
        names it.
        """
    ).tag(config=True)

    principal_type = Enum(
        ("ServicePrincipal", "User", "Group"),
        default_value="ServicePrincipal",
        help="What the principal is; managed identities and applications are ServicePrincipal.",
    ).tag(config=True)

    address_space = Unicode(
        net.ADDRESS_SPACE,
        help="""
        Where new virtual networks take their addresses from, a block of 65,536 each: the first
        that no virtual network of the subscription uses. Must not overlap with networks that they
        are to be joined with.
        """,
    ).tag(config=True)

    update = Bool(False, help="Change what exists but is not as wanted.").tag(config=True)
    yes = Bool(False, help="Do not ask.").tag(config=True)
    dry_run = Bool(False, help="Show the plan and do nothing.").tag(config=True)

    aliases = {
        **AzureSiteCommand.aliases,
        "core-address": "SetupCommand.core_address",
        "principal": "SetupCommand.principal",
        "principal-type": "SetupCommand.principal_type",
        "address-space": "SetupCommand.address_space",
    }
    flags = {
        "nat": ({"SetupCommand": {"nat": True}}, "Make NAT gateways."),
        "update": ({"SetupCommand": {"update": True}}, "Change what is not as wanted."),
        "yes": ({"SetupCommand": {"yes": True}}, "Do not ask."),
        "dry-run": ({"SetupCommand": {"dry_run": True}}, "Show the plan and do nothing."),
    }

    @validate("core_address")
    def _valid_core_address(self, proposal: Any) -> list[str]:
        given = list(proposal["value"])
        return given if given == [NOWHERE] else [_cidr("core-address", text) for text in given]

    @validate("address_space")
    def _valid_address_space(self, proposal: Any) -> str:
        return _cidr("address-space", proposal["value"])

    def run(self) -> int:
        """Look, show the plan, ask, do."""
        return asyncio.run(self._run(self.settings()))

    async def _run(self, settings: AzureGate) -> int:
        async with AdminClients(settings) as clients:
            try:
                steps = await Setup(settings, clients, self._wishes()).look()
            except (AzureError, GateError) as error:
                raise _said(error) from error
            _say(f"Site {settings.name!r}, subscription {settings.subscription}:\n")
            _say(_plan(steps))
            if not self.principal:
                _say("\nThe roles are given to nobody: name the core's identity with --principal.")
            due = [one for one in steps if one.standing is Standing.MISSING]
            different = [one for one in steps if one.standing is Standing.DIFFERENT]
            due += different if self.update else []
            left = 0 if self.update else len(different)
            if left:
                _say(f"\n{left} not as wanted, and left so; --update changes them.")
            if not due:
                _say("\nNothing to do.")
            elif not self.dry_run and self._agreed(len(due)):
                await self._act(due)
            return int(left > 0)

    def _wishes(self) -> Wishes:
        return Wishes(
            core=None if self.core_address == [NOWHERE] else tuple(self.core_address),
            nat=self.nat,
            principal=self.principal,
            principal_kind=self.principal_type,
            address_space=self.address_space,
        )

    def _agreed(self, number: int) -> bool:
        if self.yes:
            return True
        if not sys.stdin.isatty():
            raise CommandError("nobody can be asked here; agree with --yes")
        sys.stdout.write(f"\nDo these {number} things? [y/N] ")
        sys.stdout.flush()
        if sys.stdin.readline().strip().lower() in ("y", "yes"):
            return True
        _say("Nothing was done.")
        return False

    async def _act(self, steps: Sequence[Step]) -> None:
        _say("")
        for step in steps:
            assert step.act is not None  # noqa: S101 (typing: all such steps have one)
            try:
                await step.act()
            except (AzureError, GateError, asyncio.TimeoutError) as error:
                _say(f"  {_MARKS['error']} {step.title}")
                raise _said(error) from error
            _say(f"  {_MARKS['ok']} {step.title}")
        if any(step.title.startswith("role ") for step in steps):
            _say("\nAzure may take some minutes until new rights hold.")
        _say("\nDone. Next: skyport-core azure check")


class CheckCommand(AzureSiteCommand):
    """``skyport-core azure check``."""

    name = "skyport-core azure check"
    description = """
    See whether an Azure site can work: credential, rights, network, sizes, quotas, images, prices.
    Changes nothing. Ends with status 1 if anything is in the way.
    """
    examples = """
    skyport-core azure check
    skyport-core azure check --site=azure --json
    """

    as_json = Bool(False, help="Print the findings as JSON.").tag(config=True)

    flags = {"json": ({"CheckCommand": {"as_json": True}}, "Print the findings as JSON.")}

    def run(self) -> int:
        """Look at everything and print what was found."""
        settings = self.settings()
        authority = self.host.ssh_authority()
        findings = asyncio.run(_check(settings, authority))
        ok = all(one.level != "error" for one in findings)
        if self.as_json:
            document = {
                "ok": ok,
                "site": settings.name,
                "findings": [vars(one) for one in findings],
            }
            _say(json.dumps(document, indent=1, ensure_ascii=False))
        else:
            _say(f"Site {settings.name!r}, subscription {settings.subscription}:\n")
            for finding in findings:
                _say(_line(finding))
        return int(not ok)


class PricesCommand(AzureSiteCommand):
    """``skyport-core azure prices``."""

    name = "skyport-core azure prices"
    description = """
    Write a new list of the prices that Sky Port ships, from what Azure's price list says now. It
    is what sites show as long as they cannot read that list. Needs no login; takes minutes.
    """
    examples = "skyport-core azure prices --export=prices.json.gz"

    export = Unicode(help="File to write.").tag(config=True)

    aliases = {**AzureSiteCommand.aliases, "export": "PricesCommand.export"}

    def run(self) -> int:
        """Read and write."""
        if not self.export:
            raise CommandError("name the file to write: --export=FILE")
        settings = cast(AzureGate, self.make_gate())
        try:
            number = asyncio.run(_export(settings, Path(self.export)))
        except GateError as error:
            raise _said(error) from error
        _say(f"{number} prices written to {self.export}")
        return 0


class AzureCommand(GateCommand):
    """``skyport-core azure``."""

    name = "skyport-core azure"
    description = "Prepare and check Azure sites."
    gate_class = AzureGate
    aliases = {}
    flags = {}
    subcommands = {
        "setup": (SetupCommand, "Make the resource group, network and roles of a site."),
        "check": (CheckCommand, "See whether a site can work."),
        "prices": (PricesCommand, "Renew the prices that are shipped with Sky Port."),
    }


async def _check(settings: AzureGate, authority: str) -> list[Finding]:
    async with AdminClients(settings) as clients:
        return await Check(settings, clients, authority).findings()


async def _export(settings: AzureGate, file: Path) -> int:
    async with AdminClients(settings) as clients:
        regions = settings.regions or sorted(shipped_regions())
        today = datetime.now(timezone.utc).date().isoformat()
        return await export(clients.http, settings.prices_url, regions, file, today)


def _plan(steps: Sequence[Step]) -> str:
    width = max(len(step.standing.value) for step in steps)
    lines = []
    for step in steps:
        lines.append(f"  {step.standing.value:<{width}}  {step.title}")
        lines += [f"  {'':<{width}}    {note}" for note in step.notes]
    return "\n".join(lines)


def _line(finding: Finding) -> str:
    line = f"{_MARKS[finding.level]} {finding.topic}: {finding.text}"
    return f"{line}\n    → {finding.hint}" if finding.hint else line


def _said(error: BaseException) -> CommandError:
    """An error of Azure in plain words."""
    found = translate(error)
    return CommandError("\n".join(part for part in (found.message, found.hint) if part))


def _cidr(option: str, text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise TraitError(f"--{option}: {error}; expected is a block such as 10.0.0.4/32") from None


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
