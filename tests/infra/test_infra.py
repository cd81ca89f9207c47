"""The fixtures themselves: nodes fail as real ones do, and nothing is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra import netns, run
from tests.infra.nodes import CHECKOUT, Fabric, Node
from tests.infra.requirements import needs_nodes

pytestmark = needs_nodes


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("key") / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def fabric() -> Iterator[Fabric]:
    with Fabric() as fabric:
        yield fabric


@pytest.fixture(scope="module")
def node(fabric: Fabric, key: Path) -> Node:
    keys = key.with_suffix(".pub").read_text()
    return fabric.add_node("one", authorized_keys=keys, home_size="8m")


class Login:
    """ssh as alice, from the hub's side, with the host key pinned."""

    def __init__(self, fabric: Fabric, node: Node, key: Path) -> None:
        self.known_hosts = key.with_name("known_hosts")
        self.known_hosts.write_text(f"{node.address} {node.host_key}\n")
        options = {
            "BatchMode": "yes",
            "ConnectTimeout": "1",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": str(self.known_hosts),
        }
        words = [f"-o{name}={value}" for name, value in options.items()]
        self.argv = [*fabric.prefix, "ssh", "-F", "none", "-i", str(key), *words]
        self.argv += [f"alice@{node.address}"]

    def __call__(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.argv, script], capture_output=True, text=True, check=False)


@pytest.fixture
def login(fabric: Fabric, node: Node, key: Path) -> Login:
    return Login(fabric, node, key)


def test_a_user_runs_the_checkout_s_programs_on_a_node(login: Login):
    program = Path(sys.prefix, "bin/jupyterhub-singleuser")
    result = login(f"hostname; {program} --version; touch {CHECKOUT}/forbidden")
    assert result.stdout.split()[0] == "one"
    assert len(result.stdout.split()) == 2
    assert not (CHECKOUT / "forbidden").exists()


def test_jobs_outlive_a_killed_sshd(node: Node, login: Login):
    login("setsid sleep 600 </dev/null >/dev/null 2>&1 &")
    node.kill_sshd()
    assert "refused" in login("true").stderr
    assert node.user_processes("alice") == ["sleep 600"]
    node.start_sshd()
    assert login("pkill sleep; echo back").stdout == "back\n"


@pytest.mark.parametrize("cut", [Node.drop, lambda node, on: node.link(not on)])
def test_a_cut_cable_and_a_partition_heal(node: Node, login: Login, cut):
    cut(node, True)
    assert "timed out" in login("true").stderr
    cut(node, False)
    assert login("echo back").stdout == "back\n"


def test_a_full_home_is_full(node: Node, login: Login):
    node.fill_disk("alice")
    assert "No space left" in login("echo more > ~/file").stderr
    node.free_disk("alice")
    assert login("echo more > ~/file").returncode == 0


def test_a_crash_loses_processes_and_files_and_a_boot_brings_sshd_back(node: Node, login: Login):
    login("touch kept; setsid sleep 600 </dev/null >/dev/null 2>&1 &")
    node.crash()
    assert "refused" in login("true").stderr
    node.boot()
    assert login("ls").stdout == ""
    assert node.user_processes() == []


def test_a_login_without_a_shell_is_refused(node: Node, login: Login):
    node.set_shell("alice", "/usr/sbin/nologin")
    assert "not available" in login("true").stdout
    node.set_shell("alice", "/bin/bash")


def test_a_swapped_host_key_is_noticed(node: Node, login: Login):
    node.swap_host_key()
    assert "HOST IDENTIFICATION HAS CHANGED" in login("true").stderr


def test_folders_closed_to_others_are_shown_on_nodes(
    fabric: Fabric, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    hidden = tmp_path / "closed/deep"
    hidden.mkdir(parents=True)
    hidden.parent.chmod(0o700)
    (hidden / "file").write_text("seen")
    monkeypatch.setattr("tests.infra.nodes._NEEDED", (CHECKOUT, hidden))
    node = fabric.add_node("two")
    assert node.run(["cat", str(hidden / "file")], user="bob").stdout == "seen"


def test_a_killed_run_is_swept_by_the_next_one():
    program = """
        import time
        from tests.infra import run
        from tests.infra.nodes import Fabric
        run.mark()
        Fabric().add_node("lost")
        print(run.RUN_ID, flush=True)
        time.sleep(600)
    """
    argv = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True) as lost:
        run_id = lost.stdout.readline().strip()
        lost.send_signal(signal.SIGKILL)
    assert any(name.startswith(netns.prefix(run_id)) for name in netns.names())
    run.sweep()
    assert not any(name.startswith(netns.prefix(run_id)) for name in netns.names())
    assert not (run.RECORDS / run_id).exists()
    run.wait_until(
        lambda: run_id not in {owner for _, owner in run.marked_processes()}, "end of the lost node"
    )


def test_a_detached_process_without_our_mark_fails_the_session(tmp_path: Path):
    text = """
        import subprocess

        def test_leaves_a_process():
            subprocess.run("setsid sleep 600 >/dev/null 2>&1 &", shell=True, env={})
    """
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "test_it.py").write_text(textwrap.dedent(text))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SKYPORT_TEST")}
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:cacheprovider", suite],
        cwd=CHECKOUT,
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == pytest.ExitCode.TESTS_FAILED, result.stdout
    assert "1 passed" in result.stdout
    assert "sleep 600" in result.stdout.rpartition("left behind")[2]
