"""How the core proves itself to Azure, and what it says when that cannot work."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from azure.identity.aio import ManagedIdentityCredential
from traitlets import TraitError

from skyport_gates.azure.clients import client_options, make_credential
from skyport_gates.azure.rights import CATALOG, MACHINES
from skyport_gates.azure.settings import AzureSettings
from skyport_gates.gate import ConfigurationError, NotAuthorized, PartitionStatus
from tests.arm.test_entra import certificate
from tests.gates.azure.site import Site
from tests.infra.arm import presets
from tests.infra.arm.rights import Role as ArmRole

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"


def private(folder: Path, name: str, text: str | bytes) -> str:
    """The path of a new file of mode 0600."""
    path = folder / name
    path.touch(mode=0o600)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


async def works(site: Site, **traits: Any) -> None:
    """The gate starts, and Azure lets it in."""
    await site.start(client_secret_file="", **traits)
    assert await site.gate.list() == []


async def test_by_a_certificate(bare: Site) -> None:
    pem = certificate()
    bare.arm.authority.clients[bare.arm.client_id].trust(pem)
    await works(
        bare, credential="certificate", certificate_file=private(bare.home, "cert.pem", pem)
    )


async def test_by_a_workload_identity(bare: Site) -> None:
    client = bare.arm.authority.clients[bare.arm.client_id]
    token = client.federate("https://cluster", "system:serviceaccount:hub:core").token()
    await works(
        bare,
        credential="workload_identity",
        federated_token_file=private(bare.home, "token", token),
    )


async def test_by_the_identity_of_the_cores_machine(
    bare: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", bare.endpoint.imds_url)
    await works(bare, credential="managed_identity", client_id="")


async def test_by_whatever_there_is(bare: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("tenant_id", "client_id", "client_secret"):
        monkeypatch.setenv(f"AZURE_{name.upper()}", getattr(bare.arm, name))
    await works(bare, credential="default", client_id="", tenant_id="")


async def test_the_roles_that_setup_makes_are_enough_for_all_that_the_gate_does(bare: Site) -> None:
    core = bare.arm.authority.add_client(secret="core-secret")
    for role, scope in (
        (MACHINES, bare.arm.group_id("skyport")),
        (CATALOG, f"/subscriptions/{bare.arm.subscription}"),
    ):
        made = ArmRole(role.id(scope), role.title, list(role.actions))
        bare.arm.rights.assign(core.object_id, made, scope)
    await bare.start(
        client_id=core.client_id,
        client_secret_file=private(bare.home, "secret", "core-secret"),
        public_ip=True,
        placement_group=True,
    )
    await bare.asleep(count=2)
    await bare.gate.resume("sp-1")
    await bare.is_(PartitionStatus.READY)
    assert await bare.gate.diagnose("sp-1")
    bare.arm.faults.add(presets.delete_leaves())
    await bare.gate.delete("sp-1")
    await bare.gone()
    assert bare.arm.leftovers() == []
    refused = [call for call in bare.arm.calls if call.status in (401, 403)]
    assert refused == []


async def test_a_wrong_secret_is_for_an_admin(bare: Site) -> None:
    gate = bare.make(client_secret_file=private(bare.home, "secret", "wrong"))
    with pytest.raises(NotAuthorized) as caught:
        await gate.start()
    assert "c.AzureGate.credential" in caught.value.hint


async def test_a_secret_that_others_may_read_is_refused(bare: Site) -> None:
    path = Path(private(bare.home, "secret", "x"))
    path.chmod(0o640)
    with pytest.raises(ConfigurationError) as caught:
        await bare.make(client_secret_file=str(path)).start()
    assert f"chmod 600 {path}" in caught.value.hint


async def test_a_secret_that_is_not_there_is_named(bare: Site) -> None:
    with pytest.raises(ConfigurationError, match="client_secret_file"):
        await bare.make(client_secret_file="/nowhere/secret").start()


async def test_a_certificate_that_is_none_is_named(bare: Site) -> None:
    file = private(bare.home, "cert.pem", "no certificate")
    with pytest.raises(ConfigurationError, match="certificate_file"):
        await bare.make(credential="certificate", certificate_file=file).start()


async def test_an_authority_file_that_is_not_there_is_named(bare: Site) -> None:
    with pytest.raises(ConfigurationError, match="ca_file"):
        await bare.make(ca_file="/nowhere/ca.pem").start()


async def test_a_gate_that_could_not_start_can_be_mended(bare: Site) -> None:
    gate = bare.make(client_secret_file="/nowhere/secret")
    with pytest.raises(ConfigurationError):
        await gate.start()
    gate.client_secret_file = private(bare.home, "secret", bare.arm.client_secret)
    await gate.start()
    assert await gate.list() == []


async def test_a_token_that_is_revoked_is_replaced(azure: Site) -> None:
    await azure.gate.list()
    azure.arm.authority.challenge()
    assert await azure.gate.list() == []


@pytest.mark.parametrize(
    ("traits", "words"),
    [
        ({"subscription": "my subscription"}, "not the id of a subscription"),
        ({"regions": []}, "regions is empty"),
        ({"credential": "client_secret"}, "client_secret' needs client_secret_file"),
        ({"credential": "certificate"}, "certificate' needs certificate_file"),
        ({"bootstrap": "container"}, "needs container_image"),
        ({"default_image": "x", "boot_images": {"y": {}}}, "not in boot_images"),
    ],
)
def test_what_cannot_work_is_told_at_once(traits: dict[str, Any], words: str) -> None:
    settings = AzureSettings(**{"subscription": SUBSCRIPTION, "regions": ["eastus"], **traits})
    with pytest.raises(ConfigurationError, match=words):
        settings.check()


@pytest.mark.parametrize("trait", ["base_url", "authority", "prices_url"])
def test_only_https_is_spoken(trait: str) -> None:
    with pytest.raises(TraitError, match="https"):
        AzureSettings(**{trait: "http://localhost:1"})


@pytest.mark.parametrize(
    ("cloud", "arm", "authority"),
    [
        ("public", "https://management.azure.com", "https://login.microsoftonline.com"),
        ("usgov", "https://management.usgovcloudapi.net", "https://login.microsoftonline.us"),
        ("china", "https://management.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
    ],
)
def test_each_cloud_has_its_doors(cloud: str, arm: str, authority: str) -> None:
    settings = AzureSettings(subscription=SUBSCRIPTION, cloud=cloud)
    assert settings.authority_url == authority
    options = client_options(settings)
    assert (options["base_url"], options["credential_scopes"]) == (arm, [f"{arm}/.default"])
    assert "connection_verify" not in options


async def test_a_managed_identity_needs_no_file() -> None:
    credential = make_credential(AzureSettings(credential="managed_identity"), {})
    assert isinstance(credential, ManagedIdentityCredential)
    await credential.close()


def test_regions_may_be_written_as_people_do() -> None:
    assert AzureSettings(regions=["West Europe", "eastus"]).regions == ["westeurope", "eastus"]


def test_without_the_packages_the_gate_says_how_to_install_them() -> None:
    program = (
        "import sys; sys.modules['azure.identity'] = None\n"
        "from skyport_gates.plugins import load_gate_class, PluginError\n"
        "try:\n    load_gate_class('azure')\n"
        "except PluginError as error:\n    print(error, error.__cause__.hint)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "The packages for Azure are not installed" in done.stdout
    assert "pip install 'skyport[azure]'" in done.stdout
