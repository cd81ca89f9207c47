"""A certificate as the files that its holder needs."""

from __future__ import annotations

from pathlib import Path

from .pki import Authority, Issued
from .pki.files import replace

KEY = "key.pem"
CERTIFICATE = "cert.pem"
CA = "ca.pem"
CHAIN = "ca-chain-cert.pem"
"""How clients of the original Sky Port call the authorities that they trust."""


def write_files(folder: Path, issued: Issued, authority: Authority, *, swm_layout: bool) -> None:
    """Write key, certificate and authority; a key that the holder has already is left alone.

    Each file is whole or absent, and all are for their owner alone except the authority's.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if issued.key:
        replace(folder / KEY, issued.key)
    replace(folder / CERTIFICATE, issued.certificate)
    replace(folder / CA, authority.pem, 0o644)
    if swm_layout:
        replace(folder / CHAIN, authority.pem, 0o644)
