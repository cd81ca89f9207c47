"""``azure check`` with the real SDK: what is fine, what is missing, and what it says to do."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest

from skyport_gates.azure import check_region, network
from skyport_gates.azure.admin import AdminClients
from skyport_gates.azure.check import Check
from skyport_gates.azure.findings import Finding
from skyport_gates.azure.gate import AzureGate
from skyport_gates.azure.settings import AzureSettings
from skyport_gates.azure.setup import Setup, Wishes
from skyport_gates.gate import GateContext, PartitionNotFound, PartitionRequest, PartitionStatus
from tests.infra.arm.authority import Client
from tests.infra.arm.endpoint import ArmEndpoint
from tests.infra.arm.faults import Fault
from tests.infra.wait import eventually

SIZES = ["Standard_D*s_v5"]
AUTHORITY = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
GALLERY = "/providers/Microsoft.Compute/galleries/lab/images/gpu/versions/1.0.0"


class Site:
    """A site that setup made, checked with the rights of its core alone."""

    def __init__(self, endpoint: ArmEndpoint, core: Client, folder: Path) -> None:
        self.endpoint = endpoint
        self.arm = endpoint.arm
        self.core = core
        self.secret = folder / "core-secret"
        self.secret.touch(mode=0o600)
        self.secret.write_text("core-secret")

    def settings(self, **more: object) -> AzureSettings:
        own = {
            "regions": ["westeurope"],
            "sizes": SIZES,
            "boot_images": {"ubuntu": {"urn": "Canonical:ubuntu-24_04-lts:server:latest"}},
            "client_id": self.core.client_id,
            "client_secret_file": str(self.secret),
        }
        return AzureSettings(**self.endpoint.gate_options(**{**own, **more}))

    async def check(self, *, authority: str = AUTHORITY, **more: object) -> list[Finding]:
        settings = self.settings(**more)
        async with AdminClients(settings) as clients:
            return await Check(settings, clients, authority).findings()

    async def bad(self, **more: object) -> list[Finding]:
        found = await self.check(authority=AUTHORITY, **more)
        return [one for one in found if one.level == "error"]


@pytest.fixture
async def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Its core has an address in the network."""
    monkeypatch.setattr(check_region, "local_address", lambda _: ipaddress.ip_address("10.64.64.4"))
    async with ArmEndpoint(empty=True) as endpoint:
        core = endpoint.arm.authority.add_client(secret="core-secret")
        owner = AzureSettings(**endpoint.gate_options(regions=["westeurope"]))
        async with AdminClients(owner) as clients:
            wishes = Wishes(nat=True, principal=core.object_id)
            for step in await Setup(owner, clients, wishes).look():
                if step.act is not None:
                    await step.act()
        yield Site(endpoint, core, tmp_path)


def of(findings: list[Finding], topic: str) -> list[Finding]:
    return [one for one in findings if one.topic.startswith(topic)]


async def test_the_roles_that_setup_gives_are_enough(site: Site) -> None:
    findings = await site.check()
    assert [one for one in findings if one.level != "ok"] == []
    topics = {one.topic.split()[0] for one in findings}
    assert {"credential", "rights", "network", "sizes", "quotas", "images", "prices"} <= topics


async def test_the_roles_that_setup_gives_are_enough_for_a_machines_life(
    site: Site, tmp_path: Path
) -> None:
    options = site.endpoint.gate_options(
        regions=["westeurope"],
        sizes=SIZES,
        client_id=site.core.client_id,
        client_secret_file=str(site.secret),
        public_ip=True,
        placement_group=True,
        bootstrap="none",
    )
    gate = AzureGate(
        name="azure", context=GateContext("core1", tmp_path / "gate", AUTHORITY), **options
    )
    request = PartitionRequest(
        name="part1",
        flavor="Standard_D2s_v5",
        username="ada",
        user_ca=AUTHORITY,
        count=2,
        region="westeurope",
        suspendable=True,
        tags={"skyport-core": "core1"},
    )
    await gate.start()
    try:
        await gate.create(request)
        await reach(gate, PartitionStatus.READY)
        await gate.suspend("part1")
        await reach(gate, PartitionStatus.SUSPENDED)
        await gate.resume("part1")
        await reach(gate, PartitionStatus.READY)
        await gate.diagnose("part1")
        await gate.delete("part1")
        await reach(gate, None)
    finally:
        await gate.close(idle=True)
    refused = [call for call in site.arm.calls if call.status in (401, 403)]
    assert refused == []
    assert site.arm.calls.count("virtualMachines.put") == 2


async def reach(gate: AzureGate, status: PartitionStatus | None) -> None:
    """Wait until the partition is in this status; None: gone."""

    async def reached() -> bool:
        try:
            return (await gate.get("part1")).status is status
        except PartitionNotFound:
            return status is None

    await eventually(reached, f"a partition that is {status}", 20)


async def test_the_identity_is_named_as_roles_need_it(site: Site) -> None:
    (found,) = of(await site.check(), "credential")
    assert site.core.object_id in found.text
    assert site.core.client_id in found.text


