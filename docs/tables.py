"""Fill the tables of the documentation from the code, so that they cannot go stale.

A Markdown file names a table in a comment; what stands between it and the end mark is replaced::

    <!-- table: traits skyport_core.app:SkyPortCore -->
    <!-- table: fields skyport_core.wire:JobRequest -->
    <!-- table: rights skyport_gates.azure.rights:MACHINES -->
    …
    <!-- end of table -->

``python docs/tables.py`` rewrites the files beside it; with ``--check`` it only tells, by its exit
status, whether one of them is out of date.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import re
import sys
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import UnionType
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from traitlets import DefaultHandler, HasTraits, TraitType

from skyport_gates.azure.rights import Role

FOLDER = Path(__file__).parent
TABLE = re.compile(
    r"(?P<head><!-- table: (?P<kind>traits|fields|rights) (?P<name>[\w.]+:\w+) -->\n)"
    r".*?(?P<tail><!-- end of table -->)",
    re.DOTALL,
)


def filled(text: str) -> str:
    """The text with all its tables as the code has them now."""

    def fill(match: re.Match[str]) -> str:
        module, _, name = match["name"].partition(":")
        found = getattr(importlib.import_module(module), name)
        if match["kind"] == "traits":
            rows = table("option", trait_rows(found))
        elif match["kind"] == "fields":
            rows = table("field", field_rows(found))
        else:
            rows = rights_table(found)
        return match["head"] + rows + match["tail"]

    return TABLE.sub(fill, text)


def table(first: str, rows: Iterable[tuple[str, str, str]]) -> str:
    """A Markdown table of name, default and meaning."""
    lines = [f"| {first} | default | meaning |", "|---|---|---|"]
    lines += [f"| `{name}` | {default} | {cell(text)} |" for name, default, text in rows]
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """Text that fits into one cell: paragraphs joined, without examples, special signs escaped."""
    paragraphs = [part for part in inspect.cleandoc(text).split("\n\n") if part[:1].strip()]
    if len(paragraphs) > 1 and paragraphs[-1].startswith("Example"):
        paragraphs.pop()
    # A definition list reads as "term: text".
    joined = re.sub(r"(?m)^(\S.*[^.:])\n +(?=\S)", r"\1: ", "\n".join(paragraphs))
    joined = " ".join(joined.split()).replace("``", "`")
    return re.sub(r":$", ".", joined).replace("|", r"\|").replace("<", "&lt;")


def trait_rows(cls: type[HasTraits]) -> Iterator[tuple[str, str, str]]:
    """The configurable traits that a class adds to those of its libraries."""
    for name, trait in sorted(cls.class_traits(config=True).items()):
        owner = trait.this_class.__module__ if trait.this_class else ""
        if owner.startswith("skyport"):
            yield name, trait_default(cls, name, trait), trait.help


def trait_default(cls: type[HasTraits], name: str, trait: TraitType[Any, Any]) -> str:
    """The default as Python writes it; one that is computed is told by the trait's text."""
    for base in cls.__mro__:
        if any(isinstance(x, DefaultHandler) and x.trait_name == name for x in vars(base).values()):
            return "see right"
    value = trait.default()
    return f"`{value.__name__}`" if isinstance(value, type) else f"`{value!r}`"


def field_rows(model: type[BaseModel]) -> Iterator[tuple[str, str, str]]:
    """The fields of a request, the required ones first."""
    fields = model.model_fields.items()
    for name, field in sorted(fields, key=lambda item: not item[1].is_required()):
        yield name, field_default(field), field_text(field)


def field_default(field: FieldInfo) -> str:
    """The default as JSON writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True, validated_data={})
    if isinstance(value, BaseModel):
        return "`{}`"
    plain = {None: "null", "": '""'}.get(value) if isinstance(value, (str, type(None))) else None
    if plain is None:
        plain = getattr(value, "value", value)
    shown = {"()": "[]", "frozenset()": "[]"}.get(str(plain), str(plain))
    return f"`{shown}`"


def field_text(field: FieldInfo) -> str:
    """Type and meaning."""
    return f"{type_name(field.annotation)}. {field.description or ''}".strip()


def type_name(annotation: Any) -> str:
    """A type in the words of JSON."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin is typing.Literal:
        return " or ".join(f"`{value}`" for value in arguments)
    if origin in (typing.Union, UnionType):
        return " or ".join(type_name(one) for one in arguments)
    if origin in (tuple, list, frozenset):
        return f"list of {type_name(arguments[0])}"
    if origin is dict:
        return "object of texts"
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return f"`{annotation.__name__}`"
    names = {str: "text", int: "integer", float: "number", bool: "boolean", type(None): "null"}
    if annotation in names:
        return names[annotation]
    return " or ".join(f"`{member.value}`" for member in annotation)


def rights_table(role: Role) -> str:
    """A Markdown table of a role's actions and their reasons."""
    lines = [f"| {role.title}: action | why: the core |", "|---|---|"]
    lines += [f"| `{action}` | {why} |" for action, why in role.actions.items()]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Rewrite the files, or with ``--check`` name those that are out of date."""
    parser = argparse.ArgumentParser(description="Fill the tables of the documentation.")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if stale")
    check = parser.parse_args(arguments).check
    stale = 0
    for path in sorted(FOLDER.glob("*.md")):
        before = path.read_text()
        after = filled(before)
        if after == before:
            continue
        stale += 1
        if check:
            sys.stderr.write(f"{path} is out of date: run python docs/tables.py\n")
        else:
            path.write_text(after)
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main())
