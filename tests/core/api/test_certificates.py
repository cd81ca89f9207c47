"""``/certificates``: users renew their own, admins issue those of users."""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from skyport_core.certificates import MOST
from skyport_core.client.certificates import new_key, signing_request
from skyport_core.model import BY_HUB, BY_SOCKET, CertificateKind
from skyport_core.pki import Signing, Subject, read_subject
from skyport_core.pki.server import ServerOptions
from skyport_core.service import ServiceError
from skyport_core.wire import CertificateIssued, CertificateRequest
from tests.infra.certs import DAY, ClientFiles

from .secured import HOSTS, Served, served, served_certificates
from .served import HUB_HOURS, Answer


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, ServerOptions(HOSTS)) as https:
        yield https


def body(files: ClientFiles | None = None, **fields: Any) -> dict[str, Any]:
    """A request for the key of ``files``, else for a new one."""
    key = files.key.read_text() if files else new_key()
    return {"csr": signing_request(key), **fields}


async def names(https: Served, files: ClientFiles) -> set[str]:
    answer = await https(files, path="/certificates")
    return {one["name"] for one in answer.json["certificates"]}


async def issued(https: Served, files: ClientFiles, request: dict[str, Any]) -> Answer:
    return await https(files, "POST", "/certificates", json=request)


def renewed(answer: Answer, files: ClientFiles) -> ClientFiles:
    """The files of a client that put its new certificate in the place of the old one."""
    assert answer.status == 201
    folder = files.folder / "renewed"
    shutil.copytree(files.folder, folder)
    (folder / "cert.pem").write_text(answer.json["pem"])
    return ClientFiles(folder)


async def test_a_user_renews_for_the_same_key(https: Served) -> None:
    alice = await https.client("alice")
    answer = await issued(https, alice, body(alice))
    assert answer.status == 201
    certificate = x509.load_pem_x509_certificate(answer.json["pem"].encode())
    assert read_subject(certificate) == Subject(CertificateKind.USER, "alice")
    assert answer.json["authority"].encode() == https.issuer.authority.pem
    assert alice.record is not None
    assert answer.json["certificate"]["issued_by"] == alice.record.serial


@pytest.mark.parametrize(
    ("fields", "status", "field"),
    [
        ({"name": "bob"}, 403, "name"),
        ({"kind": "admin"}, 403, "kind"),
        ({"kind": "hub"}, 403, "kind"),
        ({"hosts": ["localhost"]}, 403, "hosts"),
        ({"days": 2}, 422, "days"),
        ({"days": 0}, 422, "days"),
        ({"csr": "nothing"}, 422, "csr"),
        ({"csr": signing_request(new_key())}, 422, "csr"),
    ],
)
async def test_a_user_gets_nothing_else(
    https: Served, fields: dict[str, Any], status: int, field: str
) -> None:
    files = await https.client("alice")  # for a day
    answer = await issued(https, files, body(files) | fields)
    assert (answer.status, answer.error["field"]) == (status, field)
    assert len(await https.services.store.certificates(name="alice")) == 1
    assert await https.services.store.certificates(name="bob") == []


async def test_an_admin_gets_those_of_users_alone(https: Served) -> None:
    root = await https.client("root", CertificateKind.ADMIN)
    assert (await issued(https, root, body(name="bob"))).status == 201
    assert await names(https, root) >= {"bob", "root"}
    for kind in ("admin", "hub", "gate", "server"):
        assert (await issued(https, root, body(kind=kind))).error["field"] == "kind"
    assert (await issued(https, root, body(days=366))).error["field"] == "days"


async def test_what_a_certificate_got_is_revoked_with_it(https: Served) -> None:
    stolen = await https.client("alice")
    second = renewed(await issued(https, stolen, body(stolen)), stolen)
    third = renewed(await issued(https, second, body(second)), second)
    other = await https.client("alice")
    assert (await https(third)).status == 200
    assert stolen.record is not None
    await https.services.store.revoke_certificate(stolen.record.serial, "stolen")
    served_certificates(https.services).look_again()
    assert [(await https(files)).status for files in (stolen, second, third)] == [403] * 3
    assert (await https(other)).status == 200


async def test_a_name_has_a_limited_number_of_valid_ones(https: Served) -> None:
    alice = await https.client("alice")
    for _ in range(MOST - 1):
        await https.issuer.issue("alice", lifetime=DAY)
    answer = await issued(https, alice, body(alice))
    assert (answer.status, answer.error["code"]) == (409, "too_many")
    assert f"{MOST} valid certificates" in answer.error["message"]


# -- by a token of the hub ---------------------------------------------------------------------


async def by_token(https: Served, **fields: Any) -> CertificateIssued:
    certificates = served_certificates(https.services)
    return await certificates.sign("alice", CertificateRequest(**body(**fields)), Signing(BY_HUB))


async def test_a_token_gets_a_short_life_that_renews_nothing(https: Served, tmp_path: Path) -> None:
    key = new_key()
    found = await by_token(https, csr=signing_request(key))
    life = found.certificate.expires_at - found.certificate.issued_at
    assert dt.timedelta(0) <= dt.timedelta(hours=HUB_HOURS) - life < dt.timedelta(seconds=1)
    files = ClientFiles(tmp_path / "hub")
    files.folder.mkdir()
    files.key.write_text(key)
    files.cert.write_text(found.pem)
    files.ca.write_text(found.authority)
    assert (await https(files)).status == 200
    answer = await issued(https, files, body(files))
    assert (answer.status, "token of the hub" in answer.error["message"]) == (403, True)


@pytest.mark.parametrize("fields", [{"kind": "admin"}, {"name": "bob"}, {"days": 1}])
async def test_a_token_gets_nothing_else(https: Served, fields: dict[str, Any]) -> None:
    with pytest.raises(ServiceError) as refused:
        await by_token(https, **fields)
    assert refused.value.field == next(iter(fields))


# -- by the socket -------------------------------------------------------------------------------


async def test_whom_the_admin_lets_use_the_socket_gets_those_of_users_alone(https: Served) -> None:
    certificates = served_certificates(https.services)
    right = Signing(BY_SOCKET, others=True)
    found = await certificates.sign("bob", CertificateRequest(**body(name="alice")), right)
    assert (found.certificate.name, found.certificate.issued_by) == ("alice", BY_SOCKET)
    for kind in ("admin", "hub", "gate", "server"):
        with pytest.raises(ServiceError, match="kind"):
            await certificates.sign("bob", CertificateRequest(**body(kind=kind)), right)


# -- looking and revoking ----------------------------------------------------------------------


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
    assert (await https(alice, "POST", "/certificates", json=body(alice))).status == 403
    assert len(await https.services.store.certificates(name="alice")) == 1


async def test_everybody_gets_the_authority(https: Served) -> None:
    answer = await https(await https.client("alice"), path="/certificates/authority")
    assert answer.body == https.issuer.authority.pem
    assert answer.headers["Content-Type"] == "application/x-pem-file"
