"""The options of a site behind the original gate."""

from __future__ import annotations

import ipaddress
import ssl
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from traitlets import Bool, Dict, Enum, Float, Int, List, TraitError, Unicode, validate

from ..gate import ConfigurationError, Gate
from ..http.tls import client_context


class SwmSettings(Gate):
    """Where the gate is, what it is told, and how its nodes are reached."""

    url = Unicode(help="Where the gate listens: https://HOST:8444.").tag(config=True)
    kind = Enum(
        ("azure", "openstack"), default_value="azure", help="Which of the gate's clouds to use."
    ).tag(config=True)
    location = Unicode(help="Region of the cloud, such as westeurope.").tag(config=True)
    cafile = Unicode(help="PEM file of the authority of the gate's certificate.").tag(config=True)
    certfile = Unicode(help="PEM file of our certificate.").tag(config=True)
    keyfile = Unicode(help="PEM file of its private key.").tag(config=True)
    pem_file = Unicode(
        help="""
        PEM file with private key and certificate that the gate logs in to its cloud with: its
        protocol has them sent with every request. Default: keyfile and certfile.
        """
    ).tag(config=True)
    image = Unicode(help="Image to boot where a job names none, as the gate calls it.").tag(
        config=True
    )
    container_image = Unicode(
        help="Container image that the gate has its machines pull: REGISTRY/NAME:TAG."
    ).tag(config=True)
    runtime = Dict(
        default_value={"swm_source": "ssh"}, help="Parameters for the gate's start-up script."
    ).tag(config=True)
    ports = List(
        Int(min=1, max=65535),
        default_value=[],
        help="Ports that the gate opens to everybody, besides 22 which its template opens.",
    ).tag(config=True)
    headers = Dict(
        help="Further headers of every request, such as username and password at OpenStack."
    ).tag(config=True)
    username = Unicode(
        "{username}", help="Login on the machines; {username} is the one that a job asks for."
    ).tag(config=True)
    identity_file = Unicode(
        help="Private SSH key whose public half the gate puts on its machines (user_ssh_cert)."
    ).tag(config=True)
    ssh_port = Int(22, min=1, max=65535, help="Port of sshd on the machines.").tag(config=True)
    host_cas = List(
        Unicode(), help="Public keys of authorities that sign the host keys of the machines."
    ).tag(config=True)
    trust_first_contact = Bool(
        False,
        help="""
        Accept the host key that a new machine shows at the first contact, and only this one from
        then on. The gate does not tell host keys, so without an authority (host_cas) there is no
        better way; whoever can stand between core and machine in that moment can listen.
        """,
    ).tag(config=True)
    create_timeout = Float(
        300.0, min=1, help="Seconds that the gate may take to answer to a creation."
    ).tag(config=True)
    cache_time = Float(
        60.0, min=0, help="Seconds for which flavors and images are not asked for again."
    ).tag(config=True)

    @validate("url")
    def _check_url(self, proposal: Any) -> str:
        value = str(proposal.value)
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise TraitError(f"url is {value!r}; allowed: https://HOST:PORT")
        if parts.scheme == "http" and not _is_loopback(parts.hostname):
            raise TraitError(
                f"url is {value!r}; plain http would show the credential to the network: "
                "allowed is https, or http to this machine itself"
            )
        return value.rstrip("/")

    def check(self) -> None:
        """Raise ConfigurationError for what cannot work together."""
        if not self.url:
            raise ConfigurationError("url is not set; allowed: https://HOST:PORT")
        if self.kind == "azure" and not self.location:
            raise ConfigurationError("location is not set; allowed: a region of Azure")
        if not self.identity_file:
            raise ConfigurationError(
                "identity_file is not set; allowed: the private key whose public half stands as "
                "user_ssh_cert in the gate's configuration"
            )
        if not self.host_cas and not self.trust_first_contact:
            raise ConfigurationError(
                "The gate does not tell the host keys of its machines",
                hint="Set host_cas, or trust_first_contact if the network may be trusted.",
            )

    def tls(self) -> ssl.SSLContext | None:
        """For connections to the gate; None for plain HTTP. Raises ConfigurationError."""
        if self.url.startswith("http:"):
            return None
        return client_context(self.cafile, self.certfile, self.keyfile)

    def pem(self) -> str:
        """What goes into the bodies. Raises ConfigurationError."""
        files = [self.pem_file] if self.pem_file else [self.keyfile, self.certfile]
        try:
            return "".join(Path(file).read_text(encoding="ascii") for file in files if file)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"The credential {files[0]!r} cannot be read") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
