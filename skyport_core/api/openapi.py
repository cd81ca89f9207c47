"""The OpenAPI 3.1 document of the REST API, made from its routes and what stands beside them.

Source: https://spec.openapis.org/oas/v3.1.1.html. Routes and the marks of their methods (see
:mod:`~.operation`) say what there is, the models of :mod:`~..wire` what goes in and out.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from .. import __version__
from ..wire import API_PREFIX, ErrorView
from .answers import Json, References, answers, data, is_model, refusals, statuses
from .operation import Header, Operation, operation_of
from .parameters import header_parameter, path_parameter, query_parameters

Route = tuple[str, type]

METHODS = ("get", "head", "put", "post", "patch", "delete")

SECURITY: Json = {
    "mutualTLS": {
        "type": "mutualTLS",
        "description": "A client certificate of the core's own authority, at the HTTPS door.",
    },
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of JupyterHub with a scope custom:skyport:…, behind its proxy.",
    },
}
"""How callers prove who they are; at the Unix socket the kernel tells."""

IF_NONE_MATCH = Header(
    "If-None-Match", "Tags that the caller knows: `304` if the answer would have one of them."
)

_TEXT: Json = {"minLength": 1, "pattern": r"^[^\x00]*$"}
"""What text that is taken must be."""

_REFERENCE = "#/components/schemas/{model}"

_DESCRIPTION = """\
Jobs on machines of this computer, of the institute and of Azure, carried back over SSH.

Times are ISO 8601 in UTC, memory is in MiB, durations are in seconds. Unknown fields and arguments
are refused. Every error has the same body; its `code` is for programs, its `message` for people.
"""


@dataclass(frozen=True)
class Described:
    """A marked method of a route: its path in the document, and what it does."""

    path: str
    method: str
    names: tuple[str, ...]
    operation: Operation
    text: str


class OpenApi:
    """The document of a set of routes.

    Parameters
    ----------
    routes : sequence
        Patterns with their handlers, as the application has them.
    """

    def __init__(self, routes: Sequence[Route]) -> None:
        self.operations = tuple(_described(routes))

    @functools.cached_property
    def _parts(self) -> Json:
        return _parts(self.operations)

    def document(self, server: str = API_PREFIX, schemes: Iterable[str] = SECURITY) -> Json:
        """The document.

        Parameters
        ----------
        server : str
            Path that all others stand below.
        schemes : iterable of str
            Those of :data:`SECURITY` that the door takes; none: it knows its callers otherwise.
        """
        security: list[Json] = [{scheme: []} for scheme in schemes]
        return {**self._parts, "servers": [{"url": server}], "security": security}

    @functools.lru_cache(maxsize=16)  # noqa: B019 (it lives as long as the program)
    def text(self, server: str, schemes: tuple[str, ...]) -> tuple[bytes, str]:
        """The document as JSON, and what tells this content from others."""
        text = json.dumps(self.document(server, schemes), ensure_ascii=False).encode()
        return text, hashlib.sha256(text).hexdigest()[:16]


@functools.cache
def openapi() -> OpenApi:
    """The document of version 1."""
    from .v1 import ROUTES  # which holds the handler that serves the document

    return OpenApi(ROUTES)


def _described(routes: Sequence[Route]) -> Iterator[Described]:
    for pattern, handler in routes:
        names = tuple(re.findall(r"\(\?P<(\w+)>", pattern))
        path = re.sub(r"\(\?P<(\w+)>[^)]*\)", r"{\1}", pattern).replace("\\", "")
        path = path.removeprefix(API_PREFIX).replace("{job_id}", "{id}")
        for method in METHODS:
            function = getattr(handler, method)
            operation = operation_of(function)
            if operation is not None:
                text = inspect.getdoc(function) or operation.summary
                yield Described(path, method, names, operation, text)


def _parts(operations: Sequence[Described]) -> Json:
    models = sorted(_models(operations), key=lambda found: (found[0].__name__, found[1]))
    references, definitions = models_json_schema(models, ref_template=_REFERENCE)
    schemas = _closed(definitions.get("$defs", {}))
    queries = {one.operation.query for one in operations if one.operation.query is not None}
    # Queries are written as parameters, and their schemas belong to nothing else.
    arguments = {query: query_parameters(schemas.pop(query.__name__)) for query in queries}
    paths: Json = {}
    for one in operations:
        query = arguments[one.operation.query] if one.operation.query is not None else []
        paths.setdefault(one.path, {})[one.method] = _operation(one, query, references)
    refused = {status for one in operations for status in statuses(one.operation, bool(one.names))}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sky Port",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "BSD-3-Clause", "identifier": "BSD-3-Clause"},
        },
        "tags": [{"name": tag} for tag in sorted({_tag(one.path) for one in operations})],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": refusals(refused, references),
            "securitySchemes": SECURITY,
        },
    }


def _closed(schema: Any) -> Any:
    """The schema, in which keys that must match a pattern may not be others, as pydantic has it."""
    if isinstance(schema, list):
        return [_closed(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    if "patternProperties" in closed:
        closed.setdefault("additionalProperties", False)
    return closed


def _models(operations: Sequence[Described]) -> set[tuple[type[BaseModel], JsonSchemaMode]]:
    found: set[tuple[type[BaseModel], JsonSchemaMode]] = {(ErrorView, "serialization")}
    for one in operations:
        for taken in (one.operation.query, one.operation.body):
            if isinstance(taken, type):
                found.add((taken, "validation"))
        for given in one.operation.answers.values():
            if isinstance(given, type):
                found.add((given, "serialization"))
    return found


def _operation(one: Described, query: Sequence[Json], references: References) -> Json:
    operation = one.operation
    headers = [*operation.headers]
    if operation.etag and one.method in ("get", "head"):
        headers.append(IF_NONE_MATCH)
    described: Json = {
        "operationId": f"{one.method}{re.sub(r'[^a-z]+', '_', one.path).rstrip('_')}",
        "tags": [_tag(one.path)],
        "summary": operation.summary,
        "description": one.text + ("\n\nFor admins only." if operation.admin else ""),
        "parameters": [
            *(path_parameter(name) for name in one.names),
            *query,
            *(header_parameter(header) for header in headers),
        ],
    }
    content = _content(operation, references)
    if content:
        # Of bytes, there may be none.
        described["requestBody"] = {"required": is_model(operation.body), "content": content}
    described["responses"] = answers(operation, one.method, bool(one.names), references)
    return described


def _content(operation: Operation, references: References) -> Json:
    content: Json = {}
    if is_model(operation.body):
        content["application/json"] = {"schema": references[operation.body, "validation"]}
    elif operation.body is not None:
        content[str(operation.body)] = {"schema": data(str(operation.body))}
    for media, description in operation.bodies.items():
        text = _TEXT if media.startswith("text/") else {}
        content[media] = {"schema": {**data(media), **text, "description": description}}
    return content


def _tag(path: str) -> str:
    return path.split("/")[1].removesuffix(".json")
