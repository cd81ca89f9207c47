"""``skyport-core cert``, with a core that runs and without."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from skyport_core.certcommand import CertCommand
from skyport_core.wire import API_PREFIX
from tests.infra.certs import ClientFiles, OriginalAuthority
from tests.infra.core import CoreProcess
from tests.infra.ports import free_ports

UUID = "1A2B3C4D-0000-4000-8000-00000000000a"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    home = tmp_path / "home"
    monkeypatch.setenv("SKYPORT_HOME", str(home))
    return home


def cert(*arguments: object) -> Result:
    result = CliRunner().invoke(CertCommand.group, [str(one) for one in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    return result


def listed(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(cert("list", "--json", *arguments).stdout)
    return found


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_issue_writes_what_a_client_needs(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "alice"
    assert cert("issue", "alice", "--out", out, "--days", 3).exit_code == 0
    assert {path.name: mode(path) for path in out.iterdir()} == {
        "key.pem": 0o600,
        "cert.pem": 0o600,
        "ca.pem": 0o644,
    }
    ClientFiles(out).context()
    certificate = x509.load_pem_x509_certificate((out / "cert.pem").read_bytes())
    [record] = listed()
    assert int(record["serial"], 16) == certificate.serial_number
    assert (record["kind"], record["name"]) == ("user", "alice")
    assert mode(home) == 0o700


def test_clients_of_the_original_find_their_files(home: Path, tmp_path: Path) -> None:
    out = tmp_path / ".swm"
    cert("issue", "alice", "--out", out, "--swm-layout")
    assert (out / "ca-chain-cert.pem").read_text() == cert("authority").stdout


def test_the_configuration_file_names_home_and_lifetime(tmp_path: Path) -> None:
    config = tmp_path / "config.py"
    config.write_text(
        f"c.SkyPortCore.home = {str(tmp_path / 'there')!r}\nc.SkyPortCore.certificate_days = 2\n"
    )
    assert cert("issue", "alice", "-f", config, "--out", tmp_path / "alice").exit_code == 0
    assert (tmp_path / "there" / "pki" / "authority.pem").exists()
    [record] = json.loads(cert("list", "-f", config, "--json").stdout)
    assert record["expires_at"][:10] != record["issued_at"][:10]


def test_renew_keeps_the_key(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "alice"
    cert("issue", "alice", "--out", out)
    key, old = (out / "key.pem").read_bytes(), (out / "cert.pem").read_bytes()
    assert cert("renew", out).exit_code == 0
    assert (out / "key.pem").read_bytes() == key
    assert (out / "cert.pem").read_bytes() != old
    ClientFiles(out).context()


def test_the_list_tells_what_is_valid(home: Path, tmp_path: Path) -> None:
    cert("issue", "alice", "--out", tmp_path / "a")
    cert("issue", "bob", "--out", tmp_path / "b")
    cert("revoke", "--name", "bob", "--reason", "left")
    lines = cert("list").stdout.splitlines()
    assert [line.split()[2:3] + line.split()[5:] for line in lines[1:]] == [
        ["bob", "revoked", "left"],
        ["alice", "valid"],
    ]


def test_the_list_of_revocations_holds_what_is_revoked(home: Path, tmp_path: Path) -> None:
    for name in ("alice", "bob"):
        cert("issue", name, "--out", tmp_path / name)
    cert("revoke", "--name", "bob")
    crl = x509.load_pem_x509_crl(cert("crl").stdout.encode())
    bob = x509.load_pem_x509_certificate((tmp_path / "bob" / "cert.pem").read_bytes())
    assert [entry.serial_number for entry in crl] == [bob.serial_number]
    authority = x509.load_pem_x509_certificate(cert("authority").stdout.encode())
    public_key = authority.public_key()
    assert isinstance(public_key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(public_key)


def test_a_renewal_is_revoked_with_what_it_renews(home: Path, tmp_path: Path) -> None:
    cert("issue", "alice", "--out", tmp_path / "a")
    [first] = listed()
    cert("renew", tmp_path / "a")
    second = next(one for one in listed() if one["serial"] != first["serial"])
    assert second["issued_by"] == first["serial"]
    told = cert("revoke", first["serial"]).stdout
    assert first["serial"] in told
    assert second["serial"] in told
    assert all(one["revoked_at"] for one in listed())


def test_one_certificate_of_an_original_is_revoked_by_its_file(home: Path, tmp_path: Path) -> None:
    theirs = OriginalAuthority().issue("bob", UUID, tmp_path / "bob", b"")
    for _ in range(2):
        told = cert("revoke", "--original", theirs.cert).stdout
        assert "CN=cluster" in told
    cert("issue", "alice", "--out", tmp_path / "a")
    ours = cert("revoke", "--original", tmp_path / "a" / "cert.pem")
    assert (ours.exit_code, listed()[0]["serial"] in ours.stderr) == (1, True)


def test_adopt_is_taken_back(home: Path) -> None:
    assert f"{UUID.lower()} stands for dora" in cert("adopt", UUID, "dora").stdout
    assert cert("adopt", UUID, "--remove").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["issue", "no host", "--out", "OUT", "--kind", "server"], ["'no host'", "address"]),
        (["issue", "x", "--out", "OUT", "--dns", "a"], ["--dns", "user"]),
        (["issue", "x", "--out", "OUT", "--kind", "gate", "--ip", "300.1"], ["300.1", "address"]),
        (["issue", "x", "--out", "OUT", "--kind", "gate", "--dns", "a..b"], ["a..b", "host"]),
        (["issue", "x", "--out", "OUT", "--kind", "king"], ["king", "user", "gate"]),
        (["issue", "x", "--out", "OUT", "--days", "0"], ["--days", "3650"]),
        (["issue", "\n", "--out", "OUT"], ["control character"]),
        (["issue", "x", "--out", "OUT", "-f", "none.py"], ["none.py"]),
        (["renew", "."], ["cert.pem", "No such file"]),
        (["revoke", "abc"], ["abc", "serial"]),
        (["revoke"], ["serial", "--name", "--original"]),
        (["revoke", "--original", "none.pem"], ["none.pem", "No such file"]),
        (["revoke", "--name", "nobody"], ["nobody"]),
        (["adopt", "bla", "dora"], ["'bla'", "UUID"]),
        (["adopt", UUID], ["--remove"]),
        (["list", "--db-url", "mysql://x"], ["mysql", "postgresql"]),
    ],
)
def test_what_is_wrong_is_named(
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    result = cert(*arguments)
    assert result.exit_code in (1, 2)
    for word in words:
        assert word in result.stderr
    assert not (tmp_path / "OUT").exists()


def test_a_key_is_not_replaced_unasked(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "alice"
    cert("issue", "alice", "--out", out)
    key = (out / "key.pem").read_bytes()
    assert "--force" in cert("issue", "alice", "--out", out).stderr
    assert (out / "key.pem").read_bytes() == key
    assert cert("issue", "alice", "--out", out, "--force").exit_code == 0
    assert (out / "key.pem").read_bytes() != key


async def run(*arguments: object, home: Path) -> None:
    """The command as an admin runs it, in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "skyport_core",
        "cert",
        *map(str, arguments),
        env={**os.environ, "SKYPORT_HOME": str(home)},
        stdout=asyncio.subprocess.DEVNULL,
    )
    assert await process.wait() == 0


