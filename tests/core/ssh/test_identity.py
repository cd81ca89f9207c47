"""The SSH authority and the certificates it signs."""

from __future__ import annotations

import stat
import subprocess
import time
from pathlib import Path

import asyncssh
import pytest

from skyport_core.ssh import identity as identity_module
from skyport_core.ssh.errors import LoginRefused
from skyport_core.ssh.identity import SSHIdentity


def shown(certificate: asyncssh.SSHCertificate, folder: Path) -> str:
    """The certificate as ssh-keygen tells it."""
    path = folder / "shown-cert.pub"
    certificate.write_certificate(path)
    command = ["ssh-keygen", "-L", "-f", str(path)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_the_authority_is_made_once_and_found_again(tmp_path: Path) -> None:
    assert SSHIdentity.load(tmp_path).user_ca == SSHIdentity.load(tmp_path).user_ca


def test_the_authority_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    SSHIdentity.load(tmp_path)
    assert stat.S_IMODE((tmp_path / "ssh").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "ssh" / "ca").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "ssh").iterdir()] == ["ca"]


def test_the_public_key_is_one_openssh_line(tmp_path: Path) -> None:
    line = SSHIdentity.load(tmp_path).user_ca
    assert line.startswith("ssh-ed25519 ") and "\n" not in line


def test_a_certificate_is_for_one_user_and_names_the_core(tmp_path: Path) -> None:
    _, certificate = SSHIdentity.load(tmp_path, name="core-7").client_keys("ada")[0]  # type: ignore[misc]
    text = shown(certificate, tmp_path)
    assert 'Key ID: "core-7 for ada"' in text
    assert text.split("Principals:")[1].split("Critical Options:")[0].split() == ["ada"]


def test_a_certificate_allows_forwarding_and_terminals_only(tmp_path: Path) -> None:
    _, certificate = SSHIdentity.load(tmp_path).client_keys("ada")[0]  # type: ignore[misc]
    extensions = shown(certificate, tmp_path).split("Extensions:")[1].split()
    assert sorted(extensions) == ["permit-port-forwarding", "permit-pty"]


def test_a_certificate_is_kept_until_it_is_about_to_expire(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    identity = SSHIdentity.load(tmp_path)
    first = identity.client_keys("ada")
    assert identity.client_keys("ada") is first
    later = time.time() + identity_module.CERTIFICATE_LIFETIME - 60
    monkeypatch.setattr(identity_module.time, "time", lambda: later)
    assert identity.client_keys("ada") is not first


def test_a_key_file_is_used_instead_of_a_certificate(tmp_path: Path) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(tmp_path / "id")
    (loaded,) = SSHIdentity.load(tmp_path).client_keys("ada", str(tmp_path / "id"))
    assert isinstance(loaded, asyncssh.SSHKey)
    assert loaded.export_public_key() == key.export_public_key()


def test_a_missing_key_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoginRefused, match="nowhere"):
        SSHIdentity.load(tmp_path).client_keys("ada", str(tmp_path / "nowhere"))
