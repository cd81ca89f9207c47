"""HTTPS: what the server shows to its clients, and how it keeps that valid."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from skyport_core.api import DoorError, make_application
from skyport_core.api.doors import Caps, server, tls_door
from skyport_core.model import CertificateKind
from skyport_core.pki import Authority, Issuer
from skyport_core.pki.server import ServerIdentity, ServerOptions
from tests.infra.certs import DAY, ClientFiles
from tests.infra.wait import eventually

from .secured import HOSTS, Served, new_folder, served, served_certificates
from .served import CORE_ID, memory_services


@pytest.fixture
async def https(tmp_path: Path) -> AsyncIterator[Served]:
    async with served(tmp_path, ServerOptions(HOSTS)) as https:
        yield https


async def test_clients_verify_the_servers_name(https: Served) -> None:
    files = await https.client()
    address = f"127.0.0.1:{https.door.port}"
    openssl = ["openssl", "s_client", "-connect", address, "-CAfile", files.ca]
    openssl += ["-cert", files.cert, "-key", files.key]
    openssl += ["-verify_return_error", "-verify_hostname", "localhost"]
    done = await asyncio.to_thread(subprocess.run, openssl, input=b"", capture_output=True)
    assert b"Verification: OK" in done.stdout, done
    assert b"Verified peername: localhost" in done.stdout


async def test_a_server_under_another_name_is_not_trusted(tmp_path: Path) -> None:
    async with served(tmp_path, ServerOptions(("core.example",))) as https:
        with pytest.raises(aiohttp.ClientConnectorCertificateError):
            await https(await https.client())


async def shown(https: Served, files: ClientFiles) -> str:
    """Serial number of the certificate that the door shows now."""
    _, writer = await asyncio.open_connection("localhost", https.door.port, ssl=files.context())
    certificate = writer.get_extra_info("peercert")
    writer.close()
    return str(certificate["serialNumber"])


async def test_the_server_renews_its_certificate_in_time(tmp_path: Path) -> None:
    async with served(tmp_path, ServerOptions(HOSTS), interval=0.05) as https:
        files = await https.client()
        first = await shown(https, files)
        old = await https.issuer.issue(HOSTS[0], CertificateKind.SERVER, DAY, HOSTS)
        (tmp_path / "pki" / "server.pem").write_bytes(old.key + old.certificate)

        async def renewed() -> bool:
            serial = int(await shown(https, files), 16)
            return serial not in (int(first, 16), int(old.record.serial, 16))

        await eventually(renewed, "new certificate")


async def test_an_own_certificate_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    async def put(issuer: Issuer) -> int:
        issued = await issuer.issue(HOSTS[0], CertificateKind.SERVER, DAY, HOSTS)
        draft = tmp_path / "draft"
        draft.write_bytes(issued.key + issued.certificate)
        draft.replace(own)
        return int(issued.record.serial, 16)

    own = tmp_path / "own.pem"
    async with memory_services(new_folder(tmp_path)) as earlier:
        first = await put(Issuer(earlier.store, Authority.load(tmp_path), CORE_ID))
    async with served(tmp_path, ServerOptions(HOSTS, certfile=own), interval=0.05) as https:
        files = await https.client()
        assert int(await shown(https, files), 16) == first
        second = await put(https.issuer)

        async def changed() -> bool:
            return int(await shown(https, files), 16) == second

        await eventually(changed, "new certificate")


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), (b"nothing", "must belong to the key")]
)
async def test_a_certificate_that_cannot_be_used_is_named(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    own = tmp_path / "own.pem"
    if content is not None:
        own.write_bytes(content)
    with pytest.raises(DoorError, match=rf"https_certfile: .*own\.pem.*{words}"):
        async with served(tmp_path, ServerOptions(certfile=own)):
            pass


async def test_a_handshake_that_does_not_come_is_not_waited_for(
    https: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "HANDSHAKE_TIMEOUT", 0.1)
    reader, writer = await asyncio.open_connection("localhost", https.door.port)
    assert await asyncio.wait_for(reader.read(1), 5) == b""
    writer.close()


@pytest.mark.parametrize("caps", [Caps(total=2), Caps(peer=2)])
async def test_connections_beyond_the_caps_are_closed(
    https: Served, tmp_path: Path, caps: Caps
) -> None:
    identity = ServerIdentity(https.issuer, tmp_path, ServerOptions(HOSTS))
    register = served_certificates(https.services).register
    application = make_application(https.services)
    door = await tls_door(application, register, identity, "127.0.0.1", 0, caps=caps)
    files = await https.client()

    async def connect() -> asyncio.StreamWriter:
        _, writer = await asyncio.open_connection("localhost", door.port, ssl=files.context())
        return writer

    async def connected() -> bool:
        with contextlib.suppress(OSError):
            (await connect()).close()
            return True
        return False

    try:
        first, second = await connect(), await connect()
        with pytest.raises(OSError):
            await connect()
        first.close()
        await eventually(connected, "room for another one")
        second.close()
    finally:
        await door.close()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["-tls1_1"], b"alert protocol version"),
        (["-tls1_2"], b"TLSv1.2"),
        (["-alpn", "h2,http/1.1"], b"ALPN protocol: http/1.1"),
    ],
)
async def test_old_protocols_are_refused_and_the_new_ones_named(
    https: Served, options: list[str], word: bytes
) -> None:
    files = await https.client()
    openssl = ["openssl", "s_client", "-connect", f"127.0.0.1:{https.door.port}"]
    openssl += ["-cert", files.cert, "-key", files.key, "-cipher", "ALL:@SECLEVEL=0", *options]
    done = await asyncio.to_thread(subprocess.run, openssl, input=b"", capture_output=True)
    assert word in done.stdout + done.stderr, done


async def test_a_connection_is_not_negotiated_anew(https: Served) -> None:
    files = await https.client()
    openssl = ["openssl", "s_client", "-connect", f"127.0.0.1:{https.door.port}", "-tls1_2"]
    openssl += ["-cert", files.cert, "-key", files.key]
    done = await asyncio.to_thread(
        subprocess.run, openssl, input=b"R\n", capture_output=True, timeout=10
    )
    assert b"no renegotiation" in done.stderr, done


async def test_a_port_in_use_is_named(https: Served, tmp_path: Path) -> None:
    identity = ServerIdentity(https.issuer, tmp_path, ServerOptions(HOSTS))
    register = served_certificates(https.services).register
    application = make_application(https.services)
    with pytest.raises(DoorError, match=rf"127\.0\.0\.1:{https.door.port}.*in use"):
        await tls_door(application, register, identity, "127.0.0.1", https.door.port)
