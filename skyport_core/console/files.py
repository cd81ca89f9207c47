"""Commands about the files of jobs."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import click

from ..client import CoreClient, CoreError, FileTrouble
from ..wire import FileList, FileView
from .bars import Bars
from .command import core_command, main
from .finding import complete_files, complete_outputs, find, job_argument
from .output import clock, line, print_json, print_table, size


@main.command()
@job_argument
@core_command
async def files(client: CoreClient, as_json: bool, job: str) -> None:
    """List what a job was given and what it brought home."""
    view = await client.files((await find(client, job)).id)
    if as_json:
        return print_json(view)
    rows: list[tuple[str, ...]] = [
        (each.kind, size(each.size), clock(each.modified), each.path) for each in view.files
    ]
    rows += [("missing", "-", "", name) for name in view.missing]
    return print_table(("KIND", "SIZE>", "MODIFIED", "FILE"), rows, "The core has no files of it.")


@main.command()
@job_argument
@click.argument("paths", nargs=-1, metavar="[PATH]...", shell_complete=complete_outputs)
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    help="Folder to put them into. [default: this one]",
)
@click.option("--force", is_flag=True, help="Replace files that are there.")
@core_command
async def get(
    client: CoreClient, as_json: bool, job: str, paths: tuple[str, ...], folder: Path, force: bool
) -> None:
    """Bring results of a job home: all, or these files and folders.

    Wildcards are filled in with files and with folders, of which all below comes.
    """
    view = await find(client, job)
    listed = await client.files(view.id)
    if not view.state.final and not any(each.kind == "output" for each in listed.files):
        message = f"Job {view.id} is {view.state.value}: its outputs come home when it has ended."
        raise CoreError(409, "wrong_state", message)
    wanted = chosen(listed, paths)
    fetched = await fetch(client, view.id, wanted, folder, force=force)
    report(fetched, as_json=as_json, none="The job brought nothing home.")


@main.command()
@job_argument
@click.argument(
    "sources", nargs=-1, required=True, metavar="FILE...", shell_complete=complete_files
)
@core_command
async def put(client: CoreClient, as_json: bool, job: str, sources: tuple[str, ...]) -> None:
    """Upload inputs that a job in the queue waits for, again if they were wrong."""
    view = await find(client, job)
    sent: list[Path] = []
    with Bars(f"Uploading {len(sources)} files") as bars:
        for source in sources:
            path = Path(source)
            name = _input_name(view.inputs, path)
            with bars.transfer(name) as progress:
                await client.upload(view.id, name, path, progress=progress, wait=30)
            sent.append(path)
    report(sent, as_json=as_json, none="")


def chosen(listed: FileList, patterns: Sequence[str]) -> list[FileView]:
    """Outputs that match; a folder matches all below it. CoreError 404 for what matches none."""
    outputs = [each for each in listed.files if each.kind == "output"]
    if not patterns:
        return outputs
    found: dict[str, FileView] = {}
    for pattern in patterns:
        matching = {each.path: each for each in outputs if _matches(each.path, pattern)}
        if not matching:
            raise CoreError(404, "file_not_found", f"The job brought no {pattern} home.")
        found |= matching
    return list(found.values())


async def fetch(
    client: CoreClient, job_id: str, wanted: Sequence[FileView], folder: Path, *, force: bool
) -> list[Path]:
    """Download files below ``folder``; where they are now. FileTrouble for one that is there."""
    targets = {each.path: _target(folder, each.path, force=force) for each in wanted}
    if not targets:
        return []
    with Bars(f"Downloading {len(targets)} files") as bars:
        for name, path in targets.items():
            with bars.transfer(name) as progress:
                await client.download(job_id, name, path, progress=progress)
    return list(targets.values())


def report(paths: Sequence[Path], *, as_json: bool, none: str) -> None:
    """Say which files were moved."""
    if as_json:
        click.echo(json.dumps([str(path) for path in paths], indent=2))
    elif paths:
        for path in paths:
            click.echo(line(str(path)))
    elif none:
        click.echo(none)


def _matches(path: str, pattern: str) -> bool:
    folder, whole = pattern.rstrip("/"), PurePosixPath(path)
    return path.startswith(f"{folder}/") or any(
        each.match(folder) for each in (whole, *whole.parents[:-1])
    )


def _target(folder: Path, name: str, *, force: bool) -> Path:
    """Where a file goes."""
    path = _inside(folder, name)
    if os.path.lexists(path) and not force:
        raise FileTrouble(path, OSError(errno.EEXIST, "it exists; --force replaces it"))
    return path


def _inside(folder: Path, name: str) -> Path:
    """A file below a folder. CoreError for a name that leads out of it, be it by a link.

    The core is trusted with jobs, not with this machine.
    """
    path = folder / name
    refused = any(part in ("", ".", "..") for part in name.split("/")) or "\0" in name
    if refused or not path.parent.resolve().is_relative_to(folder.resolve()):
        why = "which is refused" if refused else f"which a link would lead out of {folder}"
        raise CoreError(502, "unreadable", f"The core offers a file called {name!r}, {why}.")
    return path


def _input_name(inputs: Sequence[str], path: Path) -> str:
    """What the job calls a file: the same path, or the only input of its last name."""
    written = path.as_posix().removeprefix("./")
    if written in inputs:
        return written
    same = [name for name in inputs if PurePosixPath(name).name == path.name]
    if len(same) != 1:
        known = ", ".join(inputs) or "none"
        message = f"{path}: the job does not wait for such a file; inputs: {known}"
        raise CoreError(404, "unknown_input", line(message))
    return same[0]
