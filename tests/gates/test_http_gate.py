"""A gate that works elsewhere, behind its HTTP API, passes the conformance kit like any other."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import datetime as dt
import logging
import ssl
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import ClassVar

import aiohttp
import asyncssh
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from skyport_gates.conformance import StaticGateConformance, SuspendConformance
from skyport_gates.gate import (
    ConfigurationError,
    Gate,
    GateContext,
    GateError,
    GateUnavailable,
    InvalidRequest,
    NoCapacity,
    NotAuthorized,
    PartitionRequest,
    Scope,
    Throttled,
)
from skyport_gates.http import HTTPGate, HTTPStaticGate
from skyport_gates.http.errors import UnknownCore, body_of, error_of
from skyport_gates.http.holder import Holders, Revoked
from skyport_gates.http.server import GateServer
from skyport_gates.http.tenants import MOST_CORES, Tenants
from skyport_gates.http.tls import client_context, server_context
from skyport_gates.local import LocalGate
from tests.infra.elastic import ElasticTestGate, Fault, clear_faults, inject
from tests.infra.wait import eventually

LOG = logging.getLogger("tests.gate-server")


@dataclasses.dataclass(frozen=True)
class Papers:
    """The files of one holder of a certificate."""

    cafile: str
    certfile: str
    keyfile: str


def papers(folder: Path, name: str, authority: trustme.CA, known: trustme.CA) -> Papers:
    """A certificate for ``name``, issued by ``authority``, and the CA that its holder trusts."""
    folder.mkdir(parents=True, exist_ok=True)
    issued = authority.issue_cert("127.0.0.1", common_name=name)
    issued.private_key_pem.write_to_path(str(folder / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(folder / "cert.pem"))
    known.cert_pem.write_to_path(str(folder / "ca.pem"))
    return Papers(*(str(folder / name) for name in ("ca.pem", "cert.pem", "key.pem")))


class Served:
    """A gate server on loopback that can be stopped and started again on its port."""

    def __init__(self, folder: Path, make_gate: Callable[[], Gate]) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.papers = papers(folder / "server", "the-gate", self.authority, self.authority)
        self.port = 0
        self._make_gate = make_gate
        self._server: GateServer | None = None
        self.crl = folder / "crl.pem"
        self.revoke()

    def revoke(self, *files: str) -> None:
        """Write the file of revocations anew, with these certificates in it."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = dt.datetime.now(dt.timezone.utc)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")]))
            .last_update(now)
            .next_update(now + dt.timedelta(days=1))
        )
        for file in files:
            serial = x509.load_pem_x509_certificate(Path(file).read_bytes()).serial_number
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        signed = builder.sign(key, hashes.SHA256())
        self.crl.write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    async def start(self) -> None:
        home = self.folder / "served"
        home.mkdir(mode=0o700, exist_ok=True)
        context = server_context(**dataclasses.asdict(self.papers))
        tenants = Tenants(home, self._make_gate, LOG)
        holders = Holders({"core", "other"}, Revoked(self.crl))
        self._server = GateServer(self._make_gate, tenants, holders, LOG)
        self.port = await self._server.open("127.0.0.1", self.port, context)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.close()

    def options(self, name: str = "core", authority: trustme.CA | None = None) -> dict[str, str]:
        """What the gate of the core that is called ``name`` is configured with."""
        folder = self.folder / f"{name}-{id(authority)}"
        mine = papers(folder, name, authority or self.authority, self.authority)
        return {"url": f"https://127.0.0.1:{self.port}", **dataclasses.asdict(mine)}


def site(home: Path) -> list[Path]:
    """Folders of the gates that worked at the served site, one a core."""
    return sorted(home.glob("served/*/gate"))


class TestHTTPGate(SuspendConformance):
    """Nodes on demand, with sleep, behind the API."""

    ready_timeout = gone_timeout = asleep_timeout = 20.0

    @pytest.fixture(autouse=True)
    async def _served(self, _context: None, tmp_path: Path) -> AsyncIterator[None]:
        made: list[ElasticTestGate] = []

        def make() -> Gate:
            made.append(ElasticTestGate(name="far", delay=0.05))
            return made[-1]

        self.served = Served(tmp_path, make)
        await self.served.start()
        self.options = self.served.options()
        yield
        await self.served.stop()
        for gate in made:
            if gate.trait_has_value("context"):
                await gate.destroy()

    def make_gate(self) -> Gate:
        return HTTPGate(**self.options)


class TestHTTPStaticGate(StaticGateConformance):
    """Fixed nodes behind the API."""

    @pytest.fixture(autouse=True)
    async def _served(self, _context: None, tmp_path: Path) -> AsyncIterator[None]:
        made: list[LocalGate] = []

        def make() -> Gate:
            made.append(LocalGate(name="far"))
            return made[-1]

        self.served = Served(tmp_path, make)
        await self.served.start()
        self.options = self.served.options()
        yield
        await self.served.stop()
        for gate in made:
            if gate.trait_has_value("context"):
                await gate.close(idle=True)

    def make_gate(self) -> Gate:
        return HTTPStaticGate(**self.options)


