"""Deployment templates: their expressions, and their resources in the order of creation."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(r"\s*('(?:[^']|'')*'|-?\d+|[A-Za-z_]\w*|[(),.\[\]])")


class TemplateError(Exception):
    """The template cannot be used; the message is what Azure says after "validation failed".

    Parameters
    ----------
    message
        What is wrong.
    path
        Where in the template.
    """

    def __init__(self, message: str, path: str = "properties.template") -> None:
        super().__init__(message)
        self.path = path


@dataclass
class Scope:
    """What expressions may refer to.

    Attributes
    ----------
    subscription, group, location
        Where the deployment runs.
    parameters, variables
        Values by name; variables may hold expressions.
    """

    subscription: str
    group: str
    location: str
    parameters: dict[str, Any] = field(default_factory=dict)
    variables: dict[str, Any] = field(default_factory=dict)

    def group_id(self) -> str:
        """The resource group's id."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"


def scope_of(scope: Scope, template: dict[str, Any], given: dict[str, Any]) -> Scope:
    """Fill a scope with the parameters and variables of a template.

    Parameters
    ----------
    scope
        Where it runs.
    template
        The template.
    given
        ``parameters`` of the deployment: name → ``{"value": …}``.
    """
    declared = template.get("parameters") or {}
    unknown = [name for name in given if name not in declared]
    if unknown:
        raise TemplateError(
            f"The template parameters '{', '.join(unknown)}' in the parameters file are not valid;"
            " they are not present in the original template and can therefore not be provided at"
            " deployment time."
        )
    for name, about in declared.items():
        if name in given:
            scope.parameters[name] = given[name].get("value")
        elif "defaultValue" in about:
            scope.parameters[name] = evaluate(about["defaultValue"], scope)
        else:
            raise TemplateError(
                f"The value for the template parameter '{name}' at line '1' and column '1' is not"
                " provided. Please see https://aka.ms/resource-manager-parameter-files for usage"
                " details.",
                f"properties.template.parameters.{name}",
            )
    scope.variables = dict(template.get("variables") or {})
    return scope


def evaluate(value: Any, scope: Scope) -> Any:
    """A value with all its expressions worked out."""
    if isinstance(value, dict):
        return {key: evaluate(each, scope) for key, each in value.items()}
    if isinstance(value, list):
        return [evaluate(each, scope) for each in value]
    if isinstance(value, str) and value.startswith("[["):
        return value[1:]
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        return _Expression(value[1:-1], scope).value()
    return value


def ordered(resources: list[dict[str, Any]], ids: dict[str, str]) -> list[dict[str, Any]]:
    """Resources so that each comes after those that it depends on.

    Parameters
    ----------
    resources
        With their expressions worked out.
    ids
        Each resource's id in lower case, by "type/name" in lower case.
    """
    done: set[str] = set()
    waiting, found = list(resources), []
    while waiting:
        ready = [each for each in waiting if _needs(each, ids) <= done]
        if not ready:
            names = ", ".join(str(each["name"]) for each in waiting)
            raise TemplateError(f"Circular dependency detected on resource: '{names}'.")
        for each in ready:
            waiting.remove(each)
            found.append(each)
            done.add(ids[key_of(each)])
    return found


def key_of(resource: dict[str, Any]) -> str:
    """How a resource of a template is found: "type/name" in lower case."""
    return f"{resource['type']}/{resource['name']}".lower()


def _needs(resource: dict[str, Any], ids: dict[str, str]) -> set[str]:
    known = set(ids.values())
    wanted = {str(each).lower() for each in resource.get("dependsOn") or ()}
    return {ids.get(each, each) for each in wanted if ids.get(each, each) in known}


