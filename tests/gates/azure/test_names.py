"""Names, tags and keys follow from the partition's name."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import asyncssh
import pytest

from skyport_gates.azure.keys import Keys
from skyport_gates.azure.names import (
    address_name,
    all_tags,
    disk_name,
    machine_names,
    nic_name,
    owner_of,
    tag,
)
from skyport_gates.gate import TransientStore


def test_a_valid_name_stays_as_it_is() -> None:
    assert machine_names("sp-8f3a", 1) == ("sp-8f3a",)
    assert machine_names("sp-8f3a", 3) == ("sp-8f3a-0", "sp-8f3a-1", "sp-8f3a-2")


@pytest.mark.parametrize("name", ["a b", "x" * 80, "ends-", "12345", "ü", "", "a.b", "_a"])
def test_any_other_name_becomes_a_valid_one(name: str) -> None:
    for machine in machine_names(name, 12):
        assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,52}[A-Za-z0-9])?", machine)
        assert not machine.isdigit()
        assert max(map(len, (nic_name(machine), disk_name(machine), address_name(machine)))) <= 64


def test_different_names_stay_different() -> None:
    assert machine_names("a b", 1) != machine_names("a_b", 1)


@pytest.mark.parametrize(
    "resource", ["sp-1-nic", "SP-1-NIC-8f3a", "sp-1-nic_8f3a", "sp-1-os", "sp-1-ip-77", "sp-1-OS"]
)
def test_a_resource_is_known_by_its_name(resource: str) -> None:
    assert owner_of(resource, {"sp-1": "sp-1", "sp-12": "sp-12"}) == "sp-1"


@pytest.mark.parametrize("resource", ["sp-1", "sp-1-nicer", "sp-2-nic", "sp-1-disk", "-os"])
def test_other_resources_are_not(resource: str) -> None:
    assert owner_of(resource, {"sp-1": "sp-1"}) is None


def test_tags_are_found_in_any_case() -> None:
    assert tag({"SkyPort-Core": "core-1"}, "skyport-core") == "core-1"
    assert tag(None, "skyport-core") == ""


def test_tags_of_the_gate_win_and_are_not_too_long() -> None:
    tags = all_tags("core-1", "sp-1", 2, {"skyport-job": "j" * 300}, {"skyport-core": "other"})
    assert tags["skyport-core"] == "core-1"
    assert tags["skyport-nodes"] == "2"
    assert len(tags["skyport-job"]) == 256


def test_a_private_key_belongs_to_its_public_key() -> None:
    keys = Keys(b"s" * 32)
    private = asyncssh.import_private_key(keys.private("sp-1"))
    assert private.export_public_key().decode().strip() == keys.public("sp-1")


def test_openssh_reads_the_private_key(tmp_path: Path) -> None:
    keys = Keys(b"s" * 32)
    file = tmp_path / "key"
    file.touch(mode=0o600)
    file.write_text(keys.private("sp-1"))
    said = subprocess.run(["ssh-keygen", "-y", "-f", file], capture_output=True, check=True)
    assert said.stdout.decode().strip() == keys.public("sp-1")


def test_keys_differ_by_name_and_by_secret() -> None:
    keys = {Keys(secret * 32).public(name) for secret in (b"s", b"t") for name in ("a", "b")}
    assert len(keys) == 4


async def test_the_secret_is_made_once() -> None:
    store = TransientStore()
    first, second = await Keys.load(store), await Keys.load(store)
    assert first.private("sp-1") == second.private("sp-1")
