"""Parameters of paths, queries and headers, as OpenAPI writes them."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from ..model import JobId, Name, RelativePath, Slug
from .operation import Header

Json = dict[str, Any]

_PATH: dict[str, tuple[Any, str]] = {
    "job_id": (JobId, "UUID of the job."),
    "name": (Name, "Name of the partition."),
    "node": (Name, "Name of the node."),
    "path": (RelativePath, "The file, relative to the job's working directory."),
    "site": (Slug, "Name of the site."),
}
"""Type and meaning of what stands in paths."""

_SCHEMAS: dict[str, tuple[Json, str]] = {
    "port": ({"type": "integer", "minimum": 1, "maximum": 65535}, "TCP port of the job."),
    "serial": (
        {"type": "string", "pattern": "^[0-9a-f]{1,40}$"},
        "Serial number of the certificate, in hexadecimal.",
    ),
}


def path_parameter(name: str) -> Json:
    """The parameter that a group of a route's pattern stands for."""
    if name in _SCHEMAS:
        schema, description = _SCHEMAS[name]
    else:
        kind, description = _PATH[name]
        schema = TypeAdapter(kind).json_schema()
    return {
        "name": "id" if name == "job_id" else name,
        "in": "path",
        "required": True,
        "description": description,
        "schema": schema,
    }


def query_parameters(model: Json) -> list[Json]:
    """A parameter for each field of a query's model, given as its JSON schema."""
    required = model.get("required", ())
    return [_query(name, schema, name in required) for name, schema in model["properties"].items()]


def header_parameter(header: Header) -> Json:
    """A header that an operation looks at."""
    schema: Json = {"type": "string"}
    if header.pattern:
        schema["pattern"] = header.pattern
    return {
        "name": header.name,
        "in": "header",
        "required": header.required,
        "description": header.description,
        "schema": schema,
    }


def _query(name: str, schema: Json, required: bool) -> Json:
    schema = {key: value for key, value in schema.items() if key != "title"}
    description = schema.pop("description", "")
    options = [one for one in schema.pop("anyOf", ()) if one != {"type": "null"}]
    # What is not given is not there; a query has no null.
    if len(options) == 1:
        schema |= options[0]
    elif options:
        schema["anyOf"] = options
    if schema.get("default", ...) is None:
        del schema["default"]
    return {
        "name": name,
        "in": "query",
        "required": required,
        "description": description,
        "schema": schema,
    }
