"""``skyport-core cert``: the certificates of those who come in by HTTPS, for the admin.

The commands work on the core's database and authority directly, whether the core runs or not.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import functools
import getpass
import ipaddress
import os
import sys
from collections.abc import AsyncIterator, Callable, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import click
from pydantic import TypeAdapter, ValidationError
from traitlets import TraitError

from .certfiles import CERTIFICATE, CHAIN, KEY, write_files
from .commands import CoreApplication
from .model import CertificateKind, CertificateRecord, Name
from .pki import CertificateError, Issuer
from .secretkey import load_secret_key
from .store import DatabaseUnusable, Store
from .wire import CertificateView

if TYPE_CHECKING:
    from .app import SkyPortCore

MAX_DAYS = 3650.0

_Name: TypeAdapter[str] = TypeAdapter(Name)
_Days = click.FloatRange(0, MAX_DAYS, min_open=True)


@dataclass(frozen=True)
class Office:
    """What the commands work with."""

    store: Store
    issuer: Issuer
    days: float


@asynccontextmanager
async def _office(config_file: str, home: str, db_url: str) -> AsyncIterator[Office]:
    """The database and the authority of the core that is configured so."""
    core = _configured(config_file, home)
    folder = Path(core.home)
    store = await Store.open(db_url or core.db_url, load_secret_key(folder))
    try:
        yield Office(store, await Issuer.load(store, folder), core.certificate_days)
    finally:
        await store.close()


def _configured(config_file: str, home: str) -> SkyPortCore:
    from .app import SkyPortCore

    core = SkyPortCore()
    core.load_configuration(config_file, home)
    if home:
        core.home = home
    Path(core.home).mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_owner(Path(core.home))
    return core


def _check_owner(home: Path) -> None:
    """Refuse to make files in a home whose own user could not read them."""
    if home.stat().st_uid != os.geteuid():
        _fail(
            f"The core's home {home} belongs to {home.owner()}: run this as that user, "
            f"such as with sudo -u {home.owner()}."
        )


def _fail(message: str) -> NoReturn:
    click.echo(f"skyport-core cert: {message}", err=True)
    sys.exit(1)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def group() -> None:
    """Issue, list, renew and revoke the certificates that open the core's HTTPS door."""


