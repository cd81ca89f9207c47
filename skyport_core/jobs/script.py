"""A job's script: how it is run."""

from __future__ import annotations

MARK = "#!"


def script_command(text: str, path: str) -> tuple[str, ...]:
    """The words that run a script which stands at ``path``: without an interpreter, ``sh`` does."""
    return (path,) if text.startswith(MARK) else ("sh", path)


def interpreter_of(text: str) -> str:
    """The program that must be there for a script to run; "" if that is ``sh``.

    It is the path in the first line, or what ``env`` is to look for.
    """
    if not text.startswith(MARK):
        return ""
    words = text.partition("\n")[0].removeprefix(MARK).split(None, 1)
    if not words:
        return ""
    program, *rest = words
    if program.rpartition("/")[2] == "env" and rest:
        name = rest[0].strip()
        if name and not name.startswith("-") and "=" not in name:
            return name
    return program
