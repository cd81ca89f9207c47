"""Who trusts whom on the way to a core, and what is said when they do not."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyport_core.client import (
    CoreClient,
    CoreError,
    CoreUnavailable,
    HttpsEndpoint,
    HubEndpoint,
    SocketEndpoint,
    Untrusted,
)
from skyport_core.pki.server import ServerOptions
from tests.core.api.test_tls_door import Served, served
from tests.infra.certs import DAY, ClientFiles


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path / "core", ServerOptions(("localhost",))) as https:
        yield https


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> None:
    (tmp_path / "core").mkdir()


def way(https: Served, files: ClientFiles, host: str = "localhost") -> HttpsEndpoint:
    return HttpsEndpoint(f"{host}:{https.door.port}", files.cert, files.key, files.ca)


async def test_a_certificate_lets_its_owner_in(https: Served) -> None:
    async with CoreClient(way(https, await https.client("alice"))) as client:
        assert (await client.health()).status == "ok"
        assert await client.list_jobs() == []


async def test_a_certificate_that_has_expired_is_named(https: Served) -> None:
    files = await https.client(lifetime=dt.timedelta(seconds=-1))
    async with CoreClient(way(https, files)) as client:
        with pytest.raises(Untrusted, match=r"cert\.pem expired on"):
            await client.health(wait=60)


async def test_a_certificate_that_was_revoked_is_refused_in_words(https: Served) -> None:
    files = await https.client()
    assert files.record is not None
    await https.issuer.revoke(files.record.serial)
    async with CoreClient(way(https, files)) as client:
        with pytest.raises((CoreError, CoreUnavailable), match="revoked"):
            await client.health()


async def test_a_core_of_another_authority_is_not_trusted(https: Served, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with served(tmp_path / "other", ServerOptions(("localhost",))) as other:
        files, foreign = await https.client(), await other.client()
        async with CoreClient(way(https, ClientFiles(foreign.folder))) as client:
            with pytest.raises(Untrusted, match="authority that is not known here"):
                await client.health(wait=60)
        mixed = HttpsEndpoint(f"localhost:{https.door.port}", foreign.cert, foreign.key, files.ca)
        async with CoreClient(mixed) as client:
            with pytest.raises(Untrusted, match="does not know the authority"):
                await client.health(wait=60)


async def test_a_core_under_another_name_is_not_trusted(https: Served) -> None:
    async with CoreClient(way(https, await https.client(), "127.0.0.1")) as client:
        with pytest.raises(Untrusted, match="for another name"):
            await client.health(wait=60)


async def test_files_that_cannot_be_used_are_named(https: Served, tmp_path: Path) -> None:
    files = await https.client()
    (tmp_path / "text").write_text("no pem")
    for broken in (tmp_path / "text", tmp_path / "nothing"):
        for field in ("certificate", "key", "authority"):
            given = {"certificate": files.cert, "key": files.key, "authority": files.ca}
            endpoint = HttpsEndpoint(f"localhost:{https.door.port}", **{**given, field: broken})
            async with CoreClient(endpoint) as client:
                with pytest.raises(Untrusted, match=broken.name):
                    await client.health(wait=60)


async def test_a_renewed_certificate_takes_the_place_of_the_old_one(https: Served) -> None:
    files = await https.client("alice", lifetime=DAY)
    before = files.key.read_bytes(), files.cert.read_bytes()
    async with CoreClient(way(https, files)) as client:
        issued = await client.renew_certificate(files.cert, files.key)
    assert issued.certificate.name == "alice"
    assert files.key.read_bytes() == before[0]
    assert files.cert.read_bytes() != before[1]
    assert files.cert.stat().st_mode & 0o777 == 0o600
    async with CoreClient(way(https, files)) as client:
        assert (await client.health()).status == "ok"


@pytest.mark.parametrize("address", ["http://core:8443", "https://core/path", ""])
def test_an_address_that_is_no_https_door_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        HttpsEndpoint(address, Path("c"), Path("k"), Path("a"))


def test_files_of_an_endpoint_may_be_texts() -> None:
    endpoint = HttpsEndpoint("core.lab", "cert.pem", "key.pem", "ca.pem")
    assert endpoint == HttpsEndpoint("core.lab", Path("cert.pem"), Path("key.pem"), Path("ca.pem"))
    assert SocketEndpoint("/run/core.sock").path == Path("/run/core.sock")
    assert HubEndpoint("https://hub.lab", "token", "ca.pem").authority == Path("ca.pem")


def test_a_token_does_not_travel_in_the_clear() -> None:
    with pytest.raises(ValueError, match="in the clear"):
        HubEndpoint("http://hub.lab/services/skyport", "secret")
    endpoint = HubEndpoint("http://127.0.0.1:8000/services/skyport/", "secret")
    assert endpoint.url == "http://127.0.0.1:8000/services/skyport"
    assert "secret" not in repr(endpoint)


@pytest.mark.parametrize(
    ("status", "error", "message"),
    [
        (302, CoreError, "is the token still good"),
        (503, CoreUnavailable, "not reached by the proxy"),
    ],
)
async def test_what_the_hub_answers_is_put_into_words(
    status: int, error: type[Exception], message: str
) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 %d X\r\nLocation: /login\r\nContent-Length: 0\r\n\r\n" % status)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        endpoint = HubEndpoint(f"http://127.0.0.1:{port}/services/skyport", "secret")
        async with CoreClient(endpoint) as client:
            with pytest.raises(error, match=message):
                await client.health()
    assert heard[0].startswith(b"GET /services/skyport/api/v1/health ")
    assert b"Authorization: Bearer secret" in heard[0]
