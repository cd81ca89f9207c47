"""How the values of directives are read; each reader raises ValueError saying what is allowed."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Sequence

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}
_SIZE = re.compile(r"(\d{1,15}(?:\.\d{1,6})?)[ \t]?([KMGTP]?)(?:i?B)?", re.I | re.A)
_CLOCK = re.compile(r"(?:(\d{1,5})-)?(\d{1,9})(?::(\d{1,5}))?(?::(\d{1,5}))?", re.A)
_SPAN = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)[ \t]?(s|m|min|h|d|w)", re.A)
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_IMAGE_TAG = re.compile(r"[^:]+(:[0-9]{1,5}/[^:]+)?:[A-Za-z0-9_][A-Za-z0-9_.-]*")

YES = frozenset({"yes", "true", "on", "1"})
NO = frozenset({"no", "false", "off", "0"})


def words(text: str) -> list[str]:
    """Words as a shell splits them, quotes and all."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{str(error).lower()} in the quoting of its words") from None


def integer(text: str) -> int:
    """A whole number."""
    # Of any size: what is allowed depends on the field, which says so.
    if not re.fullmatch(r"-?[0-9]{1,40}", text):
        raise ValueError("must be a whole number")
    return int(text)


def number(text: str) -> float:
    """A number with or without a fraction."""
    if not re.fullmatch(r"-?[0-9]{1,40}(\.[0-9]{1,6})?", text):
        raise ValueError("must be a number")
    return float(text)


def switch(text: str) -> bool:
    """``yes`` or ``no``; nothing means yes."""
    word = text.lower()
    if word in YES or not word:
        return True
    if word in NO:
        return False
    raise ValueError("must be yes or no")


def either(text: str) -> bool | None:
    """``yes``, ``no``, or ``any`` for whichever is better."""
    if text.lower() == "any":
        return None
    try:
        return switch(text)
    except ValueError:
        raise ValueError("must be yes, no or any") from None


def choice(text: str, allowed: Sequence[str]) -> str:
    """One of some words."""
    if text not in allowed:
        raise ValueError(f"must be one of {', '.join(allowed)}")
    return text


def walltime(text: str) -> int:
    """Seconds of ``3600``, ``90m``, ``1.5h``, ``45:00``, ``12:00:00`` or ``1-12[:00:00]``."""
    span = _SPAN.fullmatch(text)
    if span:
        return math.ceil(float(span[1]) * _SECONDS[span[2]])
    seconds = clock(text, alone=1)
    if seconds is None:
        raise ValueError("must be seconds, 90m, 2h, 1.5d, 1w, MM:SS, HH:MM:SS or D-HH[:MM:SS]")
    return seconds


def clock(text: str, alone: int) -> int | None:
    """Seconds of a time as Slurm writes it; a lone number counts ``alone`` seconds. None: none.

    The forms are those of ``sbatch --time``: M, M:S, H:M:S, D-H, D-H:M and D-H:M:S.
    """
    match = _CLOCK.fullmatch(text)
    if not match:
        return None
    days, first, second, third = (int(part) if part else 0 for part in match.groups())
    if match[1]:
        return days * 86400 + first * 3600 + second * 60 + third
    if match[4]:
        return first * 3600 + second * 60 + third
    if match[3]:
        return first * 60 + second
    return first * alone


def mebibytes(text: str) -> int:
    """MiB of a size; a lone number is MiB. Units are powers of 1024, as in Slurm."""
    return _size(text, "M", "MiB")


def gibibytes(text: str) -> int:
    """GiB of a size; a lone number is GiB."""
    return _size(text, "G", "GiB")


def is_size(text: str) -> bool:
    """Whether this is a size rather than a name."""
    return bool(_SIZE.fullmatch(text))


def _size(text: str, unit: str, name: str) -> int:
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"must be a size: {name}, or with a unit such as 512M, 4G or 1.5T")
    power = _UNITS[match[2].upper() or unit] - _UNITS[unit]
    return math.ceil(float(match[1]) * 1024.0**power)


def is_container(image: str) -> bool:
    """Whether an image of an unknown kind is a container's: has a tag, a digest or a registry.

    ``ubuntu:24.04``, ``ghcr.io/org/name`` and ``name@sha256:…`` are; ``ubuntu-22.04``,
    ``ubuntu-hpc/2404`` and what Azure calls its images (``publisher:offer:sku:version``) are not.
    """
    if "@sha256:" in image or image.startswith(("docker://", "oras://")):
        return True
    if _IMAGE_TAG.fullmatch(image):
        return True
    host, slash, _ = image.partition("/")
    return bool(slash and host and ("." in host or ":" in host or host == "localhost"))


def assignments(text: str) -> dict[str, str]:
    """``NAME=VALUE`` words; a value with blanks is put in quotes."""
    pairs = {}
    for word in words(text):
        name, equals, value = word.partition("=")
        if not equals or not name:
            raise ValueError("must be NAME=VALUE, in quotes if the value holds blanks")
        pairs[name] = value
    return pairs


def dependencies(text: str) -> tuple[dict[str, str], ...]:
    """``afterok:ID[:ID…][,afterany:ID…]`` as in Slurm; a lone id means ``afterok``."""
    found: list[dict[str, str]] = []
    if "?" in text:
        raise ValueError("'?' (any of them) is not known; all after ',' must hold")
    for part in re.split(r"[,\s]+", text):
        when, colon, ids = part.partition(":")
        if not colon:
            when, ids = "afterok", part
        allowed = ("after", "afterany", "afterok", "afternotok")
        if when not in allowed:
            raise ValueError(f"must be ID or {', '.join(allowed)} with :ID")
        for job in ids.split(":"):
            if not re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", job.lower()):
                raise ValueError("must name jobs by their ids here, which are UUIDs")
            found.append({"job": job.lower(), "when": when})
    return tuple(found)
