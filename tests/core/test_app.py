"""Configuration of the daemon: what is wrong is named, and what is right works."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from skyport_core.model import JobState
from tests.infra.desk import OpenDesk
from tests.infra.postgres import PostgreSQL


def run_core(home: Path, *arguments: str, config: str = "") -> subprocess.CompletedProcess[str]:
    """Run ``skyport-core`` until it ends by itself."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "skyport_config.py").write_text(config)
    return subprocess.run(
        [sys.executable, "-m", "skyport_core", *arguments],
        env={**os.environ, "SKYPORT_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("c.SkyPortCore.gates = {'lab': 'no-such-gate'}", ["no-such-gate", "local", "onprem"]),
        ("c.SkyPortCore.gates = {'lab': {'nodes': []}}", ["lab", "class"]),
        (
            "c.SkyPortCore.gates = {'lab': {'class': 'local', 'cpu': 1}}",
            ["lab", "cpu", "allowed", "cpus"],
        ),
        ("c.SkyPortCore.tunnel_ports = (9, 3)", ["tunnel_ports", "9-3", "1 to 65535"]),
        ("c.SkyPortCore.allowed_users = ['nobody-here']", ["nobody-here"]),
        ("c.SkyPortCore.db_url = 'mysql://x'", ["mysql", "sqlite", "postgresql"]),
    ],
)
def test_wrong_configuration_is_named(tmp_path: Path, config: str, words: list[str]) -> None:
    done = run_core(tmp_path, config=config)
    assert done.returncode == 1
    said = done.stdout + done.stderr
    assert "Traceback" not in said
    for word in words:
        assert word in said


def test_mistyped_command_starts_no_core(tmp_path: Path) -> None:
    done = run_core(tmp_path, "upgrade")
    assert done.returncode == 1
    assert "There is no command 'upgrade'" in done.stderr
    assert "upgrade-db" in done.stderr
    assert not (tmp_path / "skyport.sqlite").exists()


def test_missing_configuration_file_is_an_error(tmp_path: Path) -> None:
    done = run_core(tmp_path, "-f", str(tmp_path / "none.py"))
    assert done.returncode == 1
    assert "none.py" in done.stderr


def test_home_and_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = run_core(home, "ssh-ca")
    assert done.stdout.startswith("ssh-ed25519 ")
    assert home.stat().st_mode & 0o777 == 0o700
    for file in (home / "ssh").rglob("*"):
        assert file.stat().st_mode & 0o077 == 0 or file.suffix == ".pub", file


def test_database_is_upgraded_on_request(tmp_path: Path) -> None:
    done = run_core(tmp_path, "upgrade-db")
    assert done.returncode == 0
    assert (tmp_path / "skyport.sqlite").exists()


async def test_core_on_postgresql_runs_jobs_and_survives_a_kill(
    open_desk: OpenDesk, postgresql: PostgreSQL
) -> None:
    desk = await open_desk(f"c.SkyPortCore.db_url = {postgresql.empty_database()!r}")
    done = await desk.submit("true")
    await desk.end(done)
    running = await desk.submit("sleep", "600")
    await desk.reach(running, JobState.RUNNING)
    await desk.core.kill9()
    await desk.core.start()
    assert (await desk.job(done)).state is JobState.FINISHED
    assert (await desk.job(running)).state is JobState.RUNNING
    await desk.client.delete_job(running)
    await desk.end(running)
