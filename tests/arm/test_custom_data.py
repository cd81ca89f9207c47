"""How machines of the tests understand their custom data: as cloud-init documents it."""

from __future__ import annotations

import base64
import gzip

import pytest

from tests.infra.arm.cloudinit import (
    Seed,
    config_of,
    content_of,
    mode_of,
    shell_script,
    users_of,
)


def test_a_cloud_config_is_a_mapping_behind_its_header():
    assert config_of(b"#cloud-config\nhostname: one\n") == ({"hostname": "one"}, "")


def test_packed_custom_data_is_unpacked():
    assert config_of(gzip.compress(b"#cloud-config\nruncmd: [true]\n"))[0] == {"runcmd": [True]}


def test_a_script_in_place_of_a_config_is_kept_for_the_end():
    assert config_of(b"#!/bin/sh\ntrue\n") == ({}, "#!/bin/sh\ntrue\n")


@pytest.mark.parametrize("data", [b"users: []\n", b"#cloud-config\n- a\n", b"\xff\xfe"])
def test_other_custom_data_is_refused(data: bytes):
    with pytest.raises(ValueError):
        config_of(data)


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("b64", base64.b64encode(b"data").decode()),
        ("base64", base64.b64encode(b"data").decode()),
        ("gz+b64", base64.b64encode(gzip.compress(b"data", mtime=0)).decode()),
        ("gz", gzip.compress(b"data", mtime=0)),
        ("text/plain", "data"),
    ],
)
def test_content_is_decoded(encoding: str, content: object):
    file = {"path": "/f", "content": content, "encoding": encoding}
    assert content_of(file) == b"data"


def test_an_unknown_encoding_is_an_error():
    with pytest.raises(ValueError, match="rot13"):
        content_of({"path": "/f", "content": "x", "encoding": "rot13"})


@pytest.mark.parametrize(("given", "bits"), [(None, 0o644), ("0600", 0o600), (0o640, 0o640)])
def test_permissions_are_octal_text_or_a_number(given: object, bits: int):
    assert mode_of(given) == bits


def test_commands_are_arguments_or_shell_text():
    script = shell_script([["echo", "a b"], "echo $HOME | wc", None, ["true"]])
    assert script == "#!/bin/sh\necho 'a b'\necho $HOME | wc\ntrue\n"


def test_the_platforms_login_is_made_unless_other_users_are_named():
    seed = Seed("i", "h", username="azureuser", public_keys=["ssh-ed25519 A"])
    (user,) = users_of({}, seed)
    assert (user["name"], user["ssh_authorized_keys"]) == ("azureuser", ["ssh-ed25519 A"])
    assert [user["name"] for user in users_of({"users": ["default", "bob"]}, seed)] == [
        "azureuser",
        "bob",
    ]
    assert users_of({"users": [{"name": "bob"}]}, seed) == [{"name": "bob"}]


def test_a_seed_survives_its_way_to_the_disk():
    seed = Seed("i", "h", username="u", custom_data=b"\x00\xff", trouble=["mute"])
    assert Seed.from_json(seed.to_json()) == seed
