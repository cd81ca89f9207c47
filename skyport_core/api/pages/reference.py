"""The reference of the REST API, as a page made from the OpenAPI document."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ...wire import API_PREFIX
from ..openapi import openapi
from ..operation import operation
from .handler import PageHandler
from .schemas import Schema, Word, schema_of, words

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Content:
    """What a body holds."""

    media: str
    kind: tuple[Word, ...]


@dataclass(frozen=True)
class Parameter:
    """A part of the path, an argument of the query, or a header."""

    name: str
    place: str
    kind: tuple[Word, ...]
    required: bool
    description: str


@dataclass(frozen=True)
class Answer:
    """A status with what comes with it."""

    status: str
    description: str
    contents: tuple[Content, ...]


@dataclass(frozen=True)
class Entry:
    """An operation."""

    method: str
    path: str
    anchor: str
    summary: str
    text: str
    parameters: tuple[Parameter, ...]
    bodies: tuple[Content, ...]
    answers: tuple[Answer, ...]


@dataclass(frozen=True)
class Reference:
    """All that the page shows."""

    title: str
    version: str
    text: str
    groups: Mapping[str, tuple[Entry, ...]]
    schemas: tuple[Schema, ...]


class ReferencePage(PageHandler):
    """``GET /api/docs``."""

    @operation("The reference of the REST API", answers={200: "text/html"})
    async def get(self) -> None:
        """Show every operation and every schema."""
        # It takes long enough to hold up the event loop.
        self.finish(await asyncio.to_thread(self._page))

    def _page(self) -> str:
        prefix = self.root + API_PREFIX
        return self.rendered("reference.html", reference=_reference(), prefix=prefix)


@functools.cache
def _reference() -> Reference:
    return read_document(openapi().document())


def read_document(document: Json) -> Reference:
    """The reference that an OpenAPI document holds."""
    schemas = document["components"]["schemas"]
    shared = document["components"].get("responses", {})
    groups: dict[str, tuple[Entry, ...]] = {}
    for path, methods in document["paths"].items():
        for method, described in methods.items():
            if method == "head" and "get" in methods:
                continue
            tag = described["tags"][0]
            groups[tag] = (*groups.get(tag, ()), _entry(method, path, described, shared))
    return Reference(
        title=document["info"]["title"],
        version=document["info"]["version"],
        text=document["info"].get("description", ""),
        groups=dict(sorted(groups.items())),
        schemas=tuple(schema_of(name, schema) for name, schema in schemas.items()),
    )


def _entry(method: str, path: str, described: Json, shared: Json) -> Entry:
    body = described.get("requestBody", {})
    return Entry(
        method=method.upper(),
        path=path,
        anchor=described["operationId"],
        summary=described["summary"],
        text=described.get("description", ""),
        parameters=tuple(
            Parameter(
                one["name"],
                one["in"],
                tuple(words(one["schema"])),
                bool(one.get("required")),
                one.get("description", ""),
            )
            for one in described.get("parameters", ())
        ),
        bodies=tuple(_contents(body)),
        answers=tuple(
            _answer(status, answer, shared) for status, answer in described["responses"].items()
        ),
    )


def _answer(status: str, answer: Json, shared: Json) -> Answer:
    if "$ref" in answer:
        answer = shared[answer["$ref"].rpartition("/")[2]]
    return Answer(status, answer["description"], tuple(_contents(answer)))


def _contents(holder: Json) -> Iterator[Content]:
    for media, content in holder.get("content", {}).items():
        yield Content(media, tuple(words(content["schema"])))