@pytest.fixture
async def far(tmp_path: Path) -> AsyncIterator[Served]:
    """A served elastic site."""
    made: list[ElasticTestGate] = []

    def make() -> Gate:
        made.append(ElasticTestGate(name="far", delay=0.0))
        return made[-1]

    served = Served(tmp_path, make)
    await served.start()
    yield served
    await served.stop()
    for gate in made:
        if gate.trait_has_value("context"):
            clear_faults(gate.context.home)
            await gate.destroy()


async def test_errors_arrive_as_what_they_are(far: Served, context: GateContext) -> None:
    gate = HTTPGate(name="near", context=context, **far.options())
    await gate.start()
    try:
        (home,) = site(far.folder)
        request = PartitionRequest("p1", "small", "ann", context.user_ca)
        inject(home, Fault("create", "NoCapacity"), times=1)
        with pytest.raises(NoCapacity):
            await gate.create(request)
        await gate.create(request)
        assert [each.name for each in await gate.list()] == ["p1"]
    finally:
        await gate.close(idle=True)


@pytest.mark.parametrize(
    "error",
    [
        NoCapacity("full", hint="wait", scope=Scope(frozenset({"a"}), "west"), retry_after=9.0),
        Throttled("slowly", retry_after=3.0),
        NotAuthorized("no", hint="ask"),
    ],
)
def test_an_error_travels_whole(error: NoCapacity) -> None:
    assert vars(error_of(body_of(error))) == vars(error)
    assert type(error_of(body_of(error))) is type(error)


async def test_changes_are_passed_on(far: Served, context: GateContext) -> None:
    heard: list[str] = []
    near = dataclasses.replace(context, changed=heard.append)
    gate = HTTPGate(name="near", context=near, **far.options())
    await gate.start()
    try:
        await gate.create(PartitionRequest("p1", "small", "ann", context.user_ca))
        await eventually(lambda: "p1" in heard, "the change is heard")
    finally:
        await gate.close(idle=True)


async def test_a_restarted_server_goes_on_where_it_was(far: Served, context: GateContext) -> None:
    gate = HTTPGate(name="near", context=context, **far.options())
    await gate.start()
    try:
        await gate.create(PartitionRequest("p1", "small", "ann", context.user_ca))
        await far.stop()
        with pytest.raises(GateUnavailable):
            await gate.get("p1")
        await far.start()
        assert (await gate.get("p1")).name == "p1"
    finally:
        await gate.close(idle=True)


async def test_a_server_that_forgot_a_core_learns_of_it_again(
    far: Served, context: GateContext
) -> None:
    gate = HTTPGate(name="near", context=context, **far.options())
    await gate.start()
    try:
        await far.stop()
        (known,) = far.folder.glob("served/*/core.json")
        known.unlink()
        await far.start()
        assert await gate.list() == []
    finally:
        await gate.close(idle=True)


async def test_what_a_core_made_is_its_own(far: Served, context: GateContext) -> None:
    first = HTTPGate(name="near", context=context, **far.options("core"))
    await first.start()
    try:
        thief = HTTPGate(name="near", context=context, **far.options("other"))
        with pytest.raises(NotAuthorized, match="another certificate"):
            await thief.start()
    finally:
        await first.close(idle=True)


async def test_a_name_that_is_not_allowed_stays_outside(far: Served, context: GateContext) -> None:
    gate = HTTPGate(name="near", context=context, **far.options("stranger"))
    with pytest.raises(NotAuthorized, match="stranger"):
        await gate.start()


async def test_a_certificate_of_another_authority_is_refused(
    far: Served, context: GateContext
) -> None:
    gate = HTTPGate(name="near", context=context, **far.options("core", trustme.CA()))
    with pytest.raises(GateError) as refused:
        await gate.start()
    assert "refuse our certificate" in f"{refused.value.message} {refused.value.hint}"


async def test_a_server_of_another_authority_is_refused(far: Served, context: GateContext) -> None:
    options = far.options()
    other = trustme.CA()
    other.cert_pem.write_to_path(options["cafile"])
    gate = HTTPGate(name="near", context=context, **options)
    with pytest.raises(NotAuthorized, match="not accepted"):
        await gate.start()


async def test_nobody_comes_in_without_a_certificate(far: Served) -> None:
    trusting = ssl.create_default_context(cafile=far.papers.cafile)
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"https://127.0.0.1:{far.port}/gate/v1", ssl=trusting)


async def test_the_wrong_class_for_the_site_is_told(far: Served, context: GateContext) -> None:
    gate = HTTPStaticGate(name="near", context=context, **far.options())
    with pytest.raises(ConfigurationError, match="'http'"):
        await gate.start()


