"""What a job is and needs, as options: the same for submit, run and offers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
from pydantic import BaseModel, ValidationError

from ..client import CoreClient, CoreError, FileTrouble
from ..jobscript import Directives, ScriptError, read
from ..jobscript.draft import without_field
from ..model import Condition, Dependency, Eviction, JobKind
from .finding import (
    complete_dependencies,
    complete_files,
    complete_flavors,
    complete_sites,
    find,
)
from .values import SIZES, TIMES, environment, pairs, size, time
from .wording import complained

Function = TypeVar("Function", bound=Callable[..., Any])
Request = TypeVar("Request", bound=BaseModel)

SPOT = {"never": False, "only": True, "cheaper": None}
"""What ``--spot`` takes: ``cheaper`` is either, whichever costs less."""

MAX_SCRIPT = 16_000_000
"""Bytes of the largest file that is taken for a script."""

_EVICTIONS = click.Choice([each.value for each in Eviction])

OPTIONS: Sequence[Callable[[Function], Function]] = (
    click.option("--name", help="A name for people."),
    click.option("--comment", help="A remark for people."),
    click.option("--owner", help="Whose job it is. [default: yours]"),
    click.option("--account", help="Whom to charge."),
    click.option("--site", shell_complete=complete_sites, help="Run at this site only."),
    click.option("--flavor", shell_complete=complete_flavors, help="Run on this node type only."),
    click.option("--region", help="Run in this region only."),
    click.option("--zone", help="Run in this zone only."),
    click.option(
        "--spot",
        type=click.Choice(list(SPOT)),
        help="Use nodes that their site may take back: never, only these, or what is cheaper. "
        "[default: never]",
    ),
    click.option("--max-price", type=float, help="The most that a node may cost per hour."),
    click.option("--image", help="Image that a node made for the job boots."),
    click.option("--container", help="Container image that the job runs in."),
    click.option(
        "--on-eviction",
        type=_EVICTIONS,
        help="When a spot node is taken back: fail, start over, or start over with what was "
        f"saved. [default: {Eviction.REQUEUE.value}]",
    ),
    click.option("--keep", metavar="NAME", help="Keep the node asleep under this name afterwards."),
    click.option(
        "--relocatable/--no-relocatable", default=None, help="Whether a node may be made for it."
    ),
    click.option(
        "--label", "labels", callback=pairs, help="NAME=VALUE, on the node.", multiple=True
    ),
    click.option("--cpus", type=float, help="Cores."),
    click.option("--memory", type=size, help=f"{SIZES}."),
    click.option("--gpus", type=int, help="GPU devices."),
    click.option("--nodes", type=int, help="Nodes, each with these resources."),
    click.option("--disk", "storage", type=int, help="GiB of disk that the node must have."),
    click.option("--storage", "storages", help="A shared storage of the core's.", multiple=True),
    click.option("--walltime", type=time, help=f"How long it may run: {TIMES}."),
    click.option("--username", help="Login on the node."),
    click.option("--workdir", help="Working directory on the node."),
    click.option("--stdin", help="File on the node to read."),
    click.option("--stdout", help="File on the node to write; %j is the job's id."),
    click.option("--stderr", help="The same for standard error."),
    click.option("--port", "port", type=int, help="TCP port that the job serves."),
    click.option("--output", "outputs", help="File to bring home; may be repeated.", multiple=True),
    click.option(
        "--var",
        "variables",
        callback=pairs,
        help="NAME=VALUE, environment that may be shown with the job; may be repeated.",
        multiple=True,
    ),
    click.option("--hold", is_flag=True, default=None, help="Wait until the job is released."),
    click.option(
        "--dependency",
        "dependencies",
        metavar="[WHEN:]JOB",
        shell_complete=complete_dependencies,
        help="Start after this job; WHEN is after, afterany, afterok (the default) or afternotok.",
        multiple=True,
    ),
    click.option("--array", help="One job for each index: 0-9, 1,3,5, 0-99%4 (4 at a time)."),
)

SECRET_OPTIONS: Sequence[Callable[[Function], Function]] = (
    click.option(
        "--env",
        "environment",
        callback=environment,
        help="NAME=VALUE, or NAME to pass on what is set here; kept secret; may be repeated.",
        multiple=True,
    ),
    click.option(
        "--input",
        "inputs",
        metavar="FILE",
        shell_complete=complete_files,
        help="File or folder of this machine that the job needs; may be repeated.",
        multiple=True,
    ),
)


def with_options(*options: Callable[[Any], Any]) -> Callable[[Function], Function]:
    """Add options to a command, in this order."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
        return function

    return add


