"""The API behind the real HTTPS door, with the rest of the core in memory."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from skyport_core.api import Services, make_application
from skyport_core.api.doors import TlsDoor, tls_door
from skyport_core.certificates import Certificates
from skyport_core.model import CertificateKind
from skyport_core.pki import Authority, Issuer
from skyport_core.pki.server import ServerIdentity, ServerOptions
from skyport_core.wire import API_PREFIX
from tests.core.api.served import CORE_ID, Answer, memory_services
from tests.infra.certs import DAY, ClientFiles, write

HOSTS = ("localhost", "127.0.0.1")


@dataclass
class Served:
    """A door with what its clients need."""

    door: TlsDoor
    services: Services
    issuer: Issuer
    folder: Path

    async def client(
        self,
        name: str = "alice",
        kind: CertificateKind = CertificateKind.USER,
        lifetime: dt.timedelta = DAY,
        hosts: tuple[str, ...] = (),
    ) -> ClientFiles:
        issued = await self.issuer.issue(name, kind, lifetime, hosts)
        folder = self.folder / f"{kind.value}-{name}-{issued.record.serial[:6]}"
        return write(folder, issued, self.issuer.authority.pem)

    async def __call__(
        self, files: ClientFiles, method: str = "GET", path: str = "/jobs", **options: Any
    ) -> Answer:
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, self.url(path), ssl=files.context(), **options) as answer,
        ):
            return Answer(answer.status, answer.headers, await answer.read())

    def url(self, path: str, host: str = "localhost") -> str:
        return f"https://{host}:{self.door.port}{API_PREFIX}{path}"


def served_certificates(services: Services) -> Certificates:
    assert isinstance(services.certificates, Certificates)
    return services.certificates


@asynccontextmanager
async def served(
    folder: Path, options: ServerOptions, interval: float = 30.0, *, original: bool = False
) -> AsyncIterator[Served]:
    async with memory_services(folder) as services:
        authority = Authority.load(folder)
        issuer = Issuer(services.store, authority, CORE_ID)
        door = await tls_door(
            make_application(services, original=original),
            served_certificates(services).register,
            ServerIdentity(issuer, folder, options),
            "127.0.0.1",
            0,
            interval=interval,
        )
        try:
            yield Served(door, services, issuer, folder)
        finally:
            await door.close()


def new_folder(parent: Path) -> Path:
    folder = parent / "earlier"
    folder.mkdir()
    return folder
