"""``skyport-core azure …`` as an administrator runs it."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from skyport_core.app import SkyPortCore
from skyport_gates.azure.commands import AzureCommand, CheckCommand, SetupCommand
from tests.infra.arm.endpoint import ArmThread
from tests.infra.arm.faults import Fault

Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def arm() -> Iterator[ArmThread]:
    """A subscription in which nothing was made; each test takes a resource group of its own."""
    with ArmThread(empty=True) as thread:
        yield thread


class Terminal(io.StringIO):
    """Standard input, from a terminal or not."""

    def __init__(self, text: str, tty: bool) -> None:
        super().__init__(text)
        self.tty = tty

    def isatty(self) -> bool:
        return self.tty


class Admin:
    """Runs the command with a configuration file of its own."""

    def __init__(self, arm: ArmThread, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.arm = arm
        self.patch = patch
        patch.setenv("SKYPORT_HOME", str(folder))
        self.home = folder
        self.group = folder.name
        self.options = arm.gate_options(
            resource_group=self.group, regions=["westeurope"], sizes=["Standard_D2s_v5"]
        )
        self.configure({"azure": {"class": "azure", **self.options}, "here": "local"})

    def configure(self, gates: object) -> None:
        (self.home / "skyport_config.py").write_text(f"c.SkyPortCore.gates = {gates!r}\n")

    def run(self, *arguments: str, answer: str | None = None) -> Done:
        """Run it in this process; ``answer`` is typed at a terminal."""
        sheet = Terminal(answer or "", answer is not None)
        out, errors = io.StringIO(), io.StringIO()
        status: object = None
        self.patch.setattr(sys, "stdin", sheet)
        with redirect_stdout(out), redirect_stderr(errors):
            try:
                SkyPortCore.launch_instance(["azure", *arguments])
            except SystemExit as end:
                status = end.code
            finally:
                for command in (SkyPortCore, AzureCommand, SetupCommand, CheckCommand):
                    command.clear_instance()
        return Done([], int(str(status or 0)), out.getvalue(), errors.getvalue())

    def program(self, *arguments: str) -> Done:
        """Run it as a program of its own."""
        return subprocess.run(
            [sys.executable, "-m", "skyport_core", "azure", *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def resources(self) -> list[str]:
        """The types of what is in the group."""
        found = self.arm.call(self.arm.arm.resources.list, None, self.group)
        return sorted({one.type.rpartition("/")[2] for one in found})


@pytest.fixture
def admin(arm: ArmThread, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Admin:
    return Admin(arm, tmp_path, monkeypatch)


def test_setup_makes_what_is_missing_and_then_has_nothing_to_do(admin: Admin) -> None:
    first = admin.run("setup", "--nat", "--core-address=10.0.0.4/32", "--yes")
    assert first.returncode == 0, first.stderr
    assert f"resource group {admin.group} in westeurope" in first.stdout
    assert "skyport-core azure check" in first.stdout
    again = admin.run("setup", "--nat", "--core-address=10.0.0.4/32", "--yes")
    assert (again.returncode, "Nothing to do." in again.stdout) == (0, True), again.stdout
    other = admin.run("setup", "--core-address=10.0.0.5/32", "--yes")
    assert other.returncode == 1
    assert "--update changes them" in other.stdout
    changed = admin.run("setup", "--core-address=10.0.0.5/32", "--yes", "--update")
    assert changed.returncode == 0, changed.stdout


def test_the_network_can_be_closed_to_the_outside(admin: Admin) -> None:
    plan = admin.run("setup", "--core-address=none", "--dry-run")
    rule = r"Allow Inbound Tcp port 22 from 10\.\d+\.0\.0/16,"
    assert re.search(rule, plan.stdout), plan.stdout


def test_the_installed_program_has_the_command(admin: Admin) -> None:
    made = admin.program("setup", "--yes")
    assert made.returncode == 0, made.stderr
    assert "virtualNetworks" in admin.resources()
    seen = admin.program("check", "--json")
    levels = {one["topic"]: one["level"] for one in json.loads(seen.stdout)["findings"]}
    assert (levels["credential"], levels["rights"]) == ("ok", "ok")


def test_a_dry_run_makes_nothing(admin: Admin) -> None:
    done = admin.run("setup", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "create" in done.stdout
    assert admin.resources() == []


def test_nothing_is_made_without_consent(admin: Admin) -> None:
    silent = admin.run("setup")
    assert (silent.returncode, "--yes" in silent.stderr) == (1, True)
    refused = admin.run("setup", answer="n\n")
    assert "[y/N]" in refused.stdout
    assert admin.resources() == []


def test_consent_is_asked_for_at_a_terminal(admin: Admin) -> None:
    done = admin.run("setup", answer="y\n")
    assert done.returncode == 0, done.stderr
    assert "virtualNetworks" in admin.resources()


def test_check_prints_its_findings_for_people_and_programs(admin: Admin) -> None:
    people = admin.run("check")
    assert people.returncode == 1
    assert f"✗ resource group: there is no '{admin.group}'" in people.stdout
    assert "✓ credential:" in people.stdout
    programs = admin.run("check", "--json")
    document = json.loads(programs.stdout)
    assert (programs.returncode, document["ok"], document["site"]) == (1, False, "azure")
    assert {"topic", "level", "text", "hint"} == set(document["findings"][0])


def test_the_command_line_wins_over_the_file(admin: Admin) -> None:
    done = admin.run("check", "--resource-group=elsewhere", "--AzureGate.sizes=Standard_Nope")
    assert "there is no 'elsewhere'" in done.stdout
    assert "none matches Standard_Nope" in done.stdout


def test_one_of_several_sites_is_chosen_by_name(admin: Admin) -> None:
    second = {"class": "azure", **admin.options, "resource_group": "second"}
    admin.configure({"first": {"class": "azure", **admin.options}, "second": second})
    done = admin.run("check")
    assert (done.returncode, "--site: first, second" in done.stderr) == (1, True)
    assert "there is no 'second'" in admin.run("check", "--site=second").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["setup", "--core-address=hub"], "10.0.0.4/32"),
        (["setup", "--core-address=none", "--core-address=10.0.0.4/32"], "10.0.0.4/32"),
        (["check", "--site=nowhere"], "no site 'nowhere'"),
        (["check", "--AzureGate.colour=red"], "no option 'colour'"),
        (["check", "--region="], "regions"),
        (["prices"], "--export"),
        (["check", "again"], "'again' is no argument"),
    ],
)
def test_wrong_arguments_are_named(admin: Admin, arguments: list[str], words: str) -> None:
    done = admin.run(*arguments)
    assert done.returncode == 1
    assert words in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_a_refusal_of_azure_is_told_in_plain_words(admin: Admin) -> None:
    refusal = Fault(
        kind="networkSecurityGroups.put",
        code="RequestDisallowedByPolicy",
        status=403,
        message="Resource was disallowed by policy.",
    )
    admin.arm.call(admin.arm.arm.faults.add, refusal)
    done = admin.run("setup", "--yes")
    assert done.returncode == 1
    assert "✗ network security group" in done.stdout
    assert "policy of the organisation" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_shipped_prices_can_be_made_anew(admin: Admin) -> None:
    file = admin.home / "prices.json.gz"
    done = admin.run("prices", f"--export={file}")
    assert done.returncode == 0, done.stderr
    assert file.read_bytes()[:2] == b"\x1f\x8b"
