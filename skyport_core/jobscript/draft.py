"""What the directives of one dialect come to, while they are read."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from ..model import JobSpec
from .errors import ScriptError, shown
from .ports import Port

Value = TypeVar("Value")

_SLUG = "must be letters, digits, '.', '_' and '-', at most 63, the first a letter or digit"
ALLOWED = {
    "account": _SLUG,
    "site": _SLUG,
    "keep": _SLUG,
    "storages": _SLUG,
    "variables": "must be names of letters, digits and '_' with values of less than 128 KiB",
    "array": "must be indices such as 0-9, 1,3,5, 0-20:5 or 0-99%4 (4 at a time)",
    "forwards": "must be a host name or an IP address",
}
"""What is allowed, where the pattern of a field would say it in signs only."""


@dataclass(frozen=True)
class Directive:
    """One thing that a line asks for: ``name`` as it is written there, and its value."""

    line: int
    name: str
    value: str = ""

    @property
    def slurm(self) -> bool:
        """Whether it is one of ``#SBATCH``."""
        return self.name.startswith("#SBATCH")

    def error(self, message: str, value: str | None = None) -> ScriptError:
        """What is wrong with it, with the value (or the part of it) that is at fault."""
        text = self.value if value is None else value
        return ScriptError(f"{shown(text)} {message}" if text else message, self.line, self.name)

    def read(self, reader: Callable[[str], Value], text: str | None = None) -> Value:
        """Its value as ``reader`` understands it. Raises ScriptError."""
        given = self.value if text is None else text
        try:
            return reader(given)
        except (ValueError, OverflowError) as error:
            raise self.error(str(error), given) from None


@dataclass
class Draft:
    """Fields of a :class:`JobSpec` so far, and what each came from.

    Of fields that are lists or dicts, ``origins`` also has what each entry came from, such as
    ``dependencies.1``. ``inputs`` are paths at the terminal as they are written; ``out`` the ports
    near the core that the job wants to reach, at ``submission_address`` if one is named.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    origins: dict[str, Directive] = field(default_factory=dict)
    inputs: list[tuple[Directive, str]] = field(default_factory=list)
    out: list[tuple[Directive, Port]] = field(default_factory=list)
    submission_address: str = ""
    partition: str = ""

    def set(self, name: str, value: object, directive: Directive) -> None:
        """Take a field over from a directive. Raises ScriptError if it cannot be that."""
        self.fields[name] = checked(name, value, directive)
        self.origins[name] = directive

    def append(self, name: str, values: tuple[Any, ...], directive: Directive) -> None:
        """Add to a field that holds a list; what is there already stays once."""
        there = self.fields.get(name, ())
        new = [value for value in values if value not in there]
        self.set(name, (*there, *new), directive)
        for number in range(len(there), len(there) + len(new)):
            self.origins[f"{name}.{number}"] = directive

    def update(self, name: str, values: dict[str, str], directive: Directive) -> None:
        """Add to a field that holds a dict."""
        self.set(name, {**self.fields.get(name, {}), **values}, directive)
        self.origins |= {f"{name}.{key}": directive for key in values}

    def drop(self, name: str) -> None:
        """Forget a field."""
        self.fields.pop(name, None)
        self.origins.pop(name, None)


def checked(name: str, value: object, directive: Directive) -> Any:
    """A value as the field ``name`` of a job holds it. Raises ScriptError with what is allowed."""
    try:
        return _adapter(name).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        at_fault = first["input"]
        text = at_fault if isinstance(at_fault, str) and at_fault in directive.value else None
        told = first["type"] == "value_error"
        message = worded(first["msg"]) if told else ALLOWED.get(name) or worded(first["msg"])
        # Such a sentence names by itself what it is about.
        raise directive.error(message, text if message.startswith("must") else "") from None


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    info = JobSpec.model_fields[name]
    kind: Any = Annotated[info.annotation, info]
    return TypeAdapter(kind)


def without_field(message: str, field: str) -> str:
    """What the core says of a field, behind another name of it: ``VALUE must …``."""
    said = message.removeprefix(field).lstrip(": ")
    return re.sub(r"^\((.+?)\): ", r"\1: ", said).replace(": must ", " must ", 1)


def worded(message: str) -> str:
    """Pydantic's message as the end of a sentence that begins with the value.

    What one of our own models says stays as it is.
    """
    if message.startswith("Value error, "):
        return message.removeprefix("Value error, ")
    for noun in ("Input", "String", "Tuple", "Dictionary", "Value"):
        message = message.removeprefix(f"{noun} should ")
    return message if message.startswith("must") else f"must {message}"
