"""The authority: made once, whole or not at all, and strict about what it signs."""

from __future__ import annotations

import ast
import datetime as dt
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID

from skyport_core.model import CertificateKind
from skyport_core.pki import Authority, CertificateError, Purpose, Subject, read_subject, read_uuid
from skyport_core.pki.authority import accepted_key, new_key
from tests.infra.certs import DAY

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
UUID = "1a2b3c4d-0000-4000-8000-00000000000a"

KILLED = """
import os, signal, sys
from pathlib import Path
from skyport_core.pki import Authority

home = Path(sys.argv[1])

def attempt(steps):
    def trace(event, args):
        nonlocal steps
        ours = event.startswith(("open", "os.")) and str(home) in repr(args)
        if ours or event == "fcntl.flock":
            steps -= 1
            if steps < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(trace)
    Authority.load(home)
    os._exit(0)

# Each process dies one step later than the one before, in the folder that it left.
steps = 0
while True:
    child = os.fork() or attempt(steps)
    _, status = os.waitpid(child, 0)
    path = home / "pki" / "authority.pem"
    print(os.waitstatus_to_exitcode(status), path.read_bytes() if path.exists() else b"")
    if status == 0:
        break
    steps += 1
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.load(tmp_path_factory.mktemp("home"))


def signed(
    authority: Authority,
    kind: CertificateKind = CertificateKind.USER,
    name: str = "alice",
    hosts: tuple[str, ...] = (),
    expires: dt.datetime = NOW + DAY,
) -> x509.Certificate:
    purpose = Purpose(Subject(kind, name), expires, UUID if kind.person else None, hosts)
    return authority.sign(new_key().public_key(), purpose, NOW)


def test_it_is_made_once_and_its_key_is_for_the_core_alone(tmp_path: Path) -> None:
    first = Authority.load(tmp_path)
    assert Authority.load(tmp_path).pem == first.pem
    assert (tmp_path / "pki" / "ca.pem").read_bytes() == first.pem
    assert stat.S_IMODE((tmp_path / "pki" / "authority.pem").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700


def test_a_kill_at_any_point_leaves_no_half_authority(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    *deaths, end = [line.split(" ", 1) for line in done.stdout.splitlines()]
    assert end[0] == "0"
    assert {status for status, _ in deaths} == {str(-signal.SIGKILL)}
    whole = {content for _, content in (*deaths, end)} - {"b''"}
    assert len(whole) == 1
    assert sum(content == "b''" for _, content in deaths) > 5
    assert Authority.load(tmp_path).pem in ast.literal_eval(whole.pop())
    assert sorted(path.name for path in (tmp_path / "pki").iterdir()) == ["authority.pem", "ca.pem"]


def test_a_damaged_one_is_named(tmp_path: Path) -> None:
    Authority.load(tmp_path)
    path = tmp_path / "pki" / "authority.pem"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CertificateError, match=r"authority\.pem cannot be read.*backup"):
        Authority.load(tmp_path)


@pytest.mark.parametrize("name", ["alice", "Zoë / Ünal: a:b", "x" * 255])
def test_a_certificate_names_its_holder(authority: Authority, name: str) -> None:
    certificate = signed(authority, name=name)
    assert read_subject(certificate) == Subject(CertificateKind.USER, name)
    assert authority.issued(certificate)


def test_tools_of_the_original_find_a_uuid_in_the_subject(authority: Authority) -> None:
    certificate = signed(authority)
    assert read_uuid(certificate) == UUID
    shown = certificate.subject.rfc4514_string({x509.ObjectIdentifier("2.5.29.17"): "SAN"})
    assert f"SAN={UUID}" in shown


@pytest.mark.parametrize(
    ("kind", "client", "server"),
    [
        (CertificateKind.USER, True, False),
        (CertificateKind.ADMIN, True, False),
        (CertificateKind.HUB, True, False),
        (CertificateKind.SERVER, False, True),
        (CertificateKind.GATE, True, True),
    ],
)
def test_a_certificate_is_good_for_its_purpose_alone(
    authority: Authority, kind: CertificateKind, client: bool, server: bool
) -> None:
    certificate = signed(authority, kind, hosts=("localhost",) if kind.serves else ())
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert (ExtendedKeyUsageOID.CLIENT_AUTH in uses) is client
    assert (ExtendedKeyUsageOID.SERVER_AUTH in uses) is server


def test_no_certificate_outlives_the_authority(authority: Authority) -> None:
    certificate = signed(authority, expires=NOW + dt.timedelta(days=36500))
    assert certificate.not_valid_after_utc == authority.certificate.not_valid_after_utc


@pytest.mark.parametrize("host", ["a..b", "", "no spaces", "x" * 300])
def test_a_host_that_is_none_is_named(authority: Authority, host: str) -> None:
    with pytest.raises(CertificateError, match="neither the name of a host nor an address"):
        signed(authority, CertificateKind.SERVER, hosts=(host,))


def test_weak_keys_are_refused() -> None:
    for key in (rsa.generate_private_key(65537, 1024), ec.generate_private_key(ec.SECP192R1())):
        with pytest.raises(CertificateError, match="2048"):
            accepted_key(key.public_key())