async def test_a_revoked_certificate_is_refused_at_once_on_an_open_connection_too(
    far: Served, context: GateContext
) -> None:
    options = far.options()
    gate = HTTPGate(name="near", context=context, **options)
    await gate.start()
    try:
        assert await gate.list() == []
        own = client_context(options["cafile"], options["certfile"], options["keyfile"])
        url = f"{options['url']}/gate/v1/cores/{context.core_id}/changes"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=own) as stream:
            begin = time.monotonic()
            far.revoke(options["certfile"])
            with pytest.raises(NotAuthorized, match="revoked"):
                await gate.list()
            with pytest.raises(aiohttp.ClientError):
                await stream.read()
            assert time.monotonic() - begin < 1.5
    finally:
        await gate.close(idle=True)


async def test_a_holder_has_a_few_cores_only(far: Served, context: GateContext) -> None:
    async with contextlib.AsyncExitStack() as stack:
        for number in range(MOST_CORES):
            mine = dataclasses.replace(context, core_id=f"core-{number}")
            gate = HTTPGate(name="near", context=mine, **far.options())
            await gate.start()
            stack.push_async_callback(gate.close, idle=True)
        one_more = dataclasses.replace(context, core_id="one-more")
        with pytest.raises(NotAuthorized, match="the most"):
            await HTTPGate(name="near", context=one_more, **far.options()).start()


CA = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()


class StubbornGate(ElasticTestGate):
    """Does what ``starts`` says of its core: "hangs", "fails", or nothing special."""

    starts: ClassVar[dict[str, str]] = {}
    closed: ClassVar[list[str]] = []
    call_timeout = 0.2

    async def start(self) -> None:
        how = self.starts.get(self.context.core_id)
        if how == "hangs":
            await asyncio.Event().wait()
        if how == "fails":
            raise RuntimeError("no quorum")
        await super().start()

    async def close(self, *, idle: bool) -> None:
        self.closed.append(self.context.core_id)
        await super().close(idle=idle)


@pytest.fixture
async def stubborn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tenants]:
    """Cores of a site whose gate starts as it likes."""
    monkeypatch.setattr(StubbornGate, "starts", {})
    monkeypatch.setattr(StubbornGate, "closed", [])
    tenants = Tenants(tmp_path, lambda: StubbornGate(name="far"), LOG)
    yield tenants
    await tenants.close()


async def test_a_gate_that_hangs_at_its_start_holds_up_no_other_core(
    stubborn: Tenants, tmp_path: Path
) -> None:
    StubbornGate.starts["one"] = "hangs"
    hanging = asyncio.ensure_future(stubborn.introduce("one", CA, "core"))
    await asyncio.sleep(0)
    await stubborn.introduce("two", CA, "core")
    assert not hanging.done()
    with pytest.raises(GateUnavailable, match=r"did not start within 0\.2 s"):
        await hanging
    assert StubbornGate.closed == ["one"]
    assert not (tmp_path / "one").exists()


async def test_what_is_no_public_key_introduces_no_core(stubborn: Tenants, tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="user_ca: must be a public key"):
        await stubborn.introduce("one", "garbage", "core")
    assert not list(tmp_path.iterdir())


async def test_a_core_whose_gate_does_not_start_keeps_no_other_from_coming_back(
    stubborn: Tenants, tmp_path: Path
) -> None:
    await stubborn.introduce("one", CA, "core")
    await stubborn.introduce("two", CA, "core")
    await stubborn.close()
    StubbornGate.starts["one"] = "fails"
    await stubborn.open()
    assert stubborn.of("two", "core")
    with pytest.raises(UnknownCore):
        stubborn.of("one", "core")
    with pytest.raises(NotAuthorized, match="another certificate"):
        await stubborn.introduce("one", CA, "thief")


async def test_news_that_cannot_be_read_do_not_end_the_listening(
    far: Served, context: GateContext
) -> None:
    heard: list[str] = []

    def changed(name: str) -> None:
        heard.append(name)
        if len(heard) == 1:
            raise ValueError(name)

    near = dataclasses.replace(context, changed=changed)
    gate = HTTPGate(name="near", context=near, **far.options())
    await gate.start()
    try:
        await gate.create(PartitionRequest("p1", "small", "ann", context.user_ca))
        await eventually(lambda: heard, "a change is heard")

        async def again() -> bool:
            await gate.create(PartitionRequest("p2", "small", "ann", context.user_ca))
            await gate.delete("p2")
            return "p2" in heard

        await eventually(again, "later changes are heard")
    finally:
        await gate.close(idle=True)


@pytest.mark.parametrize(
    ("name", "path", "status", "code"),
    [
        ("core", "/gate/v1/nothing", 404, "not_found"),
        ("core", "/gate/v1/cores/nobody/flavors", 404, "unknown_core"),
        ("stranger", "/gate/v1", 403, "refused"),
    ],
)
async def test_a_refusal_has_its_status(
    far: Served, name: str, path: str, status: int, code: str
) -> None:
    options = far.options(name)
    own = client_context(options["cafile"], options["certfile"], options["keyfile"])
    async with (
        aiohttp.ClientSession() as session,
        session.get(options["url"] + path, ssl=own) as answer,
    ):
        assert (answer.status, (await answer.json())["error"]["code"]) == (status, code)
