"""HTTPS: which certificates let whom in, and when they stop doing so."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

from skyport_core.api import rights
from skyport_core.client.certificates import signing_request
from skyport_core.model import CertificateKind, EventDraft, JobState
from skyport_core.pki import Authority, Issuer
from skyport_core.pki.server import ServerOptions
from skyport_core.wire import API_PREFIX
from tests.infra.certs import ClientFiles, OriginalAuthority, write
from tests.infra.wait import eventually

from .secured import HOSTS, Served, new_folder, served, served_certificates
from .served import CORE_ID, JOB, OTHER, REQUEST, Answer, memory_services, now

UUID = "1a2b3c4d-0000-4000-8000-00000000000a"


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, ServerOptions(HOSTS)) as https:
        yield https


async def submit(https: Served, *owners: str) -> None:
    for job_id, owner in zip((JOB, OTHER), owners, strict=False):
        await https.services.store.put_job(job_id, owner, REQUEST, now())


def owners(answer: Answer) -> set[str]:
    return {job["owner"] for job in answer.json["jobs"]}


# -- who comes in ------------------------------------------------------------------------------


async def test_a_user_sees_what_is_the_users(https: Served) -> None:
    await submit(https, "alice", "bob")
    assert owners(await https(await https.client("alice"))) == {"alice"}


@pytest.mark.parametrize("kind", [CertificateKind.ADMIN, CertificateKind.HUB])
async def test_admins_and_hubs_see_all(https: Served, kind: CertificateKind) -> None:
    await submit(https, "alice", "bob")
    assert owners(await https(await https.client("root", kind))) == {"alice", "bob"}


async def test_a_hub_submits_for_its_users(https: Served) -> None:
    job = {"command": ["true"], "owner": "bob"}
    hub = await https.client("hub", CertificateKind.HUB)
    assert (await https(hub, "POST", json=job)).json["owner"] == "bob"
    alice = await https.client("alice")
    assert (await https(alice, "POST", json=job)).status == 403


async def test_a_users_own_machine_is_the_peer(
    https: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = await https.client("alice")
    job = {"command": ["true"], "forwards": {"x": "127.0.0.1:9"}}
    assert (await https(alice, "POST", json=job)).status == 403
    # As if it were another machine than the core's.
    monkeypatch.setattr(rights, "is_of_this_machine", lambda address: False)
    assert (await https(alice, "POST", json=job)).status == 201
    job["forwards"] = {"x": "192.0.2.1:9"}
    assert (await https(alice, "POST", json=job)).status == 403


@pytest.mark.parametrize("kind", [CertificateKind.SERVER, CertificateKind.GATE])
async def test_who_serves_does_not_call(https: Served, kind: CertificateKind) -> None:
    files = await https.client("alice", kind, hosts=("localhost",))
    try:
        answer = await https(files)
    except aiohttp.ClientError:
        assert kind is CertificateKind.SERVER  # already refused by TLS, for its purpose
    else:
        assert (answer.status, answer.error["code"]) == (403, "certificate_refused")
        assert kind.value in answer.error["message"]


async def test_without_a_certificate_nobody_comes_in(https: Served) -> None:
    files = await https.client()
    bare = ssl.create_default_context(cafile=str(files.ca))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(https.url("/version"), ssl=bare)


async def test_the_certificate_of_a_foreign_authority_is_refused(
    https: Served, tmp_path: Path
) -> None:
    files = await https.client("alice")
    foreign = Issuer(https.services.store, Authority.load(tmp_path / "other"), CORE_ID)
    issued = await foreign.issue("alice")
    forged = write(tmp_path / "forged", issued, files.ca.read_bytes())
    with pytest.raises(aiohttp.ClientError):
        await https(forged)


async def test_a_certificate_that_is_not_on_record_is_refused(
    https: Served, tmp_path: Path
) -> None:
    files = await https.client("alice")
    async with memory_services(new_folder(tmp_path)) as lost:
        issued = await Issuer(lost.store, https.issuer.authority, CORE_ID).issue("alice")
    answer = await https(write(tmp_path / "unknown", issued, files.ca.read_bytes()))
    assert (answer.status, answer.error["code"]) == (403, "certificate_refused")
    assert "not on record" in answer.error["message"]


# -- who comes in no more ----------------------------------------------------------------------


async def test_a_revoked_certificate_is_refused_on_an_open_connection(https: Served) -> None:
    files = await https.client()
    assert files.record is not None
    async with aiohttp.ClientSession() as session:
        url, context = https.url("/jobs"), files.context()
        async with session.get(url, ssl=context) as answer:
            assert answer.status == 200
        # As another process does it: nobody tells this one.
        await https.services.store.revoke_certificate(files.record.serial)
        began = time.monotonic()

        async def refused() -> bool:
            async with session.get(url, ssl=context) as answer:
                return answer.status == 403 and "revoked" in await answer.text()

        await eventually(refused, "refusal", timeout=2)
        assert time.monotonic() - began < 1


@asynccontextmanager
async def event_stream(https: Served, files: ClientFiles) -> AsyncIterator[aiohttp.StreamReader]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(https.url(f"/jobs/{JOB}/events"), ssl=files.context()) as answer,
    ):
        assert answer.status == 200
        await answer.content.readuntil(b"\n\n")
        yield answer.content


async def seconds_until_closed(stream: aiohttp.StreamReader) -> float:
    began = time.monotonic()
    with pytest.raises(aiohttp.ClientError):
        while await asyncio.wait_for(stream.read(65536), 5):
            pass
    return time.monotonic() - began


async def test_a_stream_ends_when_its_certificate_is_revoked(https: Served) -> None:
    await submit(https, "alice")
    files = await https.client("alice")
    assert files.record is not None
    async with event_stream(https, files) as stream:
        await https.services.store.revoke_certificate(files.record.serial)
        assert await seconds_until_closed(stream) < 1


async def test_a_stream_ends_when_its_certificate_expires(https: Served) -> None:
    await submit(https, "alice")
    files = await https.client("alice", lifetime=dt.timedelta(seconds=2))
    assert files.record is not None
    async with event_stream(https, files) as stream:
        await seconds_until_closed(stream)
        late = now() - files.record.expires_at
        assert dt.timedelta(0) <= late < dt.timedelta(seconds=1)
    with pytest.raises(aiohttp.ClientError):
        await https(files)


async def test_an_upload_ends_when_its_certificate_is_revoked(https: Served) -> None:
    files = await https.client("alice")
    assert files.record is not None
    reader, writer = await asyncio.open_connection(
        "localhost", https.door.port, ssl=files.context()
    )
    writer.write(
        f"POST {API_PREFIX}/jobs HTTP/1.1\r\n".encode()
        + b"Host: localhost\r\nContent-Length: 100\r\n\r\n{"
    )
    running = https.door.running
    await eventually(lambda: running, "request under way", interval=0.01)
    await https.services.store.revoke_certificate(files.record.serial)
    began = time.monotonic()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError, ssl.SSLError)):
        await asyncio.wait_for(reader.readexactly(1), 5)
    assert time.monotonic() - began < 1
    writer.close()


async def test_a_websocket_ends_when_its_certificate_is_revoked(https: Served) -> None:
    await submit(https, "alice")
    job = await https.services.store.get_job(JOB)
    assert job is not None
    await https.services.store.update_job(job, state=JobState.RUNNING, site="lab", node="n1")
    files = await https.client("alice")
    assert files.record is not None
    url = https.url(f"/jobs/{JOB}/shell")
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, ssl=files.context(), autoping=False) as terminal,
    ):
        await terminal.send_bytes(b"echo")
        assert (await asyncio.wait_for(terminal.receive(), 5)).data == b"echo"
        await https.services.store.revoke_certificate(files.record.serial)
        began = time.monotonic()
        await asyncio.wait_for(terminal.receive(), 5)
        assert terminal.closed
        assert time.monotonic() - began < 1


async def test_the_streams_of_others_go_on(https: Served) -> None:
    await submit(https, "alice")
    alice, root = await https.client("alice"), await https.client("root", CertificateKind.ADMIN)
    assert root.record is not None
    async with event_stream(https, alice) as kept, event_stream(https, root) as closed:
        await https.services.store.revoke_certificate(root.record.serial)
        await seconds_until_closed(closed)
        await https.services.store.add_event(JOB, EventDraft("Still here"))
        await asyncio.wait_for(kept.readuntil(b"Still here"), 5)


# -- the original's users ----------------------------------------------------------------------


@pytest.fixture
def original() -> OriginalAuthority:
    return OriginalAuthority()


@pytest.fixture
async def both(tmp_path: Path, original: OriginalAuthority) -> AsyncIterator[Served]:
    """A door that trusts the cluster's certificate of an original too, without the grid's."""
    ca = tmp_path / "cluster.pem"
    ca.write_bytes(original.cluster)
    async with served(tmp_path, ServerOptions(HOSTS, client_ca_file=ca)) as https:
        yield https


async def test_an_original_user_comes_in_once_adopted(
    both: Served, original: OriginalAuthority, tmp_path: Path
) -> None:
    files = original.issue("demo", UUID, tmp_path / "demo", both.issuer.authority.pem)
    answer = await both(files)
    assert (answer.status, answer.error["code"]) == (403, "unknown_uuid")
    assert UUID in answer.error["message"]

    await submit(both, "dora", "bob")
    await both.issuer.adopt(UUID.upper(), "dora")
    served_certificates(both.services).look_again()
    assert owners(await both(files)) == {"dora"}


async def test_a_stream_of_an_original_user_ends_when_it_is_for_nobody_any_more(
    both: Served, original: OriginalAuthority, tmp_path: Path
) -> None:
    await submit(both, "dora")
    await both.issuer.adopt(UUID, "dora")
    files = original.issue("demo", UUID, tmp_path / "demo", both.issuer.authority.pem)
    async with event_stream(both, files) as stream:
        await both.issuer.adopt(UUID, None)
        assert await seconds_until_closed(stream) < 1


async def test_one_certificate_of_an_original_user_is_revoked(
    both: Served, original: OriginalAuthority, tmp_path: Path
) -> None:
    ca = both.issuer.authority.pem
    stolen, new = (original.issue("demo", UUID, tmp_path / name, ca) for name in ("old", "new"))
    await both.issuer.adopt(UUID, "dora")
    assert (await both(stolen)).status == 200
    await both.issuer.revoke_original(stolen.cert.read_bytes())
    served_certificates(both.services).look_again()
    assert (await both(stolen)).error["code"] == "certificate_refused"
    assert (await both(new)).status == 200


async def test_an_original_user_gets_no_certificate_of_ours(
    both: Served, original: OriginalAuthority, tmp_path: Path
) -> None:
    await both.issuer.adopt(UUID, "dora")
    files = original.issue("demo", UUID, tmp_path / "demo", both.issuer.authority.pem)
    request = {"csr": signing_request(files.key.read_text())}
    assert (await both(files, "POST", "/certificates", json=request)).status == 403


async def test_an_original_authority_makes_no_admins_of_ours(
    both: Served, original: OriginalAuthority, tmp_path: Path
) -> None:
    claim = x509.UniformResourceIdentifier("skyport:admin:root")
    server_ca = both.issuer.authority.pem
    files = original.issue("root", UUID, tmp_path / "root", server_ca, names=[claim])
    answer = await both(files)
    assert (answer.status, answer.error["code"]) == (403, "unknown_uuid")


async def test_originals_are_refused_where_they_are_not_configured(
    https: Served, original: OriginalAuthority, tmp_path: Path
) -> None:
    files = original.issue("demo", UUID, tmp_path / "demo", https.issuer.authority.pem)
    with pytest.raises(aiohttp.ClientError):
        await https(files)
