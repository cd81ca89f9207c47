"""Values of options that have a form of their own."""

from __future__ import annotations

import os
import re

import click

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_MIB = {"M": 1, "G": 1024, "T": 1024**2}


def time(text: str) -> int:
    """Seconds, from these or a number with a unit (90m, 2h, 1d), or [D-]HH:MM:SS."""
    plain = re.fullmatch(r"(\d+)([smhd]?)", text.strip())
    if plain:
        return int(plain[1]) * _SECONDS[plain[2] or "s"]
    clock = re.fullmatch(r"(?:(\d+)-)?(\d+):(\d{2}):(\d{2})", text.strip())
    if clock is None:
        message = f"{text!r} is not of the form 3600, 90m, 2h, 1d or [D-]HH:MM:SS"
        raise click.BadParameter(message)
    days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
    return ((days * 24 + hours) * 60 + minutes) * 60 + seconds


def size(text: str) -> int:
    """MiB, from these or a number with a unit: 4096, 4G, 1T."""
    found = re.fullmatch(r"(\d+)([MGT]?)(?:i?B)?", text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is not of the form 4096, 4096M, 4G or 1T")
    return int(found[1]) * _MIB[found[2] or "M"]


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
