"""The text of a script, and where its directives stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from .errors import ScriptError, shown

Dialect = Literal["#SWM", "#SBATCH"]

_DIRECTIVE = re.compile(r"^(?:[^\S\n]*(?P<swm>#SWM)|(?P<sbatch>#SBATCH))(?P<rest>[^\n]*)$", re.M)
_COMMAND = re.compile(r"^[^\S\n]*[^\s#]", re.M)
"""The first line that is neither a comment nor blank: from there on sbatch reads no more."""


@dataclass(frozen=True)
class Line:
    """One line that speaks to the core: its number from 1, its dialect, and what follows that."""

    number: int
    dialect: Dialect
    text: str


def source(text: str) -> str:
    """A script as it can be run: with LF at the end of its lines.

    Raises ScriptError for what no node could run: no interpreter in the first line, NUL bytes,
    a byte order mark, line ends of CR alone.
    """
    if "\0" in text:
        raise ScriptError("a NUL byte; a script is text", text.count("\n", 0, text.index("\0")) + 1)
    first = text.split("\n", 1)[0]
    if first.startswith("\ufeff"):
        raise ScriptError("a byte order mark before the '#!'; save the script without it", 1)
    if first.endswith("\r"):
        text = text.replace("\r\n", "\n")
        first = first[:-1]
    if not re.match(r"#![ \t]*/[^\s\0]", first):
        raise ScriptError(
            f"{shown(first)}: a script begins with '#!' and the path of its interpreter, "
            "such as '#!/bin/sh'",
            1,
        )
    if "\r" in first:
        raise ScriptError("the lines end with CR alone; save the script with LF", 1)
    return text


def directives(text: str) -> Iterator[Line]:
    """The lines of a script that speak to the core, in their order.

    ``#SWM`` counts anywhere, ``#SBATCH`` only before the first command, as sbatch has it.
    """
    command = _COMMAND.search(text)
    commands = command.start() if command else len(text)
    number, at = 1, 0
    for match in _DIRECTIVE.finditer(text):
        rest = match["rest"].removesuffix("\r")
        number, at = number + text.count("\n", at, match.start()), match.start()
        dialect: Dialect = "#SWM" if match["swm"] else "#SBATCH"
        if dialect == "#SBATCH" and match.start() >= commands:
            continue
        if rest and rest[0] not in " \t":
            if rest[0].isspace():
                raise ScriptError(f"{rest[0]!r} where a blank is needed", number, dialect)
            continue
        yield Line(number, dialect, rest.strip())
