"""Options of the HTTPS door and of the certificates that open it."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

from traitlets import Float, HasTraits, Int, List, TraitError, Unicode
from traitlets import validate as validator

from .api.doors import Caps, HttpsOptions
from .pki import DEFAULT_DAYS
from .pki.names import host_names
from .pki.server import ServerOptions, own_hosts


class HttpsTraits(HasTraits):
    """The part of the core's configuration that is about HTTPS."""

    https_port = Int(
        0,
        min=0,
        max=65535,
        help="""
        Serve the API by HTTPS on this port, to holders of client certificates alone (skyport-core
        cert); 8443 is where clients look for it. 0: no such door.
        """,
    ).tag(config=True)

    https_address = Unicode(
        help="""
        Address of this machine to serve HTTPS on, such as 127.0.0.1. Default: all, IPv4 and IPv6.
        """
    ).tag(config=True)

    https_names = List(
        Unicode(),
        help="""
        Names and addresses by which clients reach the core, for the certificate that it shows them
        and renews by itself. Default: this machine's names, localhost, 127.0.0.1 and ::1.
        """,
    ).tag(config=True)

    https_certfile = Unicode(
        help="""
        A certificate of your own to show instead, PEM, with what is between it and its root. It is
        read anew when it changes.
        """
    ).tag(config=True)

    https_keyfile = Unicode(
        help="Its private key, without a password. Default: it is in https_certfile too."
    ).tag(config=True)

    client_ca_file = Unicode(
        help="""
        Certificates (PEM) of an original Sky Port whose users come in with what they have: of its
        cluster, or cluster and grid (ca-chain-cert.pem). Each user is let in once skyport-core
        cert adopt says who it is.
        """
    ).tag(config=True)

    https_connections = Int(
        1000,
        min=0,
        help="""
        Connections that may be open by HTTPS at the same time; further ones are closed. 0: any
        number.
        """,
    ).tag(config=True)

    https_connections_per_peer = Int(
        200,
        min=0,
        help="""
        Of these, how many one address may have (of IPv6: one /64). Raise it for a proxy, or for a
        hub on another machine with many users. 0: any number.
        """,
    ).tag(config=True)

    certificate_days = Float(
        DEFAULT_DAYS,
        min=0.01,
        max=3650,
        help="""
        Days that a certificate is valid when its request does not say. By the API none is issued
        that is valid for longer, but to root and the core's own user at the Unix socket.
        """,
    ).tag(config=True)

    hub_certificate_hours = Float(
        12,
        min=0,
        max=24 * 365,
        help="""
        Hours that a certificate is valid which a user got with a token of the hub (scope
        custom:skyport:certificates). 0: tokens get none.
        """,
    ).tag(config=True)

    @validator("https_address")
    def _check_https_address(self, proposal: Any) -> str:
        address = str(proposal.value)
        if address in ("", "localhost"):
            return address
        try:
            ipaddress.ip_address(address.strip("[]"))
        except ValueError:
            raise TraitError(
                f"https_address is {address!r}; allowed: an IP address of this machine, localhost, "
                "or nothing for all"
            ) from None
        return address.strip("[]")

    @validator("https_names")
    def _check_https_names(self, proposal: Any) -> list[str]:
        try:
            host_names(proposal.value)
        except ValueError as error:
            raise TraitError(f"https_names: {error}") from None
        return list(proposal.value)

    def make_https_options(self) -> HttpsOptions | None:
        """Where and how HTTPS is served; None: not at all. Raises ValueError."""
        if not self.https_port:
            return None
        if self.https_keyfile and not self.https_certfile:
            raise ValueError("https_keyfile is set but https_certfile is empty: set both or none")
        return HttpsOptions(
            self.https_address,
            self.https_port,
            ServerOptions(
                hosts=self._hosts(),
                certfile=_path(self.https_certfile),
                keyfile=_path(self.https_keyfile),
                client_ca_file=_path(self.client_ca_file),
            ),
            Caps(self.https_connections, self.https_connections_per_peer),
        )

    def _hosts(self) -> tuple[str, ...]:
        if self.https_names:
            return tuple(self.https_names)
        hosts = list(own_hosts())
        address = self.https_address
        if address and address not in hosts and not ipaddress.ip_address(address).is_unspecified:
            hosts.append(address)
        return tuple(hosts)


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None
