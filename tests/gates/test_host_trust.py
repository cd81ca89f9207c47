"""Which host keys are accepted: pinned ones, authorities, and what known_hosts files say."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from skyport_gates.host_trust import HostTrust, Trust
from skyport_gates.inventory import HostConfig


def _key() -> str:
    key = asyncssh.generate_private_key("ssh-ed25519")
    return " ".join(key.export_public_key().decode().split()[:2])


def _trust(host: HostConfig, known_hosts: Path | str = "", host_cas: Any = ()) -> Trust:
    trust = HostTrust([host], str(known_hosts), host_cas)
    assert trust.refresh() == []
    return trust.of(host)


HOST = HostConfig(host="node1.example.org")
K, OTHER = _key(), _key()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "known_hosts"


def test_a_pinned_key_is_accepted_without_a_file() -> None:
    host = HostConfig(host="node1", host_key=(f"{K} a comment",))
    assert _trust(host) == Trust(host_keys=(K,))


def test_an_authority_of_the_node_and_of_the_site_are_accepted() -> None:
    host = HostConfig(host="node1", host_ca=(K,))
    assert set(_trust(host, host_cas=[OTHER]).host_cas) == {K, OTHER}


def test_a_plain_name_is_found(file: Path) -> None:
    file.write_text(f"node2.example.org {OTHER}\nnode1.example.org,10.0.0.1 {K} comment\n")
    assert _trust(HOST, file) == Trust(host_keys=(K,))
    assert _trust(HostConfig(host="10.0.0.1"), file) == Trust(host_keys=(K,))


def test_hashed_names_are_found(file: Path) -> None:
    file.write_text(f"node1.example.org {K}\n[node1.example.org]:2222 {OTHER}\n")
    subprocess.run(["ssh-keygen", "-q", "-H", "-f", str(file)], check=True, capture_output=True)
    assert "node1" not in file.read_text()
    assert _trust(HOST, file).host_keys == (K,)
    assert _trust(HostConfig(host=HOST.host, port=2222), file).host_keys == (OTHER,)


def test_a_port_of_its_own_goes_before_the_bare_name(file: Path) -> None:
    file.write_text(f"node1.example.org {K}\n[node1.example.org]:2222 {OTHER}\n")
    assert _trust(HostConfig(host=HOST.host, port=2222), file).host_keys == (OTHER,)
    assert _trust(HostConfig(host=HOST.host, port=2223), file).host_keys == (K,)


def test_patterns_and_exceptions_are_understood(file: Path) -> None:
    file.write_text(f"*.example.org,!node2.example.org {K}\n")
    assert _trust(HOST, file).host_keys == (K,)
    assert not _trust(HostConfig(host="node2.example.org"), file)


def test_an_authority_in_the_file_is_accepted(file: Path) -> None:
    file.write_text(f"@cert-authority *.example.org {K}\n")
    assert _trust(HOST, file) == Trust(host_cas=(K,))


def test_a_revoked_key_is_never_accepted(file: Path) -> None:
    file.write_text(f"node1.example.org {K}\n@revoked * {K}\n")
    assert not _trust(HOST, file)
    assert not _trust(HostConfig(host=HOST.host, host_key=(K,)), file)


def test_a_revocation_under_the_bare_name_holds_for_every_port(file: Path) -> None:
    file.write_text(f"[node1.example.org]:2222 {K}\n@revoked node1.example.org {K}\n")
    assert not _trust(HostConfig(host=HOST.host, port=2222), file)


def test_a_revoked_authority_is_never_accepted(file: Path) -> None:
    file.write_text(f"@cert-authority * {K}\n@revoked * {K}\n")
    assert not _trust(HOST, file)


def test_a_node_may_have_a_file_of_its_own(file: Path) -> None:
    file.write_text(f"node1.example.org {K}\n")
    host = HostConfig(host=HOST.host, known_hosts=str(file))
    assert _trust(host).host_keys == (K,)
    assert not _trust(HOST)


def test_a_jump_host_is_looked_up_by_its_own_name(file: Path) -> None:
    file.write_text(f"node1.example.org {K}\ngateway {OTHER}\n")
    gateway = HostConfig(host="gateway")
    host = HostConfig(host=HOST.host, jump=gateway)
    trust = HostTrust([host], str(file), ())
    trust.refresh()
    assert trust.of(gateway).host_keys == (OTHER,)
    assert trust.missing(host) == ""


def test_a_missing_key_is_reported_with_the_command_that_gets_it(file: Path) -> None:
    file.write_text("")
    host = HostConfig(host="10.0.0.5", port=2222)
    trust = HostTrust([host], str(file), ())
    trust.refresh()
    assert "10.0.0.5:2222" in trust.missing(host)
    assert f"`ssh-keyscan -p 2222 10.0.0.5 >> {file}`" in trust.missing(host)


def test_a_missing_key_of_a_jump_host_is_reported_first() -> None:
    host = HostConfig(host="inner", host_key=(K,), jump=HostConfig(host="gateway"))
    trust = HostTrust([host], "", ())
    trust.refresh()
    assert "gateway:22" in trust.missing(host)


def test_a_key_behind_a_jump_host_is_scanned_from_there() -> None:
    host = HostConfig(host="inner", jump=HostConfig(host="gateway", host_key=(K,)))
    trust = HostTrust([host], "", ())
    trust.refresh()
    assert "`ssh -p 22 gateway ssh-keyscan -p 22 inner >>" in trust.missing(host)


def test_a_changed_file_is_read_again(file: Path) -> None:
    file.write_text(f"node1.example.org {K}\n")
    trust = HostTrust([HOST], str(file), ())
    trust.refresh()
    file.write_text(f"node1.example.org {OTHER}\n# changed\n")
    trust.refresh()
    assert trust.of(HOST).host_keys == (OTHER,)


@pytest.mark.parametrize("content", ["node1.example.org\n", None])
def test_a_file_that_became_unusable_is_reported_once_and_the_last_one_stays(
    file: Path, content: str | None
) -> None:
    file.write_text(f"node1.example.org {K}\n")
    trust = HostTrust([HOST], str(file), ())
    trust.refresh()
    file.unlink()
    if content is not None:
        file.write_text(content)
    assert len(trust.refresh()) == 1
    assert trust.refresh() == []
    assert trust.of(HOST).host_keys == (K,)
