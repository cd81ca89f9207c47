"""Gates are found by name, and a gate that cannot be loaded says which one and why."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from skyport_gates.command import GateCommand
from skyport_gates.local import LocalGate
from skyport_gates.onprem import OnPremGate
from skyport_gates.plugins import (
    PluginError,
    command_names,
    load_command,
    load_gate_class,
)


def test_the_gates_of_this_package_have_names() -> None:
    assert load_gate_class("local") is LocalGate
    assert load_gate_class("onprem") is OnPremGate


@pytest.mark.parametrize("path", ["skyport_gates.local:LocalGate", "skyport_gates.local.LocalGate"])
def test_a_class_can_be_named_by_its_path(path: str) -> None:
    assert load_gate_class(path) is LocalGate


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(PluginError, match=r"no gate 'lokal'\. Installed: .*local.*onprem"):
        load_gate_class("lokal")


def test_a_module_that_fails_to_import_is_named_with_its_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_gate.py").write_text("raise RuntimeError('no licence')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"'broken_gate:Gate' cannot be imported: .*no licence"):
        load_gate_class("broken_gate:Gate")


def test_a_class_that_is_missing_is_named() -> None:
    with pytest.raises(PluginError, match=r"skyport_gates\.local has no 'Nowhere'"):
        load_gate_class("skyport_gates.local:Nowhere")


def test_a_class_that_is_no_gate_is_refused() -> None:
    with pytest.raises(PluginError, match="is not a class derived from"):
        load_gate_class("pathlib:Path")


def test_a_gate_without_all_methods_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_gate.py").write_text(
        "from skyport_gates.gate import Gate\nclass HalfGate(Gate):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match="lacks the method"):
        load_gate_class("half_gate:HalfGate")


def _announce(
    folder: Path, package: str, name: str, value: str, group: str = "skyport.gates"
) -> None:
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {value}\n")


def test_an_installed_package_can_announce_a_gate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _announce(tmp_path, "third_party", "third", "skyport_gates.local:LocalGate")
    monkeypatch.syspath_prepend(tmp_path)
    assert load_gate_class("third") is LocalGate


def test_an_installed_gate_that_fails_to_import_is_named_with_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _announce(tmp_path, "third_party", "third", "no_such_module:Gate")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=r"'third' \(no_such_module:Gate of third_party\)"):
        load_gate_class("third")


def test_a_name_that_two_packages_announce_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _announce(tmp_path / "a", "first_party", "same", "skyport_gates.local:LocalGate")
    _announce(tmp_path / "b", "second_party", "same", "skyport_gates.onprem:OnPremGate")
    monkeypatch.setattr(sys, "path", [str(tmp_path / "a"), str(tmp_path / "b"), *sys.path])
    with pytest.raises(PluginError, match=r"more than once: .*first_party.*second_party"):
        load_gate_class("same")


def test_an_installed_package_can_announce_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = "skyport_gates.command:GateCommand"
    _announce(tmp_path, "third_party", "third", value, "skyport.commands")
    monkeypatch.syspath_prepend(tmp_path)
    assert "third" in command_names()
    assert load_command("third") is GateCommand


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:Command", "cannot be imported"),
        ("pathlib:Path", "is not a class derived from Application"),
    ],
)
def test_a_command_that_cannot_be_used_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    _announce(tmp_path, "third_party", "third", value, "skyport.commands")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(PluginError, match=f"Command 'third'.*{words}"):
        load_command("third")
