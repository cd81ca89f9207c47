"""``/certificates``: users care for their own, admins for all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from skyport_core.model import CertificateKind
from skyport_core.pki import read_subject
from skyport_core.pki.server import ServerOptions
from tests.infra.certs import ClientFiles

from .secured import HOSTS, Served, served


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, ServerOptions(HOSTS)) as https:
        yield https


def body(**fields: Any) -> dict[str, Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    pem = request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return {"csr": pem.decode(), **fields}


async def names(https: Served, files: ClientFiles) -> set[str]:
    answer = await https(files, path="/certificates")
    return {one["name"] for one in answer.json["certificates"]}


async def test_a_user_renews_by_a_request_of_its_own(https: Served) -> None:
    answer = await https(await https.client("alice"), "POST", "/certificates", json=body())
    assert answer.status == 201
    subject = read_subject(x509.load_pem_x509_certificate(answer.json["pem"].encode()))
    assert subject is not None
    assert (subject.kind, subject.name) == (CertificateKind.USER, "alice")
    assert answer.json["authority"].encode() == https.issuer.authority.pem


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"name": "bob"}, 403, "name"),
        ({"kind": "admin"}, 403, "kind"),
        ({"kind": "hub"}, 403, "kind"),
        ({"hosts": ["localhost"]}, 403, "hosts"),
        ({"days": 366}, 422, "days"),
        ({"days": 0}, 422, "days"),
        ({"csr": "nothing"}, 422, "csr"),
    ],
)
async def test_a_user_gets_nothing_else(
    https: Served, fields: dict[str, Any], status: int, field: str
) -> None:
    files = await https.client("alice")
    answer = await https(files, "POST", "/certificates", json=body(**fields))
    assert (answer.status, answer.error["field"]) == (status, field)
    assert len(await https.services.store.certificates(name="alice")) == 1
    assert await https.services.store.certificates(name="bob") == []


async def test_an_admin_gets_them_for_anybody(https: Served) -> None:
    root = await https.client("root", CertificateKind.ADMIN)
    for fields in (
        {"name": "bob"},
        {"name": "hub", "kind": "hub", "days": 3000},
        {"name": "far", "kind": "gate", "hosts": ["gate.example", "192.0.2.1"]},
    ):
        assert (await https(root, "POST", "/certificates", json=body(**fields))).status == 201
    assert await names(https, root) >= {"bob", "hub", "far", "root"}


async def test_users_see_and_revoke_their_own_alone(https: Served) -> None:
    alice, bob = await https.client("alice"), await https.client("bob")
    assert alice.record is not None
    assert bob.record is not None
    assert await names(https, alice) == {"alice"}
    answer = await https(alice, "DELETE", f"/certificates/{bob.record.serial}")
    unknown = await https(alice, "DELETE", "/certificates/abc")
    assert (answer.status, unknown.status) == (404, 404)
    assert answer.error["code"] == unknown.error["code"]
    assert (await https(bob)).status == 200
    answer = await https(alice, "DELETE", f"/certificates/{alice.record.serial}")
    assert answer.json["revoked_at"] is not None


async def test_a_revocation_holds_at_once_and_may_be_repeated(https: Served) -> None:
    alice, root = await https.client("alice"), await https.client("root", CertificateKind.ADMIN)
    assert alice.record is not None
    assert (await https(alice)).status == 200
    path = f"/certificates/{alice.record.serial}"
    first = await https(root, "DELETE", path)
    assert (await https(alice)).status == 403
    # As openssl shows it.
    pairs = alice.record.serial.upper()
    again = await https(root, "DELETE", f"/certificates/{pairs}")
    assert first.json == again.json


async def test_a_revoked_certificate_gets_itself_no_successor(https: Served) -> None:
    alice = await https.client("alice")
    assert alice.record is not None
    assert (await https(alice)).status == 200
    await https.services.store.revoke_certificate(alice.record.serial)
    assert (await https(alice, "POST", "/certificates", json=body())).status == 403
    assert len(await https.services.store.certificates(name="alice")) == 1


async def test_everybody_gets_the_authority(https: Served) -> None:
    answer = await https(await https.client("alice"), path="/certificates/authority")
    assert answer.body == https.issuer.authority.pem
    assert answer.headers["Content-Type"] == "application/x-pem-file"
