"""Commands about the cores that a person works with."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from ..client import write_secretly
from .command import complete_contexts, in_words, main
from .contexts import NAME, Context, ContextError, Contexts, token_file
from .output import plain, print_fields, print_table

name_argument = click.argument("name", shell_complete=complete_contexts)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@main.group()
def context() -> None:
    """Cores to work with, each under a name.

    They are kept in contexts.toml in $XDG_CONFIG_HOME/skyport (~/.config/skyport).
    """


@context.command("list")
@json_option
def list_contexts(as_json: bool) -> None:
    """List the contexts; the current one has a star."""
    with in_words():
        known = Contexts.load()
    views = [_view(each, known.current) for _, each in sorted(known.contexts.items())]
    if as_json:
        click.echo(json.dumps(views, indent=2))
        return
    rows = [
        ("*" if view["current"] else "", view["name"], view["kind"], _where(view)) for view in views
    ]
    print_table(
        ("", "NAME", "KIND", "WHERE"), rows, "No contexts: the core of this machine is used."
    )


@context.command()
@name_argument
@json_option
def show(name: str, as_json: bool) -> None:
    """Show a context; never its token."""
    with in_words():
        known = Contexts.load()
        view = _view(known.named(name), known.current)
    if as_json:
        click.echo(json.dumps(view, indent=2))
    else:
        print_fields((key.replace("_", " ").capitalize(), value) for key, value in view.items())


@context.command()
@click.argument("name")
@click.option("--socket", "path", type=click.Path(path_type=Path), help="A core's Unix socket.")
@click.option("--https", "address", metavar="HOST[:PORT]", help="A core's HTTPS door.")
@click.option("--cert", type=click.Path(exists=True, path_type=Path), help="Client certificate.")
@click.option("--key", type=click.Path(exists=True, path_type=Path), help="Its private key.")
@click.option(
    "--ca", type=click.Path(exists=True, path_type=Path), help="Authority of the core, or the hub."
)
@click.option("--hub", "url", metavar="URL", help="https://HUB/services/skyport")
@click.option(
    "--token-file",
    metavar="FILE",
    help="File that holds the hub's token; - reads it from standard input and keeps it.",
)
@click.option("--use", is_flag=True, help="Make it the current one.")
@json_option
def add(name: str, use: bool, as_json: bool, **given: Any) -> None:
    """Add a core, or change how it is reached.

    \b
    skyport context add here --socket /run/skyport/core.sock
    skyport context add lab --https core.lab:8443 --cert me.pem --key me.key --ca ca.pem
    skyport context add hub --hub https://hub.lab/services/skyport --token-file -
    """
    if not NAME.fullmatch(name):
        raise click.UsageError(f"{name!r}: a name has letters, digits, - and _ only.")
    made = Context(name, *_kind(**{key: value for key, value in given.items() if value}))
    with in_words():
        if made.values.get("token_file") == "-":
            path = token_file(name)
            write_secretly(path, _read_token())
            made = Context(name, made.kind, {**made.values, "token_file": str(path)})
        made.endpoint()
        known = Contexts.load().with_context(made)
        if use:
            known = Contexts(known.contexts, name)
        known.save()
    if as_json:
        click.echo(json.dumps(_view(made, known.current), indent=2))
    else:
        click.echo(f"Context {name} is saved{' and current' if known.current == name else ''}.")


@context.command()
@name_argument
@json_option
def use(name: str, as_json: bool) -> None:
    """Make a context the current one."""
    with in_words():
        known = Contexts.load()
        chosen = known.named(name)
        Contexts(known.contexts, name).save()
    if as_json:
        click.echo(json.dumps(_view(chosen, name), indent=2))
    else:
        click.echo(f"Context {name} is current.")


@context.command()
@name_argument
@json_option
def remove(name: str, as_json: bool) -> None:
    """Forget a context, and the token that was kept for it."""
    with in_words():
        known = Contexts.load()
        gone = known.named(name)
        known.without(name).save()
        if gone.values.get("token_file") == str(token_file(name)):
            token_file(name).unlink(missing_ok=True)
    if as_json:
        click.echo(json.dumps(_view(gone, None), indent=2))
    else:
        click.echo(f"Context {name} is removed.")


def _kind(
    path: Path | None = None,
    address: str | None = None,
    url: str | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    ca: Path | None = None,
    token_file: str | None = None,
) -> tuple[str, dict[str, str]]:
    if sum(way is not None for way in (path, address, url)) != 1:
        raise click.UsageError("Give one of --socket, --https and --hub.")
    if path is not None:
        _none_of("--socket", cert=cert, key=key, ca=ca, token_file=token_file)
        return "socket", {"path": _absolute(path)}
    if address is not None:
        _none_of("--https", token_file=token_file)
        if cert is None or key is None or ca is None:
            raise click.UsageError("--https needs --cert, --key and --ca.")
        files = {"certificate": cert, "key": key, "authority": ca}
        return "https", {
            "address": address,
            **{name: _absolute(file) for name, file in files.items()},
        }
    _none_of("--hub", cert=cert, key=key)
    if token_file is None:
        raise click.UsageError("--hub needs --token-file; a token has no place on a command line.")
    values = {"url": url or "", "token_file": token_file}
    if token_file != "-":  # noqa: S105 - a name
        values["token_file"] = _absolute(Path(token_file))
    return "hub", {**values, **({"authority": _absolute(ca)} if ca else {})}


def _none_of(way: str, **given: object) -> None:
    extra = [f"--{name.replace('_', '-')}" for name, value in given.items() if value is not None]
    if extra:
        raise click.UsageError(f"{way} does not go with {', '.join(extra)}.")


def _absolute(path: Path) -> str:
    return str(Path(os.path.abspath(path.expanduser())))  # noqa: PTH100 - links stay as they are


def _read_token() -> str:
    if sys.stdin.isatty():
        token = str(click.prompt("Token", hide_input=True, err=True))
    else:
        token = sys.stdin.readline()
    if not token.strip():
        raise ContextError("There is no token on standard input.")
    return token.strip() + "\n"


def _view(each: Context, current: str | None) -> dict[str, Any]:
    return {
        "name": each.name,
        "kind": each.kind,
        "current": each.name == current,
        **each.values,
    }


def _where(view: dict[str, Any]) -> str:
    return plain(str(view.get("path") or view.get("address") or view.get("url")))
