"""Commands about the certificate that this person calls with."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import click
from cryptography import x509
from cryptography.x509.oid import NameOID

from ..client import CoreClient, FileTrouble, HttpsEndpoint, write_secretly
from ..model import CertificateKind
from .command import Target, core_command, in_words, main
from .output import clock, line, print_fields, print_json, print_table
from .values import Count

SERIAL = 12
"""Characters of a serial number that a table shows."""


@main.group()
def cert() -> None:
    """The certificate with which this machine calls a core by HTTPS."""


@cert.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_obj
def show(target: Target, as_json: bool) -> None:
    """Show the certificate of the context, and how long it is valid; asks no core."""
    with in_words():
        where = _https(target)
        view = _view(where)
    if as_json:
        click.echo(json.dumps(view, indent=2))
        return
    shown = {**view, "expires": clock(_certificate(where).not_valid_after_utc)}
    shown["valid"] = "yes" if view["valid"] else "no"
    print_fields((name.capitalize(), value) for name, value in shown.items())


@cert.command("list")
@core_command
async def list_certificates(client: CoreClient, as_json: bool) -> None:
    """List the certificates that the core issued to this person; admins see all."""
    answer = await client.certificates()
    if as_json:
        return print_json(answer)
    rows = [
        (
            view.serial[:SERIAL],
            view.kind.value,
            view.name,
            clock(view.expires_at),
            clock(view.issued_at),
            view.issued_by[:SERIAL],
            f"revoked {clock(view.revoked_at)}" if view.revoked_at else "",
        )
        for view in answer.certificates
    ]
    columns = ("SERIAL", "KIND", "NAME", "EXPIRES>", "ISSUED", "BY", "NOTE")
    return print_table(columns, rows, "No certificates were issued.")


@cert.command()
@click.option("--days", type=Count(1), help="How long it shall be valid.")
@core_command
async def renew(client: CoreClient, as_json: bool, days: int | None) -> None:
    """Put a new certificate for the same key in the place of the context's own."""
    endpoint = client.endpoint
    if not isinstance(endpoint, HttpsEndpoint):
        raise click.UsageError(_NO_CERTIFICATE)
    issued = await client.renew_certificate(
        endpoint.certificate, endpoint.key, kind=_kind(endpoint), days=days
    )
    if as_json:
        return print_json(issued.certificate)
    until = clock(issued.certificate.expires_at)
    return click.echo(f"{endpoint.certificate} is valid until {until}.")


@cert.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", help="Whom it is for; only admins may name another.")
@click.option(
    "--kind",
    type=click.Choice([each.value for each in CertificateKind]),
    default=CertificateKind.USER.value,
    show_default=True,
)
@click.option("--days", type=Count(1), help="How long it shall be valid.")
@core_command
async def issue(
    client: CoreClient, as_json: bool, folder: Path, name: str | None, kind: str, days: int | None
) -> None:
    """Get a certificate for a key that is made here: FOLDER/key.pem, cert.pem and ca.pem."""
    files = {each: folder / f"{each}.pem" for each in ("key", "cert", "ca")}
    if files["cert"].exists():
        raise click.UsageError(f"{files['cert']} exists; choose another folder.")
    issued = await client.renew_certificate(
        files["cert"], files["key"], kind=CertificateKind(kind), name=name, days=days
    )
    write_secretly(files["ca"], issued.authority)
    if as_json:
        return print_json(issued.certificate)
    return click.echo(
        f"{files['cert']} is for {line(issued.certificate.name)} and valid until "
        f"{clock(issued.certificate.expires_at)}; its key never left this machine."
    )


@cert.command()
@click.argument("serial")
@core_command
async def revoke(client: CoreClient, as_json: bool, serial: str) -> None:
    """Take a certificate back, at once and for good: one's own, such as one that was lost.

    SERIAL is as 'skyport cert list' shows it: the beginning of the whole, which JSON has. Admins
    may revoke those of others.
    """
    serial = await _whole(client, serial)
    await client.revoke_certificate(serial)
    if as_json:
        return click.echo(json.dumps({"serial": serial, "revoked": True}))
    return click.echo(line(f"Certificate {serial} is revoked."))


async def _whole(client: CoreClient, start: str) -> str:
    """The serial number that begins like this; as it is when the core shows none such."""
    known = [view.serial for view in (await client.certificates()).certificates]
    found = [serial for serial in known if serial.startswith(start)]
    if start in known or not found or not start:
        return start
    if len(found) > 1:
        raise click.UsageError(f"{len(found)} serial numbers begin with {start}.")
    return found[0]


_NAMES = {x509.ObjectIdentifier("2.5.29.17"): "UUID"}
"""What the original Sky Port keeps the UUID of a person in, which has no short name."""

_NO_CERTIFICATE = "This core is not reached by HTTPS; choose a context of kind https by --context."


def _https(target: Target) -> HttpsEndpoint:
    endpoint = target.endpoint()
    if not isinstance(endpoint, HttpsEndpoint):
        raise click.UsageError(_NO_CERTIFICATE)
    return endpoint


def _kind(where: HttpsEndpoint) -> CertificateKind:
    """What the holder of a certificate is, so that no admin's is replaced by a user's."""
    unit = _certificate(where).subject.get_attributes_for_oid(NameOID.ORGANIZATIONAL_UNIT_NAME)
    try:
        return CertificateKind(unit[0].value)
    except (IndexError, ValueError):
        return CertificateKind.USER


def _certificate(where: HttpsEndpoint) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(where.certificate.read_bytes())
    except OSError as error:
        raise FileTrouble(where.certificate, error) from error
    except ValueError:
        raise FileTrouble(where.certificate, OSError(0, "it is no certificate in PEM")) from None


def _view(where: HttpsEndpoint) -> dict[str, Any]:
    certificate = _certificate(where)
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.timezone.utc)
    return {
        "certificate": str(where.certificate),
        "core": str(where),
        "subject": certificate.subject.rfc4514_string(_NAMES),
        "issuer": certificate.issuer.rfc4514_string(_NAMES),
        "serial": f"{certificate.serial_number:x}",
        "expires": certificate.not_valid_after_utc.isoformat(),
        "days": left.days,
        "valid": left > dt.timedelta(0),
    }
