"""Values of options that have a form of their own."""

from __future__ import annotations

import os
from collections.abc import Callable

import click

from ..jobscript.values import mebibytes, walltime

TIMES = "3600 (seconds), 90m, 1.5h, 2d, 1w, MM:SS, HH:MM:SS or D-HH[:MM:SS]"
SIZES = "MiB, or with a unit: 512M, 4G, 1.5T"
"""The forms that are taken, which are those of scripts, for the help."""


class Count(click.IntRange):
    """A whole number within bounds, called so in messages."""

    name = "integer"


class Number(click.FloatRange):
    """A number within bounds, called so in messages."""

    name = "number"


def time(text: str) -> int:
    """Seconds, as ``#SWM walltime`` of a script has them."""
    return _read(walltime, text)


def size(text: str) -> int:
    """MiB, as ``#SWM memory`` of a script has them."""
    return _read(mebibytes, text)


def _read(reader: Callable[[str], int], text: str) -> int:
    try:
        return reader(text.strip())
    except ValueError as error:
        raise click.BadParameter(f"{text!r} {error}") from None


def pairs(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | None:
    """``NAME=VALUE`` several times."""
    found = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise click.BadParameter(f"{text!r} is not of the form NAME=VALUE")
        found[name] = value
    return found or None


def environment(
    context: click.Context, parameter: click.Parameter, values: tuple[str, ...]
) -> dict[str, str] | None:
    """``NAME=VALUE``, or only ``NAME`` for a value that shall not stand on a command line."""
    given = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals and name not in os.environ:
            raise click.BadParameter(f"{name} is not set here; give {name}=VALUE")
        given[name] = value if equals else os.environ[name]
    return given or None