class ProgramCommand(click.Command):
    """A command whose last arguments are a script file or, after ``--``, a program of the node."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Remember whether a ``--`` stands before the program."""
        rest = list(args)
        result = super().parse_args(ctx, args)
        words = ctx.params.get("command") or ()
        head = rest[: len(rest) - len(words)]
        ctx.params["literal"] = bool(head) and head[-1] == "--"
        return result


@dataclass(frozen=True)
class Program:
    """What shall run: ``fields`` of the request; a script's directives, and where it is."""

    fields: dict[str, Any]
    directives: Directives | None = None
    path: str = ""


def program(words: Sequence[str], *, literal: bool) -> Program:
    """The program that the words mean. Raises UsageError, FileTrouble.

    Without ``literal``, a first word that names a script here is that script, and what follows
    are its arguments; else the words are a program of the node and its arguments.
    """
    if not words:
        return Program({})
    text = None if literal else _script(Path(words[0]))
    if text is None:
        return Program({"command": tuple(words)})
    try:
        directives = read(text)
    except ScriptError as error:
        raise click.UsageError(f"{words[0]}: {error}") from None
    fields: dict[str, Any] = {"script": text}
    if len(words) > 1:
        fields["arguments"] = tuple(words[1:])
    if "name" not in directives.fields:
        fields["name"] = Path(words[0]).name
    return Program(fields, directives, words[0])


async def wished(client: CoreClient, options: dict[str, Any]) -> dict[str, Any]:
    """The fields of a request that were given; those that were not are left to script and core."""
    fields = {name: value for name, value in options.items() if value not in (None, ())}
    if "spot" in fields:
        fields["spot"] = SPOT[fields["spot"]]
    if "dependencies" in fields:
        fields["dependencies"] = [
            each for text in fields["dependencies"] for each in await _dependencies(client, text)
        ]
    return {"kind": JobKind.BATCH, **fields}


def checked(model: type[Request], fields: dict[str, Any]) -> Request:
    """A request. Raises BadParameter naming the option and the value at fault."""
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        field, message = complained(error)
    raise _wrong(field, message)


@contextmanager
def refusals(what: Program, given: Collection[str]) -> Iterator[None]:
    """What the core refuses inside the block, in words of here: this script, these options.

    A value that no core would take is wrong usage of the option that has it.
    """
    try:
        yield
    except CoreError as error:
        field = error.field or ""
        rest = error.message.removeprefix("script: ")
        if what.path and rest != error.message:
            message = f"{what.path}: {rest}"
            raise CoreError(error.status, error.code, message, error.field) from None
        if error.code == "invalid" and field.partition(".")[0] in given:
            raise _wrong(field, without_field(error.message, field)) from None
        raise


_OPTION_NAMES = {
    "dependencies": "dependency",
    "environment": "env",
    "inputs": "input",
    "labels": "label",
    "outputs": "output",
    "storage": "disk",
    "storages": "storage",
    "variables": "var",
}
"""Options by the fields that they fill, where the two have different names."""


def _wrong(field: str, message: str) -> click.UsageError:
    if not field:
        return click.UsageError(message)
    name, _, part = field.partition(".")
    option = f"--{_OPTION_NAMES.get(name, name.replace('_', '-'))}"
    named = f"{part}: " if part and not part.isdigit() and name in ("labels", "variables") else ""
    return click.BadParameter(f"{named}{message}", param_hint=repr(option))


async def _dependencies(client: CoreClient, text: str) -> list[Dependency]:
    """``afterok:JOB:JOB`` as of Slurm; without a word before, afterok."""
    first, *others = text.split(":")
    words = {each.value for each in Condition}
    if first not in words and others:
        raise click.UsageError(f"--dependency: {first!r} is none of {', '.join(sorted(words))}.")
    when = Condition(first) if others else Condition.AFTER_OK
    return [Dependency(job=(await find(client, job)).id, when=when) for job in others or [first]]


def _script(path: Path) -> str | None:
    """The text of a script; None where nothing of this name is here. Raises UsageError."""
    looks_like_one = path.suffix in (".sh", ".slurm", ".sbatch", ".swm")
    if path.is_dir():
        raise click.UsageError(
            f"{path} is a folder, and no script. Put -- before a program that is on the node; "
            "--input brings a folder there."
        )
    if not path.is_file():
        if looks_like_one:
            raise click.UsageError(
                f"There is no file {path}. Put -- before a program that is on the node."
            )
        return None
    try:
        with path.open("rb") as file:
            data = file.read(MAX_SCRIPT + 1)
    except OSError as error:
        raise FileTrouble(path, error) from error
    if not data.startswith(b"#!"):
        raise click.UsageError(
            f"{path} does not begin with #!, such as #!/bin/sh, and is no script. "
            "Put -- before a program that is on the node."
        )
    if len(data) > MAX_SCRIPT:
        raise click.UsageError(f"{path} is larger than {MAX_SCRIPT} bytes.")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"{path} is not UTF-8 text.") from None