async def test_a_wrong_secret_ends_the_check_with_entras_words(site: Site, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    wrong.write_text("not-the-secret")
    (found,) = await site.check(client_secret_file=str(wrong))
    assert (found.topic, found.level) == ("credential", "error")
    assert "AADSTS7000215" in found.text


async def test_each_missing_right_is_named(site: Site) -> None:
    (role,) = (
        one for one in site.arm.rights.roles.values() if one.name.startswith("Sky Port core (")
    )
    role.actions.remove("Microsoft.Compute/virtualMachines/delete")
    role.actions.remove("Microsoft.Network/networkInterfaces/join/action")
    (found,) = await site.bad()
    assert found.topic == "rights"
    assert "Microsoft.Compute/virtualMachines/delete" in found.text
    assert "Microsoft.Network/networkInterfaces/join/action" in found.text
    assert "azure setup" in found.hint


async def test_rights_on_the_subscription_are_named_where_they_are_missed(site: Site) -> None:
    rights = site.arm.rights
    rights.assignments = [one for one in rights.assignments if one.scope.count("/") > 2]
    found = {one.topic: one.text for one in await site.bad()}
    assert "Microsoft.Compute/skus/read" in found["sizes westeurope"]
    assert "offers/skus/versions/read" in found["images westeurope"]


async def test_states_that_may_not_be_read_are_told(site: Site) -> None:
    site.arm.faults.add(
        Fault("virtualMachines.listAll", "AuthorizationFailed", 403, "no", times=None)
    )
    (found,) = await site.bad()
    assert "Microsoft.Compute/virtualMachines/read on the subscription" in found.text


async def test_a_right_on_a_foreign_subnet_is_given_there(site: Site) -> None:
    network = site.arm.id("other", "Microsoft.Network/virtualNetworks", "campus")
    subnet = f"{network}/subnets/nodes"
    found = [one for one in await site.check(subnets={"westeurope": subnet}) if one.hint]
    given = [one for one in found if one.topic == "rights"]
    assert "az role assignment create" in given[0].hint
    assert f"--scope {subnet}" in given[0].hint


async def test_a_group_that_is_not_there_sends_to_setup(site: Site) -> None:
    found = {one.topic: one for one in await site.bad(resource_group="elsewhere")}
    assert found["resource group"].level == "error"


async def test_a_subnet_that_is_not_there_is_named(site: Site) -> None:
    found = await site.bad(regions=["westeurope", "eastus"])
    assert [(one.topic, "setup" in one.hint) for one in found] == [("network eastus", True)]


async def test_a_rule_that_keeps_ssh_out_is_named_with_its_cure(site: Site) -> None:
    (group,) = site.arm.resources.list("Microsoft.Network/networkSecurityGroups")
    (allow,) = (one for one in group.properties["securityRules"] if one["name"] == "ssh-from-core")
    allow["properties"]["sourceAddressPrefix"] = "10.9.9.9/32"
    (found,) = await site.bad()
    assert "'deny-other-inbound'" in found.text
    assert "--core-address=10.64.64.4/32" in found.hint


async def test_a_core_outside_the_network_is_warned(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    (group,) = site.arm.resources.list("Microsoft.Network/networkSecurityGroups")
    (allow,) = (one for one in group.properties["securityRules"] if one["name"] == "ssh-from-core")
    allow["properties"]["sourceAddressPrefix"] = "192.168.1.7/32"
    monkeypatch.setattr(
        check_region, "local_address", lambda _: ipaddress.ip_address("192.168.1.7")
    )
    (found,) = [one for one in await site.check() if one.level != "ok"]
    assert found.level == "warning"
    assert "peer" in found.hint


async def test_public_addresses_need_a_public_source(site: Site) -> None:
    (found,) = await site.bad(public_ip=True)
    assert "no public address" in found.text


async def test_a_full_subnet_is_an_error(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "RESERVED", 2**14)
    (found,) = await site.bad()
    assert "no address left" in found.text


async def test_sizes_without_quota_are_told(site: Site) -> None:
    site.arm.quotas.set("westeurope", "cores", 0)
    (found,) = await site.bad()
    assert found.topic == "quotas westeurope"
    assert "quota of cores in westeurope is 0" in found.text


async def test_patterns_that_match_nothing_are_told(site: Site) -> None:
    (found,) = await site.bad(sizes=["Standard_Nope*"])
    assert "Standard_Nope*" in found.text


async def test_an_image_that_a_region_lacks_is_named(site: Site) -> None:
    images = {
        "good": {"urn": "Canonical:ubuntu-24_04-lts:server:latest"},
        "gone": {"urn": "Canonical:ubuntu-24_04-lts:nonesuch:latest"},
        "lab": {"id": f"{site.arm.group_id('skyport')}{GALLERY}"},
    }
    found = await site.bad(boot_images=images)
    assert [one.text.partition(":")[0] for one in found] == ["gone", "lab"]


async def test_prices_that_cannot_be_read_are_a_warning_with_what_is_shown_instead(
    site: Site,
) -> None:
    site.arm.faults.add(Fault(kind="prices.list", status=503, times=None))
    (found,) = [one for one in await site.check() if one.level != "ok"]
    assert (found.topic, found.level) == ("prices", "warning")
    assert "list price of" in found.hint


async def test_a_core_that_never_ran_has_no_authority_yet(site: Site) -> None:
    (found,) = of(await site.check(authority=""), "SSH")
    assert (found.level, "starts" in found.hint) == ("warning", True)