def resource_id(group_id: str, type_: str, names: list[str]) -> str:
    """The id of a resource of a type such as "Microsoft.Network/virtualNetworks/subnets"."""
    namespace, *kinds = type_.split("/")
    if len(kinds) != len(names):
        raise TemplateError(
            f"Unable to process template language expressions: the type '{type_}' requires"
            f" '{len(kinds)}' resource name argument(s)."
        )
    pairs = [part for pair in zip(kinds, names, strict=True) for part in pair]
    return "/".join([group_id, "providers", namespace, *pairs])


class _Expression:
    """``concat('a', parameters('b').c[0])``: calls, texts, numbers, members."""

    def __init__(self, text: str, scope: Scope) -> None:
        self._scope = scope
        self._tokens: list[str] = []
        self._at = at = 0
        while at < len(text.rstrip()):
            match = _TOKEN.match(text, at)
            if match is None:
                raise TemplateError(f"The language expression '{text}' is not valid.")
            self._tokens.append(match.group(1))
            at = match.end()
        self._text = text

    def value(self) -> Any:
        found = self._term()
        if self._at != len(self._tokens):
            raise TemplateError(f"The language expression '{self._text}' is not valid.")
        return found

    def _take(self, *wanted: str) -> str:
        token = self._tokens[self._at] if self._at < len(self._tokens) else ""
        if not token or (wanted and token not in wanted):
            raise TemplateError(f"The language expression '{self._text}' is not valid.")
        self._at += 1
        return token

    def _next(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _term(self) -> Any:
        token = self._take()
        found: Any
        if token.startswith("'"):
            found = token[1:-1].replace("''", "'")
        elif token.lstrip("-").isdigit():
            found = int(token)
        else:
            found = self._call(token)
        while self._next() in (".", "["):
            if self._take() == ".":
                found = found[self._take()]
            else:
                found = found[self._term()]
                self._take("]")
        return found

    def _call(self, name: str) -> Any:
        self._take("(")
        arguments: list[Any] = []
        while self._next() != ")":
            arguments.append(self._term())
            if self._next() != ")":
                self._take(",")
        self._take(")")
        function = _FUNCTIONS.get(name.lower())
        if function is None:
            raise TemplateError(f"The template function '{name}' is not valid.")
        return function(self._scope, *arguments)


def _parameter(scope: Scope, name: str) -> Any:
    if name not in scope.parameters:
        raise TemplateError(f"The template parameter '{name}' is not found.")
    return scope.parameters[name]


def _variable(scope: Scope, name: str) -> Any:
    if name not in scope.variables:
        raise TemplateError(f"The template variable '{name}' is not found.")
    return evaluate(scope.variables[name], scope)


def _resource_id(scope: Scope, *arguments: str) -> str:
    at = next(index for index, each in enumerate(arguments) if "/" in each)
    group, subscription = scope.group, scope.subscription
    if at:
        group = arguments[at - 1]
    if at > 1:
        subscription = arguments[0]
    stem = f"/subscriptions/{subscription}/resourceGroups/{group}"
    return resource_id(stem, arguments[at], list(arguments[at + 1 :]))


def _concat(scope: Scope, *parts: Any) -> Any:
    if parts and isinstance(parts[0], list):
        return [each for part in parts for each in part]
    return "".join(str(part) for part in parts)


def _unique(scope: Scope, *parts: str) -> str:
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return base64.b32encode(digest).decode().lower()[:13]


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "base64": lambda scope, text: base64.b64encode(text.encode()).decode(),
    "concat": _concat,
    "createarray": lambda scope, *items: list(items),
    "format": lambda scope, text, *items: text.format(*items),
    "parameters": _parameter,
    "resourcegroup": lambda scope: {
        "id": scope.group_id(),
        "name": scope.group,
        "location": scope.location,
    },
    "resourceid": _resource_id,
    "subscription": lambda scope: {
        "id": f"/subscriptions/{scope.subscription}",
        "subscriptionId": scope.subscription,
    },
    "string": lambda scope, value: str(value),
    "tolower": lambda scope, text: text.lower(),
    "toupper": lambda scope, text: text.upper(),
    "uniquestring": _unique,
    "variables": _variable,
}
