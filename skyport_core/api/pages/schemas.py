"""JSON schemas in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]

_FORMATS = {"date-time": "time", "binary": "bytes"}


@dataclass(frozen=True)
class Word:
    """Part of a type's name; ``model`` is the schema that it stands for, if it has a name."""

    text: str
    model: str | None = None


@dataclass(frozen=True)
class Field:
    """A field of an object."""

    name: str
    kind: tuple[Word, ...]
    required: bool
    default: str
    description: str


@dataclass(frozen=True)
class Schema:
    """A schema with a name."""

    name: str
    kind: tuple[Word, ...]
    description: str
    fields: tuple[Field, ...]


def schema_of(name: str, schema: Json) -> Schema:
    """A named schema, with its fields if it is an object."""
    required = schema.get("required", ())
    fields = tuple(
        Field(
            field,
            tuple(words(inner)),
            field in required,
            json.dumps(inner["default"]) if "default" in inner else "",
            inner.get("description", ""),
        )
        for field, inner in schema.get("properties", {}).items()
    )
    kind = () if fields else tuple(words(schema))
    return Schema(name, kind, schema.get("description", ""), fields)


def words(schema: Json | bool) -> Iterator[Word]:
    """The type that a schema describes."""
    if isinstance(schema, bool) or not schema:
        yield Word("anything")
    elif "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        yield Word(name, name)
    elif "anyOf" in schema or "oneOf" in schema:
        for number, inner in enumerate(schema.get("anyOf") or schema["oneOf"]):
            if number:
                yield Word(" or ")
            yield from words(inner)
    elif "allOf" in schema:
        yield from words(schema["allOf"][0])
    elif "const" in schema or "enum" in schema:
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        yield Word(" | ".join(json.dumps(value) for value in values))
    else:
        yield from _plain(schema)


def _plain(schema: Json) -> Iterator[Word]:
    kind = schema.get("type", "anything")
    if kind == "array":
        yield Word("list of ")
        yield from words(schema.get("items", {}))
    elif kind == "object" and schema.get("additionalProperties"):
        yield Word("object of ")
        yield from words(schema["additionalProperties"])
    else:
        yield Word(_FORMATS.get(schema.get("format", ""), str(kind)) + _range(schema))


def _range(schema: Json) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None and high is None:
        return ""
    above = "" if low is None else f" {'from' if 'minimum' in schema else 'above'} {low:g}"
    below = "" if high is None else f" {'to' if 'maximum' in schema else 'below'} {high:g}"
    return above + below
