"""What runs on a node: the description of one job, and the shell text that carries it there."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

ENGINES = ("auto", "podman", "docker", "apptainer", "none")
"""What may run containers; auto: the first that the node has, none: the node itself."""

SPECIAL = re.compile(
    r"_|(E?UID|PPID|SHELLOPTS|BASHOPTS|BASH_.*|OPTIND|OPTARG|LINENO|S?RANDOM|SECONDS|GROUPS|FUNCNAME"
    r"|DIRSTACK|HISTCMD|EPOCH(REALTIME|SECONDS)|PWD|OLDPWD|SHLVL)"
)
"""Names that some shell keeps for itself: assigning them fails or does something else."""

LOGIN_NAMES = ("HOME", "USER", "LOGNAME", "LANG", "SKYPORT_JOB_ID")
"""What the runner sets for every job; its PATH and SHELL are the node's, not an image's."""


@dataclass(frozen=True)
class Container:
    """The container image that a job runs in.

    Attributes
    ----------
    image
        As the engine names it.
    engine
        One of :data:`ENGINES` but "none".
    gpus
        Show the container the node's GPUs.
    mounts
        Absolute folders that it sees at the same paths; those that do not exist are left out.
    """

    image: str
    engine: str = "auto"
    gpus: bool = False
    mounts: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunSpec:
    """What to run.

    Attributes
    ----------
    command
        Program and arguments; the program is looked up in the PATH of ``environment``, if given.
    environment
        Added to HOME, USER, LOGNAME, PATH, SHELL and LANG of the login.
    workdir
        Working directory, made if missing; relative to the login's home.
    walltime
        Seconds after which the job is ended on the node; None: no limit.
    merge_output
        Standard error goes where standard output goes.
    stdin, stdout, stderr
        Files to read and to write, relative to the working directory; "": nothing to read, and
        only the job's own ``stdout.log`` and ``stderr.log``, which show the same in any case.
    files
        ``(path, mode, content)`` of files to put into the job's folder.
    path_first, path_last
        Folders to look for programs in before and after all those of PATH.
    interpreter
        Program that must be there for the job to start, "": none.
    container
        Image to run the command in; None: on the node itself.
    exec_prefix
        Put before the command: how to get into an allocation.
    grace
        Seconds between TERM and KILL when the walltime is over.
    """

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    workdir: str = ""
    walltime: int | None = None
    merge_output: bool = True
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    files: tuple[tuple[str, int, bytes], ...] = field(default=(), repr=False)
    path_first: tuple[str, ...] = ()
    path_last: tuple[str, ...] = ()
    interpreter: str = ""
    container: Container | None = None
    exec_prefix: tuple[str, ...] = ()
    grace: int = 10


def describe(spec: RunSpec, job_id: str, own: str) -> bytes:
    """The job as shell functions: safe for any bytes but NUL, and no secret of it in an argv.

    ``own`` is the runner's folder on the node.
    """
    settings = {
        "workdir": below_home(spec.workdir),
        "walltime": str(int(spec.walltime or 0)),
        "grace": str(int(spec.grace)),
        "merge": str(int(spec.merge_output)),
        "stdin": spec.stdin,
        "stdout": spec.stdout,
        "stderr": spec.stderr,
        "interpreter": spec.interpreter,
    }
    exported, command = _on_node(spec) if spec.container is None else _in_image(spec, job_id, own)
    lines = [
        "settings() {",
        *(f"{name}={shlex.quote(value)}" for name, value in settings.items()),
        "}",
        "environment() {",
        ":",
        *(f"export {name}={shlex.quote(value)}" for name, value in exported.items()),
        *_path_line(spec),
        "}",
        "interpreter() {",
        f"command -v {shlex.quote(spec.interpreter or 'sh')} >/dev/null 2>&1",
        "}",
        "job() {",
        "exec " + " ".join(shlex.quote(word) for word in command),
        "}",
        "",
    ]
    return "\n".join(lines).encode(errors="surrogateescape")


def below_home(workdir: str) -> str:
    """A working directory as it is below the login's home."""
    return "" if workdir == "~" else workdir.removeprefix("~/")


def _path_line(spec: RunSpec) -> Iterator[str]:
    """The line that adds the job's folders to PATH; in a container, it is the image's."""
    if spec.container is None and (spec.path_first or spec.path_last):
        first, last = (shlex.quote(text) for text in _path_ends(spec))
        yield f'export PATH={first}"$PATH"{last}'


def _path_ends(spec: RunSpec) -> tuple[str, str]:
    first = "".join(f"{folder}:" for folder in spec.path_first)
    return first, "".join(f":{folder}" for folder in spec.path_last)


def _on_node(spec: RunSpec) -> tuple[dict[str, str], list[str]]:
    """The variables that the shell exports, and the command."""
    special = {name: value for name, value in spec.environment.items() if SPECIAL.fullmatch(name)}
    plain = {name: value for name, value in spec.environment.items() if name not in special}
    command = [*spec.exec_prefix, *spec.command]
    if special:
        # None of these is ever secret, so they may pass through env's arguments.
        command = ["env", *(f"{name}={value}" for name, value in special.items()), *command]
    return plain, command


def _in_image(spec: RunSpec, job_id: str, own: str) -> tuple[dict[str, str], list[str]]:
    """The same for a job in a container; its PATH must not become that of the engine."""
    assert spec.container is not None  # noqa: S101 (typing)
    given = [name for name in spec.environment if name == "PATH" or SPECIAL.fullmatch(name)]
    plain = {name: value for name, value in spec.environment.items() if name not in given}
    names = dict.fromkeys((*LOGIN_NAMES, *plain))
    inside = [*_path_extended(spec), *spec.command]
    box = spec.container
    command = [
        *spec.exec_prefix,
        *("sh", f"{own}/container.sh", own, job_id, box.engine, box.image, str(int(box.gpus))),
        *(str(len(inside)), *box.mounts, "--"),
        *(*names, *(f"{name}={spec.environment[name]}" for name in given), "--"),
        *inside,
    ]
    return plain, command


def _path_extended(spec: RunSpec) -> Iterator[str]:
    """Words that add to the image's own PATH."""
    if spec.path_first or spec.path_last:
        text = 'PATH=$1$PATH$2; export PATH; shift 2; exec "$@"'
        yield from ("sh", "-c", text, "sh", *_path_ends(spec))