def _command(
    name: str,
) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """Make ``async function(office, **options)`` a command, with the options that all have."""

    def decorate(function: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @group.command(name)
        @click.option("-f", "--config", default="", help="The core's configuration file.")
        @click.option("--home", default="", help="The core's home. [default: $SKYPORT_HOME]")
        @click.option("--db-url", default="", help="Its database. [default: in its home]")
        @functools.wraps(function)
        def run(config: str, home: str, db_url: str, **options: Any) -> None:
            async def work() -> None:
                async with _office(config, home, db_url) as office:
                    await function(office, **options)

            try:
                asyncio.run(work())
            except (CertificateError, DatabaseUnusable, TraitError) as error:
                _fail(str(error))
            except OSError as error:
                _fail(f"{error.filename or 'A file'}: {error.strerror or error}")

        return run

    return decorate


def _name(_context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    try:
        return _Name.validate_python(value)
    except ValidationError:
        raise click.BadParameter("1 to 255 characters, none of them a control character") from None


def _addresses(
    _context: click.Context, _parameter: click.Parameter, values: tuple[str, ...]
) -> tuple[str, ...]:
    for value in values:
        try:
            ipaddress.ip_address(value)
        except ValueError:
            raise click.BadParameter(f"{value!r} is no IP address") from None
    return values


def _lifetime(days: float | None, office: Office) -> dt.timedelta:
    return dt.timedelta(days=days or office.days)


@_command("issue")
@click.argument("name", callback=_name)
@click.option(
    "--kind",
    type=click.Choice([kind.value for kind in CertificateKind]),
    default="user",
    show_default=True,
    help="What its holder is.",
)
@click.option("--days", type=_Days, help="How long it is valid. [default: certificate_days]")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True)
@click.option(
    "--dns",
    multiple=True,
    help="Name of a server's or gate's host; may be repeated. [default: NAME]",
)
@click.option("--ip", multiple=True, callback=_addresses, help="Address of it; may be repeated.")
@click.option("--swm-layout", is_flag=True, help=f"Write {CHAIN} too, for the original's clients.")
@click.option("--force", is_flag=True, help="Replace a key that is there already.")
async def issue(
    office: Office,
    *,
    name: str,
    kind: str,
    days: float | None,
    out: Path,
    dns: tuple[str, ...],
    ip: tuple[str, ...],
    swm_layout: bool,
    force: bool,
) -> None:
    """Make a key and a certificate for NAME: key.pem, cert.pem and ca.pem in the folder --out."""
    for made in (out / KEY, out / CERTIFICATE):
        if made.exists() and not force:
            _fail(f"{made} exists; choose another --out, renew it, or replace it with --force.")
    hosts = (*dns, *ip)
    which = CertificateKind(kind)
    if hosts and not which.serves:
        _fail(f"--dns and --ip are for servers and gates, not for the kind {kind}.")
    issued = await office.issuer.issue(name, which, _lifetime(days, office), hosts)
    write_files(out, issued, office.issuer.authority, swm_layout=swm_layout)
    _tell("Issued", issued.record, out)


@_command("renew")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--days", type=_Days, help="How long it is valid. [default: certificate_days]")
async def renew(office: Office, *, folder: Path, days: float | None) -> None:
    """Replace FOLDER/cert.pem by one for the same key and holder that is valid for longer."""
    pem = (folder / CERTIFICATE).read_bytes()
    issued = await office.issuer.renew(pem, _lifetime(days, office))
    write_files(folder, issued, office.issuer.authority, swm_layout=(folder / CHAIN).exists())
    _tell("Renewed", issued.record, folder)


@_command("list")
@click.option("--name", callback=_name, help="Only of this holder.")
@click.option("--all", "everything", is_flag=True, help="Also what has expired.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
async def list_(office: Office, *, name: str | None, everything: bool, as_json: bool) -> None:
    """List what was issued, the newest first."""
    from .console.output import clock, print_json, print_table

    now = dt.datetime.now(dt.timezone.utc)
    found = await office.store.certificates(name=name)
    shown = [record for record in found if everything or record.expires_at > now]
    if as_json:
        print_json([CertificateView.of(record) for record in shown])
        return
    rows = [
        (
            each.serial,
            each.kind.value,
            each.name,
            clock(each.expires_at),
            each.issued_by,
            _state(each, now),
        )
        for each in shown
    ]
    columns = ("SERIAL", "KIND", "NAME", "EXPIRES", "BY", "STATE")
    print_table(columns, rows, "No certificates.")


@_command("revoke")
@click.argument("serial", required=False)
@click.option("--name", callback=_name, help="Instead of a serial: all certificates of a holder.")
@click.option("--kind", type=click.Choice([kind.value for kind in CertificateKind]))
@click.option(
    "--original",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Instead: one certificate of an original Sky Port, from its file.",
)
@click.option("--reason", default="", help="To be kept with it.")
async def revoke(
    office: Office,
    *,
    serial: str | None,
    name: str | None,
    kind: str | None,
    original: Path | None,
    reason: str,
) -> None:
    """Refuse a certificate from now on, and end the connections that it has open.

    What was asked for with it, such as its renewals, is revoked with it.
    """
    if [serial, name, original].count(None) != 2:
        _fail("Give either a serial (skyport-core cert list), --name or --original.")
    reason = reason or f"by {getpass.getuser()}"
    if original is not None:
        certificate = await asyncio.to_thread(original.read_bytes)
        issuer, theirs = await office.issuer.revoke_original(certificate, reason)
        click.echo(f"Revoked {theirs} of {issuer}")
        return
    earlier = await _revoked(office)
    if serial is not None:
        record = await office.issuer.revoke(serial, reason)
        if record is None:
            _fail(f"There is no certificate with the serial {serial}.")
        done = {record.serial: record}
    else:
        assert name is not None  # noqa: S101 (typing)
        kinds = [CertificateKind(kind)] if kind else None
        done = {one.serial: one for one in await office.issuer.revoke_all(name, reason, kinds)}
        if not done:
            _fail(f"{name} has no valid certificate.")
    for one in {**done, **await _revoked(office, but=earlier)}.values():
        _tell("Revoked", one)


@_command("adopt")
@click.argument("uuid")
@click.argument("name", required=False, callback=_name)
@click.option("--remove", is_flag=True, help="Let the UUID in no more.")
async def adopt(office: Office, *, uuid: str, name: str | None, remove: bool) -> None:
    """Let UUID, from a user's certificate of an original Sky Port, stand for the user NAME."""
    if remove == (name is not None):
        _fail("Give either the NAME of a user or --remove.")
    found = await office.issuer.adopt(uuid, name)
    if name is None:
        click.echo(f"{found} stands for nobody any more.")
    else:
        click.echo(f"{found} stands for {name}. The core's client_ca_file must name its authority.")


@_command("authority")
async def authority(office: Office) -> None:
    """Print the authority's certificate, which clients have to trust."""
    click.echo(office.issuer.authority.pem.decode(), nl=False)


@_command("crl")
async def crl(office: Office) -> None:
    """Print the list of revoked certificates (PEM), for gate servers (--crlfile)."""
    records = await office.store.certificates()
    revoked = [
        (int(record.serial, 16), record.revoked_at) for record in records if record.revoked_at
    ]
    now = dt.datetime.now(dt.timezone.utc)
    click.echo(office.issuer.authority.revocations(revoked, now).decode(), nl=False)


async def _revoked(office: Office, but: Collection[str] = ()) -> dict[str, CertificateRecord]:
    found = await office.store.certificates()
    return {one.serial: one for one in found if one.revoked_at and one.serial not in but}


def _state(record: CertificateRecord, now: dt.datetime) -> str:
    if record.revoked_at is not None:
        return f"revoked {record.reason}".strip()
    return "valid" if record.expires_at > now else "expired"


def _tell(done: str, record: CertificateRecord, folder: Path | None = None) -> None:
    place = f" in {folder}" if folder else ""
    until = f"valid until {record.expires_at:%Y-%m-%d %H:%M} UTC"
    click.echo(f"{done} {record.kind.value} {record.name}{place}: {record.serial}, {until}")


class CertCommand(CoreApplication):
    """Hands the command line on to the commands above."""

    name = "skyport-core cert"
    description = "Issue, list, renew and revoke the certificates that open the core's HTTPS door."
    group: ClassVar[click.Group] = group

    def initialize(self, argv: list[str] | None = None) -> None:
        """Keep the command line for later."""
        self._arguments = list(argv or [])

    def start(self) -> None:
        """Run the command, and exit with its status."""
        group.main(self._arguments, prog_name=self.name)
