"""What others wrote cannot steer the terminal of who reads it."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skyport_core.client import CoreClient, LogChunk
from skyport_core.console.output import JsonParts, Screen, line, plain
from skyport_core.console.shell import _Texts
from skyport_core.model import Failure, JobState
from skyport_gates.timing import in_time
from tests.core.api.served import JOB, ServedCore

from .conftest import Skyport

EVIL = "\x1b]0;title\x07\x9b31m\u202etxt.exe\u2066\x08\r\x7f"
"""Escapes of C0 and C1, letters that run the other way, and going back over what stands there."""

SPELT = "\x9b31m\u202etxt.exe\u2066\u2028forged"
"""What a job may be called."""


async def on_terminal(core: ServedCore, *words: str) -> bytes:
    """What the command shows on a terminal."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "skyport_core.console", "--socket", str(core.socket), *words]
    try:
        process = await asyncio.create_subprocess_exec(*command, stdout=slave, stderr=slave)
        os.close(slave)
        assert await in_time(process.wait(), 30) == 0
        return os.read(master, 65536)
    finally:
        os.close(master)


async def test_a_log_cannot_steer_the_terminal_unless_it_may(core: ServedCore) -> None:
    await core.submit()
    core.jobs.logs["stdout"] = f"käse\tx\n{EVIL}".encode()
    filtered, raw = await asyncio.gather(
        on_terminal(core, "logs", JOB), on_terminal(core, "logs", "--raw", JOB)
    )
    first, _, rest = filtered.decode().partition("\r\n")
    assert first == "käse\tx"
    assert "txt.exe" in rest and rest.replace("�", "").isprintable()
    assert "\x1b]0;title\x07\x9b31m".encode() in raw


def test_a_character_in_two_parts_is_one(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    screen = Screen()
    for part in ("ü".encode()[:1], "ü\r\n".encode()[1:], "\u202e".encode()[:2]):
        screen.show(part)
    screen.show(b"", last=True)
    assert capsysbinary.readouterr().out.decode() == "ü\n�"


def test_a_character_in_two_parts_is_one_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    parts, euro = JsonParts(stream="stdout"), "€".encode()
    parts.show(b"1 " + euro[:1], 0)
    parts.show(euro[1:2], 3)
    parts.show(euro[2:] + b"\n" + euro[:2], 4)
    parts.show(b"", 8, last=True)
    assert [json.loads(each) for each in capsys.readouterr().out.splitlines()] == [
        {"stream": "stdout", "offset": 0, "text": "1 "},
        {"stream": "stdout", "offset": 2, "text": "€\n"},
        {"stream": "stdout", "offset": 6, "text": "�"},
    ]


@pytest.mark.parametrize("command", ["logs", "run"])
async def test_a_log_that_comes_in_parts_is_whole_in_json(
    core: ServedCore, skyport: Skyport, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    async def follow_log(*_: object) -> AsyncIterator[LogChunk]:
        data = "5 €\n".encode()
        for end in range(1, len(data) + 1):
            yield LogChunk(data[end - 1 : end], end)

    monkeypatch.setattr(CoreClient, "follow_log", follow_log)
    words = ["-f", JOB] if command == "logs" else ["--id", JOB, "--", "true"]
    if command == "logs":
        await core.submit()
        await core.end()
    with core.store.changes.subscribe(JOB) as changed:
        running = asyncio.create_task(skyport(command, "--json", *words))
        if command == "run":
            assert await changed.wait(10)
            await core.end()
        done = await in_time(running, 20)
    said = [json.loads(each) for each in done.stdout.splitlines()]
    texts = [each for each in said if each.get("stream", "stdout") == "stdout" and "text" in each]
    assert "".join(each["text"] for each in texts) == "5 €\n"
    assert [each["offset"] for each in texts] == [0, 1, 2, 5]


def test_a_shell_that_writes_in_parts_is_whole_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    texts = _Texts()
    for part in "€".encode():
        texts.write(1, bytes([part]))
        texts.write(2, b"!")
    texts.end()
    said = [json.loads(each) for each in capsys.readouterr().out.splitlines()]
    assert [each["text"] for each in said] == ["!", "!", "€", "!"]


def test_a_line_stays_one() -> None:
    assert line("a\nb\tc\x1b\u2028") == "a b c��"
    assert plain("a\nb\tc\x1b\u2028") == "a\nb\tc��"


async def test_no_table_nor_message_carries_control_characters(
    core: ServedCore, skyport: Skyport, tmp_path: Path
) -> None:
    job = await core.submit()
    spec = job.spec.model_copy(update={"name": SPELT, "comment": SPELT})
    failure = Failure("exit", f"It failed{EVIL}", EVIL, f"last\n{EVIL}")
    job = await core.store.update_job(job, spec=spec, state=JobState.FAILED, failure=failure)
    await core.tell(f"happened{EVIL}\nforged")
    output = core.socket.parent / "jobs" / JOB / "files" / f"{EVIL}\nforged"
    output.parent.mkdir(parents=True)
    output.write_text("x")
    for words in (["jobs", "-a"], ["show", JOB], ["events", JOB], ["files", JOB]):
        done = await skyport(*words)
        assert done.exit_code == 0
        assert "txt.exe" in done.stdout
        assert not [row for row in done.stdout.splitlines() if row.startswith("forged")]
        assert done.stdout.replace("\n", "").replace("�", "").isprintable()
        as_json = await skyport(*words, "--json")
        assert as_json.stdout.isascii() and "\x1b" not in as_json.stdout
        assert "txt.exe" in as_json.stdout
        for each in as_json.stdout.splitlines() if words[0] == "events" else [as_json.stdout]:
            json.loads(each)
    refused = await skyport("get", JOB, "--to", str(tmp_path / "home"))
    again = await skyport("get", JOB, "--to", str(tmp_path / "home"))
    assert (refused.exit_code, again.exit_code) == (0, 1)
    for said in (refused.stdout, again.stderr):
        assert said.replace("\n", "").replace("�", "").isprintable()
