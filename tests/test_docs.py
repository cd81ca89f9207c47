"""What the documentation names exists, and what exists is named."""

from __future__ import annotations

import configparser
import importlib
import re
import runpy
import shlex
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import pytest
from jupyterhub.app import JupyterHub
from traitlets.config import Config, PyFileConfigLoader

from skyport_core.api.v1 import ROUTES
from skyport_core.app import SkyPortCore
from skyport_core.certcommand import CertCommand
from skyport_core.console import main as console
from skyport_core.model import JobState
from skyport_core.wire import EventView, JobView
from skyport_gates.inventory import NodeConfig
from skyport_gates.plugins import GROUP, load_command, load_gate_class
from skyport_spawner import SkyPortSpawner
from tests.infra.nodes import CHECKOUT
from tests.infra.pages import FOLDER, Page, all_pages, page

GATES = sorted(entry_points(group=GROUP).names)
PAGES = [pytest.param(one, id=one.path.name) for one in all_pages()]
PACKAGES = ("skyport_core", "skyport_gates", "skyport_spawner")
CLASSES = {"SkyPortCore": SkyPortCore, "SkyPortSpawner": SkyPortSpawner, "JupyterHub": JupyterHub}


@pytest.mark.parametrize("one", PAGES)
def test_links_lead_somewhere(one: Page) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", one.prose):
        name, _, anchor = target.partition("#")
        path = (one.path.parent / name).resolve() if name else one.path
        assert path.exists(), f"{one.path.name} links to {target}"
        if anchor:
            assert anchor in Page(path).anchors, f"{one.path.name} links to {target}"


@pytest.mark.parametrize("one", PAGES)
def test_files_of_the_project_that_are_named_exist(one: Page) -> None:
    roots = "|".join((*PACKAGES, "tests", "docs", "benchmarks"))
    for name in re.findall(rf"`((?:{roots})/[\w./-]+)`", one.prose):
        assert (CHECKOUT / name).exists(), f"{one.path.name} names {name}"


def test_tables_are_as_the_code_has_them() -> None:
    tables = runpy.run_path(str(FOLDER / "tables.py"))
    for path in FOLDER.glob("*.md"):
        text = path.read_text()
        assert tables["filled"](text) == text, f"{path.name}: run python docs/tables.py"


@pytest.mark.parametrize("cls", [SkyPortCore, SkyPortSpawner, *map(load_gate_class, GATES)])
def test_every_option_is_documented(cls: Any) -> None:
    documented = page("configuration.md").text
    heading = f"<!-- table: traits {cls.__module__}:{cls.__name__} -->"
    assert heading in documented
    rows = documented.partition(heading)[2].partition("<!-- end of table -->")[0]
    own = {
        name
        for name, trait in cls.class_traits(config=True).items()
        if trait.this_class.__module__.startswith("skyport")
    }
    assert own == set(re.findall(r"^\| `(\w+)` \|", rows, re.MULTILINE))


def test_rooms_are_where_the_architecture_says() -> None:
    package = ""
    seen = 0
    for row in page("architecture.md").rows():
        name = row[0].strip("`")
        package = name if name in PACKAGES else package if not name else ""
        if package:
            for module in re.findall(r"`([\w/.]+)`", row[1]):
                assert (CHECKOUT / package / module).exists(), f"{package}/{module}"
                seen += 1
    assert seen > 15


def test_every_state_is_explained() -> None:
    explained = page("architecture.md").text
    assert [state for state in JobState if f"`{state.value}`" not in explained] == []


# -- configuration examples ------------------------------------------------------------------------


def config_examples() -> list[Any]:
    return [
        pytest.param(text, id=f"{one.path.stem}-{number}")
        for one in all_pages()
        for number, text in enumerate(one.examples("python"))
        if "get_config()" in text
    ]


@pytest.mark.parametrize("text", config_examples())
def test_configuration_examples_are_valid(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = page("writing-a-gate.md").examples("python", "file: filegate.py")
    (tmp_path / "filegate.py").write_text(*gate)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "config.py").write_text(text)
    config: Config = PyFileConfigLoader("config.py", path=str(tmp_path)).load_config()
    for section, options in config.items():
        known = CLASSES[section].class_traits(config=True)
        for name, value in options.items():
            assert name in known, f"{section}.{name}"
            if section != "JupyterHub":
                known[name]._validate(CLASSES[section](), value)
    core = SkyPortCore(home=str(tmp_path), config=config)
    core.make_gates()


def test_every_field_of_a_node_is_documented() -> None:
    rows = page("howto-onprem.md").rows()
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row[0])}
    assert set(NodeConfig.model_fields) <= named


def test_the_unit_starts_what_is_installed() -> None:
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment, method-assign]
    unit.read_string(page("howto-daemon.md").examples("ini")[0])
    command = unit["Service"]["ExecStart"]
    program, *arguments = shlex.split(command)
    assert Path(program).name == "skyport-core"
    _check_core(arguments)


# -- commands --------------------------------------------------------------------------------------


