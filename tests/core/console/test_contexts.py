"""Cores under names, and which one is meant."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from skyport_core.client import HttpsEndpoint, HubEndpoint, SocketEndpoint
from skyport_core.console import main
from skyport_core.console.contexts import Context, ContextError, Contexts, choose
from tests.core.api.served import ServedCore


def skyport(*words: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(main, list(words), input=stdin)


def add(name: str, path: str = "/run/core.sock") -> None:
    assert skyport("context", "add", name, "--socket", path).exit_code == 0


def test_the_first_context_is_current_until_another_is_used(config: Path) -> None:
    add("one")
    add("two")
    assert "*  one" in skyport("context", "list").stdout
    assert skyport("context", "use", "two").exit_code == 0
    assert Contexts.load().current == "two"
    assert (config / "contexts.toml").stat().st_mode & 0o777 == 0o600


def test_a_removed_context_is_gone() -> None:
    add("one")
    skyport("context", "remove", "one")
    assert json.loads(skyport("context", "list", "--json").stdout) == []
    assert skyport("context", "use", "one").exit_code == 1


def test_a_token_comes_from_standard_input_into_a_file_of_its_own(config: Path) -> None:
    url = "https://hub.lab/services/skyport"
    done = skyport("context", "add", "hub", "--hub", url, "--token-file", "-", stdin="s3cret\n")
    assert done.exit_code == 0
    assert (config / "tokens" / "hub").stat().st_mode & 0o777 == 0o600
    assert "s3cret" not in (config / "contexts.toml").read_text()
    assert "s3cret" not in skyport("context", "show", "hub").stdout
    assert choose(None, "hub", {}) == HubEndpoint(url, "s3cret")
    skyport("context", "remove", "hub")
    assert not (config / "tokens" / "hub").exists()


def test_a_context_of_https_names_its_files(tmp_path: Path) -> None:
    files = {}
    for name in ("cert", "key", "ca"):
        files[name] = tmp_path / f"{name}.pem"
        files[name].write_text("")
    words = [f"--{name}={path}" for name, path in files.items()]
    assert skyport("context", "add", "lab", "--https", "core.lab", *words).exit_code == 0
    made = HttpsEndpoint("core.lab", files["cert"], files["key"], files["ca"])
    assert choose(None, "lab", {}) == made
    assert made.url == "https://core.lab:8443"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a b", "--socket", "/s"], "letters, digits"),
        (["x"], "Give one of"),
        (["x", "--socket", "/s", "--hub", "https://h"], "Give one of"),
        (["x", "--https", "h"], "needs --cert, --key and --ca"),
        (["x", "--hub", "https://h"], "needs --token-file"),
        (["x", "--socket", "/s", "--token-file", "t"], "does not go with --token-file"),
    ],
)
def test_what_is_wrong_with_a_context_is_told(words: list[str], message: str) -> None:
    done = skyport("context", "add", *words)
    assert done.exit_code == 2
    assert message in done.stderr


def test_a_token_in_the_clear_is_refused(config: Path) -> None:
    words = ["--hub", "http://hub.lab/services/skyport", "--token-file", "-"]
    done = skyport("context", "add", "hub", *words, stdin="t\n")
    assert (done.exit_code, "in the clear" in done.stderr) == (1, True)
    assert not (config / "contexts.toml").exists()


def test_options_come_before_variables_before_the_current_context() -> None:
    add("one", "/one")
    add("two", "/two")
    assert choose(None, None, {}) == SocketEndpoint(Path("/one"))
    assert choose(None, None, {"SKYPORT_SOCKET": "/s"}) == SocketEndpoint(Path("/s"))
    both = {"SKYPORT_SOCKET": "/s", "SKYPORT_CONTEXT": "two"}
    assert choose(None, None, both) == SocketEndpoint(Path("/two"))
    assert choose(None, "one", both) == SocketEndpoint(Path("/one"))
    assert choose(Path("/t"), None, both) == SocketEndpoint(Path("/t"))


def test_an_unknown_context_names_those_there_are() -> None:
    add("one")
    done = skyport("--context", "on", "health")
    assert (done.exit_code, done.stderr) == (
        1,
        "Error: There is no context 'on'. There is: one.\n",
    )


@pytest.mark.parametrize(
    "text",
    [
        "current = ",
        'current = "x"',
        "[contexts.x]\n",
        '[contexts.x]\nkind = "socket"\n',
        "[contexts.x]\nkind = []\n",
        '[contexts.x]\nkind = "socket"\npath = "/s\\u0000"\n',
        '[contexts.x]\nkind = "socket"\npath = 1\n',
        '[contexts.x]\nkind = "socket"\npath = "/s"\nmore = "y"\n',
    ],
)
def test_a_file_that_is_not_right_is_told(config: Path, text: str) -> None:
    config.mkdir(parents=True)
    (config / "contexts.toml").write_text(text)
    with pytest.raises(ContextError, match=r"contexts\.toml"):
        Contexts.load()
    assert skyport("jobs").exit_code == 1


def test_any_value_survives_the_file(config: Path) -> None:
    path = '/a "b" \\ ü \x7f \n # \U0001f600 \x9b \u202e \u2028 \t'
    context = Context("x", "socket", {"path": path})
    Contexts().with_context(context).save()
    assert Contexts.load().contexts == {"x": context}
    assert (config / "contexts.toml").read_text().replace("\n", "").isprintable()


def test_a_value_that_is_not_utf8_is_named(config: Path) -> None:
    done = skyport("context", "add", "x", "--socket", os.fsdecode(b"/a\xff"))
    assert done.exit_code == 1
    assert "contexts.toml: contexts.x: path: '/a\\udcff' is not UTF-8" in done.stderr
    assert not (config / "contexts.toml").exists()


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        (
            "token_file",
            'kind = "hub"\nurl = "https://h"\ntoken_file = "{bad}"',
            "does not hold one",
        ),
        ("url", 'kind = "hub"\nurl = "ftp://h"\ntoken_file = "{good}"', "not of the form"),
        (
            "address",
            'kind = "https"\naddress = "h:99999"\ncertificate = ""\nkey = ""\nauthority = ""',
            "not of the form",
        ),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_file(
    config: Path, tmp_path: Path, key: str, text: str, message: str
) -> None:
    tokens = {"bad": b"one\r\ntwo", "good": b"one"}
    for name, token in tokens.items():
        (tmp_path / name).write_bytes(token)
        text = text.replace(f"{{{name}}}", str(tmp_path / name))
    config.mkdir(parents=True)
    (config / "contexts.toml").write_text(f"[contexts.x]\n{text}\n")
    said = skyport("--context", "x", "jobs").stderr
    assert f"contexts.toml: contexts.x: {key}:" in said and message in said


async def test_commands_talk_to_the_current_context(core: ServedCore) -> None:
    add("here", str(core.socket))
    done = await asyncio.to_thread(skyport, "version", "--json")
    assert json.loads(done.stdout)["api"] == ["v1"]
