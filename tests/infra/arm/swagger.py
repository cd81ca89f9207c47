"""Azure's published interface descriptions: what an answer must look like, and examples."""

from __future__ import annotations

import json
import posixpath
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

Schema = dict[str, Any]

ARCHIVE = "specs-2021-11.tgz"
_ROOT = "specs-2021-11/specification/"
_COMPUTE = _ROOT + "compute/resource-manager/Microsoft.Compute/stable/"
_NETWORK = _ROOT + "network/resource-manager/Microsoft.Network/stable/2021-05-01/"
FILES = (
    _COMPUTE + "2021-07-01/compute.json",
    _COMPUTE + "2021-07-01/runCommands.json",
    _COMPUTE + "2021-07-01/skus.json",
    _COMPUTE + "2021-07-01/gallery.json",
    _COMPUTE + "2021-04-01/disk.json",
    _NETWORK + "networkInterface.json",
    _NETWORK + "networkSecurityGroup.json",
    _NETWORK + "publicIpAddress.json",
    _NETWORK + "virtualNetwork.json",
    _ROOT + "resources/resource-manager/Microsoft.Resources/stable/2021-04-01/resources.json",
)
EXAMPLES = (_COMPUTE + "2021-07-01/examples/", _NETWORK + "examples/")
_OPEN = ("VirtualMachineSizeTypes",)  # says of itself that it is not up to date
_COPIED = ("enum", "pattern", "minLength", "maxLength", "minimum", "maximum", "minItems")


@dataclass(frozen=True)
class Example:
    """An official example of a call.

    Attributes
    ----------
    name
        Of its file, without the suffix.
    parameters
        Of path, query and body.
    responses
        Status → ``{"body": …}``.
    """

    name: str
    parameters: dict[str, Any]
    responses: dict[str, Any]


@dataclass(frozen=True)
class Operation:
    """One method of one path of a description."""

    id: str
    file: str
    path: str
    method: str
    about: dict[str, Any]
    pattern: re.Pattern[str]

    def examples(self) -> list[str]:
        """Paths of its examples, relative to its file."""
        return [each["$ref"] for each in (self.about.get("x-ms-examples") or {}).values()]


class Spec:
    """The descriptions in an archive.

    Parameters
    ----------
    archive
        The tar file.
    """

    def __init__(self, archive: Path) -> None:
        self._documents: dict[str, Any] = {}
        with tarfile.open(archive) as tar:
            for member in tar:
                if member.isfile() and member.name.endswith(".json"):
                    file = tar.extractfile(member)
                    assert file is not None
                    self._documents[member.name] = file.read()
        self._children: dict[tuple[str, str], list[tuple[str, str]]] | None = None
        self.operations = [each for file in FILES for each in self._operations(file)]

    def find(self, method: str, path: str) -> Operation | None:
        """The operation of a request; the case of the path does not matter."""
        path = path.split("?")[0]
        for each in self.operations:
            if each.method == method and each.pattern.match(path):
                return each
        return None

    def examples(self, operation: Operation) -> Iterator[Example]:
        """The examples of an operation that the archive holds."""
        for reference in operation.examples():
            file = posixpath.normpath(posixpath.join(posixpath.dirname(operation.file), reference))
            if file in self._documents:
                body = self._document(file)
                name = posixpath.basename(file).removesuffix(".json")
                yield Example(name, body["parameters"], body["responses"])

    def problems(
        self, operation: Operation, status: int, body: Any, *, later: frozenset[str] = frozenset()
    ) -> list[str]:
        """What of an answer is not as described.

        Parameters
        ----------
        operation
            What was asked for.
        status, body
            The answer.
        later
            Names of fields that a later version added, and that are no problem.
        """
        responses = operation.about["responses"]
        response = responses.get(str(status)) or (
            responses.get("default") if status > 299 else None
        )
        if response is None:
            return [f"{operation.id}: status {status} is none of {sorted(responses)}"]
        if "schema" not in response:
            return [f"{operation.id}: {status} has no body"] if body else []
        return self.check(operation.file, response["schema"], body, later=later)

    def request_problems(self, operation: Operation, body: Any) -> list[str]:
        """What of a request's body is not as described."""
        for each in operation.about["parameters"]:
            if each.get("in") == "body":
                return self.check(operation.file, each["schema"], body, request=True)
        return [f"{operation.id} takes no body"]

    def check(
        self,
        file: str,
        schema: Schema,
        body: Any,
        *,
        request: bool = False,
        later: frozenset[str] = frozenset(),
    ) -> list[str]:
        """What of a value is not as a schema in ``file`` says."""
        whole = _Converter(self, request).whole(file, schema)
        found = []
        for error in Draft202012Validator(whole).iter_errors(body):
            place = "/".join(str(part) for part in error.absolute_path) or "."
            if error.validator == "additionalProperties":
                unknown = set(error.instance) - set(error.schema.get("properties", ())) - later
                found += [f"{place}: unknown field {name}" for name in sorted(unknown)]
            else:
                found.append(f"{place}: {error.message[:300]}")
        return found

    def definition(self, file: str, reference: str) -> tuple[str, str, Schema]:
        """File, name and schema that a ``$ref`` in ``file`` means.

        What stands in a file that the archive lacks may be anything.
        """
        where, _, pointer = reference.partition("#")
        if where:
            file = posixpath.normpath(posixpath.join(posixpath.dirname(file), where))
        name = pointer.rsplit("/", 1)[-1]
        if file not in self._documents:
            return file, name, {}
        return file, name, self._document(file)["definitions"][name]

    def children(self, file: str, name: str) -> list[tuple[str, str]]:
        """Definitions that name this one in their ``allOf``."""
        if self._children is None:
            self._children = {}
            for document in dict.fromkeys(FILES):
                for child, schema in self._document(document).get("definitions", {}).items():
                    for each in schema.get("allOf") or ():
                        if "$ref" in each:
                            parent = self.definition(document, each["$ref"])[:2]
                            self._children.setdefault(parent, []).append((document, child))
        return self._children.get((file, name), [])

    def _document(self, file: str) -> Any:
        found = self._documents[file]
        if isinstance(found, bytes):
            found = self._documents[file] = json.loads(found.decode("utf-8-sig"))
        return found

    def _operations(self, file: str) -> Iterator[Operation]:
        document = self._document(file)
        for path, methods in document["paths"].items():
            parts = re.split(r"\{\w+\}", path)
            pattern = re.compile("[^/]+".join(map(re.escape, parts)) + "/?$", re.IGNORECASE)
            for method, about in methods.items():
                if "operationId" in about:
                    shared = {"parameters": about.get("parameters", [])}
                    yield Operation(
                        about["operationId"],
                        file,
                        path,
                        method.upper(),
                        {**about, **shared},
                        pattern,
                    )


