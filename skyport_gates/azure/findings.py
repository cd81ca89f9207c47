"""What a check of a site found, in the order of its looks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ..gate import GateError, NotAuthorized
from .errors import translate

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Attributes
    ----------
    topic
        What was looked at, such as "rights" or "network westeurope".
    level
        "ok", "warning" (it may work) or "error" (it cannot).
    text
        What was found.
    hint
        What to do; "" for nothing.
    """

    topic: str
    level: Level
    text: str
    hint: str = ""


def ok(topic: str, text: str) -> Finding:
    """All is well."""
    return Finding(topic, "ok", text)


def warning(topic: str, text: str, hint: str = "") -> Finding:
    """It may work nevertheless."""
    return Finding(topic, "warning", text, hint)


def error(topic: str, text: str, hint: str = "") -> Finding:
    """It cannot work so."""
    return Finding(topic, "error", text, hint)


GIVE = "skyport-core azure setup --principal=OBJECT-ID makes the roles and gives them"


def failed(
    topic: str, cause: BaseException, *, right: str = "", where: str = "", hint: str = GIVE
) -> Finding:
    """A look that failed; ``right`` is the action that it needs, ``where`` on what.

    ``hint`` is how to give that right.
    """
    found = translate(cause)
    if right and isinstance(found, NotAuthorized):
        return error(
            topic,
            f"the core's identity lacks the right {right} on {where}",
            hint,
        )
    return error(topic, _sentence(found), found.hint)


def _sentence(found: GateError) -> str:
    return found.message.rstrip(".")
