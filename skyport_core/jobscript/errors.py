"""What is wrong with a job script."""

from __future__ import annotations

SHOWN = 80
"""Characters of a script's text that a message repeats."""


class ScriptError(ValueError):
    """A script that cannot become a job; its text is for the one who wrote it.

    Parameters
    ----------
    message : str
        What is wrong and what is allowed.
    line : int, optional
        Number of the line, from 1.
    directive : str, optional
        As it is written, such as ``#SWM walltime``.
    """

    def __init__(self, message: str, line: int | None = None, directive: str = "") -> None:
        place = f"line {line}: " if line is not None else ""
        super().__init__(f"{place}{directive + ': ' if directive else ''}{message}")


def shown(text: str) -> str:
    """Some text of a script for a message: quoted, and cut when it is long."""
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")
