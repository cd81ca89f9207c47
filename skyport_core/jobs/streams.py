"""Where a job reads and writes: file names with the patterns that Slurm's users know."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ..model import Job, JobKind

PATTERN = re.compile(r"%(\d*)([A-Za-z%])")

MAX_WIDTH = 10
"""Digits to which a number is filled up at most, as in Slurm."""


@dataclass(frozen=True)
class Streams:
    """Files relative to the working directory; "": nothing to read, and only the log."""

    stdin: str = ""
    stdout: str = ""
    stderr: str = ""
    merged: bool = False


def streams_of(job: Job) -> Streams:
    """A job's files with their patterns filled in.

    Standard error goes where standard output goes if the job says so or names the same file for
    both; if it says nothing, that of servers does.
    """
    spec = job.spec
    stdin, stdout, stderr = (expand(name, job) for name in (spec.stdin, spec.stdout, spec.stderr))
    merged = spec.merge_output
    if merged is None:
        merged = stderr == stdout if stderr else spec.kind is JobKind.SERVER
    return Streams(stdin, stdout, "" if merged else stderr, merged)


def expand(name: str, job: Job) -> str:
    """A file name with its patterns filled in; a pattern that means nothing stays as it is.

    ``%j`` and ``%J`` the job's id, ``%x`` its name, ``%u`` its owner, ``%N`` its node, ``%A`` its
    array's id (its own in no array), ``%a`` its index there (``%4a``: with four digits at least),
    ``%n`` and ``%t`` 0, ``%%`` a percent sign. A slash in a value becomes ``_``.
    """
    values = {
        "j": job.id,
        "J": job.id,
        "x": job.spec.name or ("script" if job.scripted else "job"),
        "u": job.owner,
        "N": (job.node or "").partition(".")[0],
        "A": job.array_id or job.id,
        "a": str(job.array_index or 0),
        "n": "0",
        "t": "0",
        "%": "%",
    }

    def fill(found: re.Match[str]) -> str:
        width, letter = found.groups()
        value = values.get(letter)
        if value is None:
            return found[0]
        if width and value.isdecimal():
            value = value.zfill(min(int(width), MAX_WIDTH) if len(width) < 5 else MAX_WIDTH)
        return value.replace("/", "_")

    return PATTERN.sub(fill, name)
