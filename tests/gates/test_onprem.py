"""The on-prem gate over real OpenSSH servers."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from skyport_gates.gate import ConfigurationError, GateContext, Node, NodeHealth
from skyport_gates.onprem import OnPremGate
from tests.infra.logins import Authority
from tests.infra.sshd import SSHD, start_sshd
from tests.infra.wait import eventually

SIZE = {"cpus": 4, "memory": "8G"}
MakeGate = Callable[..., OnPremGate]


@pytest.fixture
def sshd(tmp_path: Path, authority: Authority) -> Iterator[SSHD]:
    server = start_sshd(tmp_path / "node", user_ca=authority.public_key)
    yield server
    server.kill()


@pytest.fixture
async def make_gate(context: GateContext) -> AsyncIterator[MakeGate]:
    made: list[OnPremGate] = []

    def make(*inventory: dict[str, Any], **traits: Any) -> OnPremGate:
        made.append(OnPremGate(name="lab", context=context, inventory=list(inventory), **traits))
        return made[-1]

    yield make
    for gate in made:
        await gate.close(idle=True)


def _at(sshd: SSHD, **changes: Any) -> dict[str, Any]:
    """The server as an entry of the inventory."""
    entry = {"name": "n1", "host": "127.0.0.1", "port": sshd.port, "host_key": sshd.host_key}
    return {**entry, **SIZE, **changes}


async def _node(gate: OnPremGate, name: str = "n1") -> Node:
    return next(node for node in await gate.nodes() if node.name == name)


async def test_a_node_can_be_logged_in_to_by_its_endpoint(
    sshd: SSHD, make_gate: MakeGate, authority: Authority
) -> None:
    gate = make_gate(_at(sshd))
    await gate.start()
    node = await _node(gate)
    assert node.health is NodeHealth.UP
    assert node.endpoint.username == "{username}"
    async with authority.connect(node.endpoint, sshd.username) as connection:
        assert (await connection.run("echo hello")).stdout == "hello\n"


async def test_sizes_and_flavors_are_as_configured(sshd: SSHD, make_gate: MakeGate) -> None:
    gate = make_gate(_at(sshd, gpus=1, gpu_type="A100", labels={"room": "a"}, price=0.5))
    await gate.start()
    node, (flavor,) = await _node(gate), await gate.flavors()
    assert (node.cpus, node.memory, node.gpus, node.gpu_type) == (4, 8192, 1, "A100")
    assert dict(node.labels) == {"room": "a"}
    assert (flavor.name, flavor.price) == ("4cpu-8g-1xA100", 0.5)


async def test_the_sites_traits_fill_in_what_a_node_does_not_say(
    sshd: SSHD, make_gate: MakeGate, tmp_path: Path
) -> None:
    key, own_key = tmp_path / "key", tmp_path / "own_key"
    for path in (key, own_key):
        path.write_text("")
    gate = make_gate(
        _at(sshd),
        _at(sshd, name="n2", user="bob", identity_file=str(own_key)),
        user="svc",
        identity_file=str(key),
    )
    await gate.start()
    first, second = await _node(gate, "n1"), await _node(gate, "n2")
    assert (first.endpoint.username, first.endpoint.identity_file) == ("svc", str(key))
    assert (second.endpoint.username, second.endpoint.identity_file) == ("bob", str(own_key))


async def test_a_dead_server_is_seen_and_its_return_too(
    sshd: SSHD, make_gate: MakeGate, caplog: pytest.LogCaptureFixture
) -> None:
    gate = make_gate(_at(sshd), health_interval=0.1, down_interval=0.1)
    gate.log = logging.getLogger("test-onprem")
    caplog.set_level(logging.INFO, "test-onprem")
    await gate.start()
    sshd.kill()

    async def down() -> bool:
        return (await _node(gate)).health is NodeHealth.DOWN

    await eventually(down, "the node is down")
    assert f"refuses connections on 127.0.0.1:{sshd.port}" in (await _node(gate)).reason
    sshd.start()

    async def up() -> bool:
        return (await _node(gate)).health is NodeHealth.UP

    await eventually(up, "the node is up")
    assert (await _node(gate)).reason == ""
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_check_looks_at_once(sshd: SSHD, make_gate: MakeGate) -> None:
    gate = make_gate(_at(sshd), health_interval=3600)
    await gate.start()
    sshd.kill()
    assert (await _node(gate)).health is NodeHealth.UP
    assert (await gate.check("n1")).health is NodeHealth.DOWN
    sshd.start()
    assert (await gate.check("n1")).health is NodeHealth.UP


async def test_check_of_an_unknown_node_is_a_key_error(sshd: SSHD, make_gate: MakeGate) -> None:
    gate = make_gate(_at(sshd))
    await gate.start()
    with pytest.raises(KeyError):
        await gate.check("n9")


async def test_of_a_node_behind_a_jump_host_the_jump_host_is_looked_at(
    sshd: SSHD, make_gate: MakeGate
) -> None:
    jump = {"host": "127.0.0.1", "port": sshd.port, "host_key": sshd.host_key, "user": "gw"}
    gate = make_gate(_at(sshd, host="inner.invalid", port=22, jump=jump))
    await gate.start()
    node = await _node(gate)
    assert node.health is NodeHealth.UP
    assert node.endpoint.jump is not None
    assert (node.endpoint.jump.port, node.endpoint.jump.username) == (sshd.port, "gw")
    sshd.kill()
    assert (await gate.check("n1")).reason.startswith("its jump host refuses connections on")


async def test_known_hosts_gives_the_keys_and_is_read_again_when_it_changes(
    sshd: SSHD, make_gate: MakeGate, tmp_path: Path
) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    gate = make_gate(_at(sshd, host_key=[]), known_hosts=str(file))
    await gate.start()
    assert (await _node(gate)).endpoint.host_keys == (" ".join(sshd.host_key.split()[:2]),)
    file.write_text("# all gone\n")
    node = await _node(gate)
    assert node.health is NodeHealth.DOWN
    assert "no host key is known" in node.reason


async def test_a_host_authority_is_enough(
    sshd: SSHD, make_gate: MakeGate, authority: Authority
) -> None:
    gate = make_gate(_at(sshd, host_key=[]), host_ca=[authority.public_key])
    await gate.start()
    endpoint = (await _node(gate)).endpoint
    assert (endpoint.host_keys, len(endpoint.host_cas)) == ((), 1)


async def test_a_node_without_a_host_key_is_refused_with_the_way_out(
    sshd: SSHD, make_gate: MakeGate
) -> None:
    gate = make_gate(_at(sshd, host_key=[]))
    with pytest.raises(ConfigurationError) as refusal:
        await gate.start()
    assert "node n1: no host key is known" in refusal.value.message
    assert f"ssh-keyscan -p {sshd.port} 127.0.0.1" in refusal.value.message


async def test_files_that_are_not_there_are_named(
    sshd: SSHD, make_gate: MakeGate, tmp_path: Path
) -> None:
    gate = make_gate(_at(sshd, identity_file="/nowhere/key"), known_hosts=str(tmp_path / "absent"))
    with pytest.raises(ConfigurationError) as refusal:
        await gate.start()
    assert "node n1: identity_file /nowhere/key cannot be read" in refusal.value.message
    assert str(tmp_path / "absent") in refusal.value.message


async def test_a_site_without_nodes_is_refused(make_gate: MakeGate) -> None:
    with pytest.raises(ConfigurationError, match="has no nodes"):
        await make_gate().start()


async def test_a_configuration_that_was_mended_starts(
    sshd: SSHD, make_gate: MakeGate, tmp_path: Path
) -> None:
    file = tmp_path / "known_hosts"
    gate = make_gate(_at(sshd, host_key=[]), known_hosts=str(file))
    with pytest.raises(ConfigurationError):
        await gate.start()
    file.write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")
    await gate.start()
    assert (await _node(gate)).health is NodeHealth.UP


async def test_a_slow_node_does_not_hold_up_start(
    sshd: SSHD, make_gate: MakeGate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skyport_gates.onprem.START_PATIENCE", 0.0)
    gate = make_gate(_at(sshd))
    await gate.start()
    await eventually(lambda: _is_up(gate), "the node is up")


async def _is_up(gate: OnPremGate) -> bool:
    return (await _node(gate)).health is NodeHealth.UP
