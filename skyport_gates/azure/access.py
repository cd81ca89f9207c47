"""How the core gets at Azure: the subscription, the credential and the doors of the cloud."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from traitlets import Enum, TraitError, Unicode, validate
from traitlets.config import Configurable

from ..gate import ConfigurationError


@dataclass(frozen=True)
class Cloud:
    """Where an Azure cloud has its doors."""

    arm: str
    authority: str


CLOUDS: Mapping[str, Cloud] = MappingProxyType(
    {
        "public": Cloud("https://management.azure.com", "https://login.microsoftonline.com"),
        "usgov": Cloud("https://management.usgovcloudapi.net", "https://login.microsoftonline.us"),
        "china": Cloud("https://management.chinacloudapi.cn", "https://login.chinacloudapi.cn"),
    }
)

CREDENTIALS = ("managed_identity", "workload_identity", "certificate", "client_secret", "default")

_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


class AzureAccess(Configurable):
    """The traits that say where Azure is and by what right."""

    subscription = Unicode(
        help="""
        Id of the subscription in which the machines are made and billed.
        """,
    ).tag(config=True)

    resource_group = Unicode(
        "skyport",
        help="""
        Resource group of the machines. ``skyport-core azure setup`` makes it. Nothing else should
        live in it; the gate touches only what carries the core's tag.
        """,
    ).tag(config=True)

    credential = Enum(
        CREDENTIALS,
        default_value="default",
        help="""
        How the core proves itself to Azure:

        managed_identity
            The identity of the Azure machine that the core runs on; ``client_id`` selects a
            user-assigned one.
        workload_identity
            A token file that Kubernetes keeps fresh (``federated_token_file``).
        certificate, client_secret
            An application of Entra, by ``certificate_file`` or ``client_secret_file``.
        default
            Whatever azure-identity's DefaultAzureCredential finds: environment, managed identity,
            the login of ``az``. Convenient to try things out; slower, and less clear when it fails.
        """,
    ).tag(config=True)

    tenant_id = Unicode(
        help="""
        The Entra tenant, for certificate, client_secret and workload_identity.
        """,
    ).tag(config=True)

    client_id = Unicode(
        help="""
        The application's id, or that of the user-assigned identity.
        """,
    ).tag(config=True)

    client_secret_file = Unicode(
        help="""
        File with the application's secret. Only its owner may be able to read it (mode 0600).
        """,
    ).tag(config=True)

    certificate_file = Unicode(
        help="""
        File (PEM) with the application's certificate and private key, of mode 0600.
        """,
    ).tag(config=True)

    federated_token_file = Unicode(
        help="""
        File with the federated token. Default: as $AZURE_FEDERATED_TOKEN_FILE says.
        """,
    ).tag(config=True)

    cloud = Enum(
        tuple(CLOUDS),
        default_value="public",
        help="""
        The Azure cloud: public, usgov or china.
        """,
    ).tag(config=True)

    authority = Unicode(
        help="""
        URL of the Entra authority. Default: that of ``cloud``.
        """,
    ).tag(config=True)

    base_url = Unicode(
        help="""
        URL of the Resource Manager. Default: that of ``cloud``.
        """,
    ).tag(config=True)

    ca_file = Unicode(
        help="""
        File (PEM) with the authorities that the endpoints' certificates are checked against.
        Default: the system's. Needed behind a proxy that inspects TLS.
        """,
    ).tag(config=True)

    @validate("authority", "base_url")
    def _valid_url(self, proposal: Any) -> Any:
        return https_url(proposal)

    @property
    def arm_url(self) -> str:
        """URL of the Resource Manager, without a slash at its end."""
        return str(self.base_url or CLOUDS[self.cloud].arm)

    @property
    def authority_url(self) -> str:
        """URL of the Entra authority."""
        return str(self.authority or CLOUDS[self.cloud].authority)

    @property
    def scope(self) -> str:
        """What a token for the Resource Manager is asked for."""
        return f"{self.arm_url}/.default"

    @property
    def group_id(self) -> str:
        """Resource id of the resource group."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"

    def faults(self) -> list[str]:
        """What of these settings cannot work, each in a few words. Reads no file."""
        found = []
        if not _GUID.fullmatch(self.subscription):
            found.append(f"subscription is {self.subscription!r}, not the id of a subscription")
        if not self.resource_group:
            found.append("resource_group is empty")
        needed = {
            "certificate": ("tenant_id", "client_id", "certificate_file"),
            "client_secret": ("tenant_id", "client_id", "client_secret_file"),
        }
        found += [
            f"credential {self.credential!r} needs {name}"
            for name in needed.get(self.credential, ())
            if not getattr(self, name)
        ]
        return found

    def private_file(self, trait: str) -> Path:
        """The path in a trait, expanded; ConfigurationError unless only its owner can read it.

        Blocks: looks at the file.
        """
        path = Path(getattr(self, trait)).expanduser()
        try:
            mode = path.stat().st_mode
        except OSError as error:
            raise ConfigurationError(
                f"The file that {trait} names cannot be read: {error.strerror or error}.",
                hint=f"Correct c.AzureGate.{trait}.",
            ) from error
        if mode & 0o077:
            raise ConfigurationError(
                f"Others than its owner may read {path}, which {trait} names.",
                hint=f"Change that: chmod 600 {path}",
            )
        return path


def https_url(proposal: Any) -> str:
    """A proposed trait value without a slash at its end; TraitError unless it is HTTPS or ""."""
    value = str(proposal["value"])
    if value and not value.startswith("https://"):
        raise TraitError(f"{proposal['trait'].name} must be an https:// URL, not {value!r}")
    return value.rstrip("/")
