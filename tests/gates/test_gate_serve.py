"""``skyport-core gate serve``: a site of the configuration, offered to another core."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trustme

from skyport_core.model import CertificateKind
from skyport_gates.gate import GateContext, NotAuthorized
from skyport_gates.http import HTTPGate
from tests.gates.test_http_gate import Papers, papers
from tests.infra.certs import ClientFiles, issue
from tests.infra.process import ServerProcess
from tests.infra.wait import eventually

CONFIG = """
c = get_config()
c.SkyPortCore.gates = {
    "lab": {"class": "tests.infra.elastic:ElasticTestGate", "delay": 0.0},
}
"""


@pytest.fixture
def given(tmp_path: Path) -> tuple[trustme.CA, list[str], Path]:
    """An authority, and the options that every start of the command gets."""
    (tmp_path / "skyport_config.py").write_text(CONFIG)
    authority = trustme.CA()
    mine = papers(tmp_path / "server", "the-gate", authority, authority)
    options = [f"--home={tmp_path / 'home'}", "-f", str(tmp_path / "skyport_config.py")]
    options += ["--port=0", *(f"--{name}={path}" for name, path in vars(mine).items())]
    return authority, options, tmp_path


COMMAND = [sys.executable, "-m", "skyport_core", "gate", "serve"]


@asynccontextmanager
async def serving(folder: Path, options: list[str]) -> AsyncIterator[str]:
    """Address of a running command, which lets in a core called near."""
    server = ServerProcess("gate", [*COMMAND, "lab", "--allow=near", *options], folder)
    server.spawn()

    async def address() -> str:
        assert server.running, server.log.read_text()
        found = re.search(r"https://127\.0\.0\.1:\d+", server.log.read_text())
        return found.group() if found else ""

    try:
        yield await eventually(address, "it serves", timeout=30)
    finally:
        await server.end()
        server.detach()
    assert server.exit_code == 0


@pytest.fixture
async def served(given: tuple[trustme.CA, list[str], Path]) -> AsyncIterator[tuple[str, Papers]]:
    """Address of a running command, and the files of a core that it lets in."""
    authority, options, folder = given
    async with serving(folder, options) as url:
        yield url, papers(folder / "near", "near", authority, authority)


async def test_another_core_uses_the_site(served: tuple[str, Papers], context: GateContext) -> None:
    url, mine = served
    gate = HTTPGate(name="far", context=context, url=url, **vars(mine))
    await gate.start()
    try:
        assert {flavor.name for flavor in await gate.flavors()} == {"small", "large"}
        assert await gate.list() == []
    finally:
        await gate.close(idle=True)


@pytest.mark.parametrize("kind", [CertificateKind.GATE, CertificateKind.USER])
async def test_of_a_cores_own_certificates_only_those_of_gates_are_let_in(
    given: tuple[trustme.CA, list[str], Path], context: GateContext, kind: CertificateKind
) -> None:
    _, options, folder = given
    home = folder / "issuing"
    home.mkdir(mode=0o700)
    server = await issue(home, "far", folder / "s", CertificateKind.GATE, hosts=["127.0.0.1"])
    mine = await issue(home, "near", folder / "c", kind)
    files = [f"--{name}={path}" for name, path in vars(_papers(server)).items()]
    options = [*options[:4], *files]
    async with serving(folder, options) as url:
        gate = HTTPGate(name="far", context=context, url=url, **vars(_papers(mine)))
        if kind is CertificateKind.GATE:
            await gate.start()
            await gate.close(idle=True)
        else:
            with pytest.raises(NotAuthorized, match="near"):
                await gate.start()


def _papers(files: ClientFiles) -> Papers:
    return Papers(str(files.ca), str(files.cert), str(files.key))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere", "--allow=near"], "configured: lab"),
        (["lab"], "allow is empty"),
        ([], "name one site"),
        (["lab", "--allow=near", "--keyfile=/missing"], "/missing"),
    ],
)
async def test_what_is_wrong_is_told(
    given: tuple[trustme.CA, list[str], Path], arguments: list[str], words: str
) -> None:
    _, options, folder = given
    done = await asyncio.to_thread(
        subprocess.run,
        [*COMMAND, *options, *arguments],
        capture_output=True,
        text=True,
        cwd=Path.cwd(),
        timeout=30,
    )
    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(folder.glob("home/served/*/*"))