class _Converter:
    """Makes one JSON schema of the definitions that a Swagger schema needs.

    Objects take their own and their parents' properties and no others; null is allowed where the
    description says ``x-nullable``; with a discriminator the value's own kind counts; in requests
    nobody has to send what is read-only.
    """

    def __init__(self, spec: Spec, request: bool) -> None:
        self._spec = spec
        self._request = request
        self._defs: dict[str, Any] = {}

    def whole(self, file: str, schema: Schema) -> Schema:
        return {**self._convert(file, schema), "$defs": self._defs}

    def _convert(self, file: str, schema: Schema) -> Schema:
        if "$ref" in schema:
            converted: Schema = {"$ref": f"#/$defs/{self._define(file, schema['$ref'])}"}
        elif "allOf" in schema or "properties" in schema:
            converted = self._object(*self._merged(file, schema))
        else:
            converted = self._plain(file, schema)
        if schema.get("x-nullable"):
            return {"anyOf": [converted, {"type": "null"}]}
        return converted

    def _define(self, file: str, reference: str) -> str:
        file, name, schema = self._spec.definition(file, reference)
        key = f"{file}.{name}".replace("/", "|")
        if key not in self._defs:
            self._defs[key] = {}
            kinds = self._kinds(file, name, schema)
            self._defs[key] = kinds or self._convert(file, schema)
        return key

    def _kinds(self, file: str, name: str, schema: Schema) -> Schema | None:
        """One schema for each kind of a definition with a discriminator."""
        field = schema.get("discriminator")
        if not field:
            return None
        found = []
        for document, child in self._spec.children(file, name):
            about = self._spec.definition(document, f"#/definitions/{child}")[2]
            value = about.get("x-ms-discriminator-value", child)
            properties, required, more = self._merged(document, about)
            properties[field] = {"const": value}
            found.append(self._object(properties, required | {field}, more))
        return {"anyOf": found} if found else None

    def _merged(self, file: str, schema: Schema) -> tuple[dict[str, Any], set[str], Any]:
        """Properties, required ones and further ones of an object with all its parents."""
        properties: dict[str, Any] = {}
        required: set[str] = set()
        more: Any = None
        for each in schema.get("allOf") or ():
            inner, where = each, file
            if "$ref" in each:
                where, _, inner = self._spec.definition(file, each["$ref"])
            theirs, needed, further = self._merged(where, inner)
            properties |= theirs
            required |= needed
            more = further if further is not None else more
        own = schema.get("properties") or {}
        properties |= {name: self._convert(file, each) for name, each in own.items()}
        hidden = {name for name, each in own.items() if each.get("readOnly")}
        required |= set(schema.get("required") or ()) - (hidden if self._request else set())
        if "additionalProperties" in schema:
            more = self._more(file, schema)
        return properties, required, more

    def _object(self, properties: dict[str, Any], required: set[str], more: Any) -> Schema:
        further = more if more is not None else not properties
        return {
            "type": "object",
            "properties": properties,
            "required": sorted(required),
            "additionalProperties": further,
        }

    def _more(self, file: str, schema: Schema) -> Any:
        further = schema["additionalProperties"]
        return further if isinstance(further, bool) else self._convert(file, further)

    def _plain(self, file: str, schema: Schema) -> Schema:
        converted = {key: schema[key] for key in _COPIED if key in schema}
        if (schema.get("x-ms-enum") or {}).get("name") in _OPEN:
            del converted["enum"]
        if "type" in schema:
            converted["type"] = schema["type"]
        if "items" in schema:
            converted["items"] = self._convert(file, schema["items"])
        if "additionalProperties" in schema:
            converted["additionalProperties"] = self._more(file, schema)
        return converted
