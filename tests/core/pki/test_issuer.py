"""Issuing on record, signing requests, renewal and revocation."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID

from skyport_core.model import CertificateKind
from skyport_core.pki import (
    Authority,
    CertificateError,
    Issued,
    Issuer,
    Register,
    Revoked,
    Subject,
    UnknownUUID,
    read_subject,
)
from skyport_core.store import Store
from tests.infra.certs import DAY

UUID = "1a2b3c4d-0000-4000-8000-00000000000a"
ALICE = Subject(CertificateKind.USER, "alice")


@dataclass
class Office:
    store: Store
    issuer: Issuer
    register: Register

    async def accept(self, issued: Issued) -> Subject:
        certificate = x509.load_pem_x509_certificate(issued.certificate)
        der = certificate.public_bytes(serialization.Encoding.DER)
        return await self.register.accept(self.register.read(der))


@pytest.fixture
async def office(tmp_path: Path) -> AsyncIterator[Office]:
    store = await Store.open(f"sqlite:///{tmp_path / 'core.db'}", Fernet.generate_key())
    issuer = await Issuer.load(store, tmp_path)
    try:
        yield Office(store, issuer, Register(store, issuer.authority))
    finally:
        await store.close()


def request(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, subject: str = "root"
) -> str:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    admin = x509.SubjectAlternativeName([x509.UniformResourceIdentifier("skyport:admin:root")])
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    signed = builder.add_extension(admin, critical=False).sign(key, algorithm)
    return signed.public_bytes(serialization.Encoding.PEM).decode()


async def test_what_is_issued_is_accepted(office: Office) -> None:
    issued = await office.issuer.issue("alice")
    assert await office.accept(issued) == ALICE
    assert await office.store.certificates(name="alice") == [issued.record]


async def test_a_revoked_one_is_not(office: Office) -> None:
    issued, other = await office.issuer.issue("alice"), await office.issuer.issue("alice")
    first = await office.issuer.revoke(issued.record.serial, "lost")
    assert await office.issuer.revoke(issued.record.serial, "again") == first
    with pytest.raises(Revoked, match="was revoked"):
        await office.accept(issued)
    assert await office.accept(other) == ALICE


async def test_what_another_process_revokes_is_seen_soon(office: Office) -> None:
    issued = await office.issuer.issue("alice")
    seconds = 100.0
    office.register = Register(office.store, office.issuer.authority, lambda: seconds)
    await office.accept(issued)
    await office.store.revoke_certificate(issued.record.serial)
    await office.accept(issued)
    seconds += 0.3
    with pytest.raises(Revoked):
        await office.accept(issued)


async def test_what_this_process_revokes_is_seen_at_once(office: Office) -> None:
    issued = await office.issuer.issue("alice")
    await office.accept(issued)
    await office.store.revoke_certificate(issued.record.serial)
    office.register.forget()
    with pytest.raises(Revoked):
        await office.accept(issued)


async def test_an_expired_one_is_not_accepted(office: Office) -> None:
    issued = await office.issuer.issue("alice", lifetime=dt.timedelta(seconds=-1))
    with pytest.raises(Revoked, match="expired"):
        await office.accept(issued)


async def test_one_that_is_not_for_clients_is_not_accepted(office: Office) -> None:
    gate = await office.issuer.issue("gate.example", CertificateKind.SERVER, hosts=["gate.example"])
    with pytest.raises(Revoked, match="extended key usage"):
        await office.accept(gate)


async def test_all_of_a_name_are_revoked_at_once(office: Office) -> None:
    for kind in (CertificateKind.USER, CertificateKind.ADMIN):
        await office.issuer.issue("alice", kind)
    bobs = await office.issuer.issue("bob")
    revoked = await office.issuer.revoke_all("alice", "left")
    assert {record.kind for record in revoked} == {CertificateKind.USER, CertificateKind.ADMIN}
    assert await office.issuer.revoke_all("alice") == []
    assert await office.accept(bobs) == Subject(CertificateKind.USER, "bob")


@pytest.mark.parametrize("kind", ["ecdsa", "ed25519"])
async def test_nothing_of_a_request_but_its_key_is_taken(office: Office, kind: str) -> None:
    key = (
        ec.generate_private_key(ec.SECP256R1())
        if kind == "ecdsa"
        else ed25519.Ed25519PrivateKey.generate()
    )
    issued = await office.issuer.sign(request(key), "alice")
    certificate = x509.load_pem_x509_certificate(issued.certificate)
    assert read_subject(certificate) == ALICE
    assert certificate.public_key() == key.public_key()
    assert b"root" not in certificate.public_bytes(serialization.Encoding.DER)


async def test_a_request_that_is_none_is_refused(office: Office) -> None:
    good = request(ec.generate_private_key(ec.SECP256R1()))
    lines = good.splitlines()
    lines[3] = lines[3][::-1]
    for bad in ("nothing", "\n".join(lines), good.replace("REQUEST", "NONSENSE")):
        with pytest.raises(CertificateError):
            await office.issuer.sign(bad, "alice")
    assert await office.store.certificates() == []


async def test_a_renewed_one_is_for_the_same_key_and_hosts(office: Office) -> None:
    hosts = ("core.example", "192.0.2.1")
    old = await office.issuer.issue("core", CertificateKind.SERVER, DAY, hosts)
    new = await office.issuer.renew(old.certificate)
    first, second = map(x509.load_pem_x509_certificate, (old.certificate, new.certificate))
    assert first.public_key() == second.public_key()
    for certificate in (first, second):
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        assert names.value.get_values_for_type(x509.DNSName) == ["core.example"]
    assert new.record.expires_at > old.record.expires_at


async def test_only_valid_ones_of_our_own_are_renewed(office: Office, tmp_path: Path) -> None:
    revoked = await office.issuer.issue("alice")
    await office.issuer.revoke(revoked.record.serial)
    foreign = Issuer(office.store, Authority.load(tmp_path / "other"), UUID)
    others = await foreign.issue("alice")
    for pem, words in (
        (revoked.certificate, "was revoked"),
        (others.certificate, "not of this core's authority"),
        (b"nothing", "no certificate"),
    ):
        with pytest.raises(CertificateError, match=words):
            await office.issuer.renew(pem)


async def test_a_uuid_of_the_original_stands_for_the_user_it_was_adopted_for(
    office: Office, tmp_path: Path
) -> None:
    foreign = Issuer(office.store, Authority.load(tmp_path / "other"), UUID)
    issued = await foreign.issue("whoever")  # its subject has a UUID, as the original's has
    with pytest.raises(UnknownUUID) as caught:
        await office.accept(issued)
    for name in ("dora", "erin"):
        await office.issuer.adopt(caught.value.uuid, name)
        office.register.forget()
        assert await office.accept(issued) == Subject(CertificateKind.USER, name)
    await office.issuer.adopt(caught.value.uuid, None)
    office.register.forget()
    with pytest.raises(UnknownUUID):
        await office.accept(issued)