def command_lines() -> list[Any]:
    return [
        pytest.param(line, id=f"{one.path.stem}: {line[:60]}")
        for one in all_pages()
        for text in one.examples("sh")
        for line in text.replace("\\\n", " ").splitlines()
        if re.search(r"\b(make|skyport|skyport-core)\b", line)
        and not re.search(r"\bcurl\b|^az ", line)
    ]


@pytest.mark.parametrize("line", command_lines())
def test_commands_exist_and_take_their_arguments(line: str) -> None:
    words = shlex.split(line, comments=True)
    programs = [Path(word).name for word in words]
    if "make" in programs:
        makefile = (CHECKOUT / "Makefile").read_text()
        for target in words[programs.index("make") + 1 :]:
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    elif "skyport-core" in programs and "systemctl" not in programs:
        _check_core(words[programs.index("skyport-core") + 1 :])
    elif "skyport" in programs and not {"adduser", "venv"} & set(words):
        _check_console(words[programs.index("skyport") + 1 :])


def _check_core(arguments: list[str]) -> None:
    program: Any = SkyPortCore()
    words = list(arguments)
    while words and not words[0].startswith("-") and program.subcommands:
        name = words.pop(0)
        assert name in program.subcommands, arguments
        command = program.subcommands[name][0]
        if not isinstance(command, type):
            command = load_command(name)
        if issubclass(command, CertCommand):
            _check_click(command.group, words)
            return
        program = command()
    named = {**program.aliases, **program.flags}
    names = [name for one in named for name in ([one] if isinstance(one, str) else one)]
    known = {f"--{name}" if len(name) > 1 else f"-{name}" for name in names} | {"--help-all"}
    assert {word.partition("=")[0] for word in words if word.startswith("-")} <= known, arguments


def _check_console(arguments: list[str]) -> None:
    _check_click(console, arguments)


def _check_click(group: click.Group, arguments: list[str]) -> None:
    context = group.make_context("command", list(arguments))
    name, command, rest = group.resolve_command(context, [*context._protected_args, *context.args])
    assert command is not None
    command.make_context(name, rest, parent=context)


def test_every_console_command_is_shown_somewhere() -> None:
    shown = " ".join(text for one in all_pages() for text in one.examples("sh"))
    missing = [
        name
        for name in console.list_commands(click.Context(console))
        if f"skyport {name}" not in shown
    ]
    assert missing == []


# -- the REST API ----------------------------------------------------------------------------------


def test_every_route_is_documented() -> None:
    rows = [row[0] for row in page("rest.md").rows()]
    for pattern, handler in ROUTES:
        path = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", pattern).replace("{job_id}", "{id}")
        path = path.replace("\\", "")
        for method in ("get", "put", "post", "patch", "delete"):
            if method in vars(handler):
                assert f"`{method.upper()} {path}`" in rows, f"{method.upper()} {path}"


def test_every_field_of_a_job_is_documented() -> None:
    rows = page("rest.md").rows()
    named = {word for row in rows for word in re.findall(r"`(\w+)`", row[0])}
    assert set(JobView.model_fields) <= named


def test_the_documented_event_has_the_fields_of_a_real_one() -> None:
    stream = next(text for text in page("rest.md").examples("text") if "event: job" in text)
    data = re.search(r"^data: (.*)$", stream, re.MULTILINE)
    assert data is not None
    event = EventView.model_validate_json(data[1])
    assert event.model_dump_json() == data[1]


def test_every_error_code_is_documented() -> None:
    documented = {
        (row[0], code) for row in page("rest.md").rows() for code in re.findall(r"`(\w+)`", row[1])
    }
    for path in (CHECKOUT / "skyport_core/api").rglob("*.py"):
        for status, code in re.findall(r'ApiError\(\s*(\d{3}), "(\w+)"', path.read_text()):
            assert (status, code) in documented, f"{path.name}: {status} {code}"


# -- messages --------------------------------------------------------------------------------------


def source_texts() -> str:
    """All text of the packages, with the strings that Python would join joined."""
    paths = [path for name in PACKAGES for path in (CHECKOUT / name).rglob("*.py")]
    joined = "\n".join(path.read_text() for path in paths)
    return re.sub(r'"\s*\n\s*f?"', "", joined)


def troubleshooting() -> list[str]:
    """The messages in the first columns of the tables."""
    pages = [page("howto-onprem.md"), page("howto-azure.md")]
    parts = [one.prose.partition("## When it does not work")[2] for one in pages]
    lines = [line for part in parts for line in part.splitlines()]
    cells = [line.split("|")[1] for line in lines if line.startswith("| `")]
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]


@pytest.mark.parametrize("message", troubleshooting())
def test_every_message_of_the_troubleshooting_table_is_one_of_the_code(message: str) -> None:
    source = source_texts()
    # A few words in a row, since the rest of a message may be a variable in the code.
    runs = [run.split() for run in re.findall(r"[a-z]+(?: [a-z]+)+", message)]
    found = [" ".join(run[i : i + 3]) for run in runs for i in range(max(1, len(run) - 2))]
    assert any(words in source for words in found), f"no message has any of {found}"


def test_modules_named_in_examples_can_be_imported() -> None:
    for one in all_pages():
        for text in one.examples("python"):
            for name in re.findall(r"^from (skyport_[\w.]+) import", text, re.MULTILINE):
                importlib.import_module(name)
