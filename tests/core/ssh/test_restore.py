"""Saved results brought to another node."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from skyport_core.ssh.errors import StagingFailed
from skyport_core.ssh.files import DRAFT
from skyport_core.ssh.runner import Runner
from skyport_gates.timing import in_time
from tests.infra.sshd import SSHD


def saved(folder: Path, **files: str) -> Path:
    """A folder at the core with results; "__" in a name stands for "/"."""
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


async def test_files_come_back_with_their_modes(runner: Runner, node: SSHD, tmp_path: Path) -> None:
    results = saved(tmp_path / "results", run="#!/bin/sh", deep__er__data="1")
    (results / "run").chmod(0o750)
    assert await runner.restore(results, workdir="work") == 2
    assert (node.home / "work/deep/er/data").read_text() == "1"
    assert (node.home / "work/run").stat().st_mode & 0o777 == 0o750
    assert [path.name for path in (node.home / "work").glob(".*")] == []


async def test_what_was_collected_is_restored_as_it_was(
    runner: Runner, node: SSHD, tmp_path: Path
) -> None:
    (node.home / "out").mkdir()
    (node.home / "out/script").write_text("x")
    (node.home / "out/script").chmod(0o711)
    await runner.collect(["out"], tmp_path / "results")
    (node.home / "out/script").unlink()
    await runner.restore(tmp_path / "results")
    assert (node.home / "out/script").stat().st_mode & 0o777 == 0o711


async def test_a_link_in_place_of_a_file_is_replaced_not_followed(
    runner: Runner, node: SSHD, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    (node.home / "work").mkdir()
    (node.home / "work/data").symlink_to(outside)
    (node.home / "work" / DRAFT).symlink_to(outside)
    await runner.restore(saved(tmp_path / "results", data="new"), workdir="work")
    assert outside.read_text() == "mine"
    assert (node.home / "work/data").read_text() == "new"


async def test_a_folder_that_is_a_link_to_elsewhere_is_refused(
    runner: Runner, node: SSHD, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (node.home / "work").mkdir()
    (node.home / "work/deep").symlink_to(outside)
    with pytest.raises(StagingFailed) as caught:
        await runner.restore(saved(tmp_path / "results", deep__er__data="1"), workdir="work")
    assert caught.value.reason == "unsafe_output"
    assert list(outside.iterdir()) == []


async def test_a_fifo_in_the_way_holds_up_nobody(
    runner: Runner, node: SSHD, tmp_path: Path
) -> None:
    (node.home / "work").mkdir()
    for name in ("data", DRAFT):
        os.mkfifo(node.home / "work" / name)
    name = "n" * 255
    results = saved(tmp_path / "results", data="1", **{name: "2", ".own.part": "3"})
    assert await in_time(runner.restore(results, workdir="work"), 20) == 3
    told = {path.name: path.read_text() for path in (node.home / "work").iterdir()}
    assert told == {"data": "1", name: "2", ".own.part": "3"}


async def test_links_at_the_core_are_not_brought(
    runner: Runner, node: SSHD, tmp_path: Path
) -> None:
    results = saved(tmp_path / "results", data="1")
    (results / "link").symlink_to("/etc/passwd")
    assert await runner.restore(results, workdir="work") == 1
    assert [path.name for path in (node.home / "work").iterdir()] == ["data"]