async def test_a_running_core_lets_in_and_out_whom_the_command_says(tmp_path: Path) -> None:
    [port] = free_ports(1)
    config = f"c.SkyPortCore.https_port = {port}\nc.SkyPortCore.https_address = '127.0.0.1'\n"
    url = f"https://localhost:{port}{API_PREFIX}/jobs"
    async with CoreProcess(config) as core, aiohttp.ClientSession() as session:
        await asyncio.to_thread(
            cert, "issue", "alice", "--out", tmp_path / "alice", "--home", core.home
        )
        alice = ClientFiles(tmp_path / "alice").context()
        job = {"command": ["true"], "hold": True}
        async with session.post(url, json=job, ssl=alice) as answer:
            assert answer.status == 201
            submitted = await answer.json()
        assert submitted["owner"] == "alice"
        async with session.get(f"{url}/{submitted['id']}/events", ssl=alice) as stream:
            await stream.content.readuntil(b"\n\n")
            await run("revoke", "--name", "alice", home=core.home)
            revoked = time.monotonic()
            with contextlib.suppress(aiohttp.ClientError):
                while await asyncio.wait_for(stream.content.read(65536), 5):
                    pass
            assert time.monotonic() - revoked < 1
        async with session.get(url, ssl=alice) as answer:
            assert answer.status == 403
            assert (await answer.json())["error"]["code"] == "certificate_refused"
