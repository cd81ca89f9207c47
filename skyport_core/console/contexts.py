"""The cores that a person works with, each under a name: ``~/.config/skyport/contexts.toml``."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ..client import (
    Endpoint,
    FileTrouble,
    HttpsEndpoint,
    HubEndpoint,
    SocketEndpoint,
    default_socket,
    write_secretly,
)

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
"""Names of contexts; bare keys of TOML."""

_TOKEN = re.compile(r"[!-~]+")
_SURROGATE = re.compile("[\ud800-\udfff]")

FIELDS = {
    "socket": ("path",),
    "https": ("address", "certificate", "key", "authority"),
    "hub": ("url", "token_file", "authority"),
}
"""What a context of each kind consists of."""

OPTIONAL = {"authority": "hub"}


class ContextError(Exception):
    """A context cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Context:
    """How to reach one core.

    Attributes
    ----------
    values : mapping of str to str
        Those of :data:`FIELDS` for its kind.
    file : Path or None
        Where it was read, for messages.
    """

    name: str
    kind: str
    values: Mapping[str, str]
    file: Path | None = field(default=None, compare=False)

    def endpoint(self) -> Endpoint:
        """The way to the core. Raises ContextError when a file or value cannot be used."""
        try:
            if self.kind == "socket":
                return SocketEndpoint(Path(self.values["path"]))
            if self.kind == "https":
                files = (Path(self.values[each]) for each in FIELDS["https"][1:])
                return HttpsEndpoint(self.values["address"], *files)
            authority = self.values.get("authority")
            return HubEndpoint(
                self.values["url"], self._token(), Path(authority) if authority else None
            )
        except ValueError as error:
            raise self._wrong("address" if self.kind == "https" else "url", error) from error

    def _token(self) -> str:
        path = Path(self.values["token_file"])
        try:
            token = path.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise self._wrong("token_file", f"{path}: {error.strerror}") from error
        except UnicodeDecodeError:
            token = ""
        if not _TOKEN.fullmatch(token):
            raise self._wrong("token_file", f"{path} does not hold one token and nothing else")
        return token

    def _wrong(self, key: str, what: object) -> ContextError:
        where = f"{self.file}: contexts.{self.name}" if self.file else f"Context {self.name}"
        return ContextError(f"{where}: {key}: {what}.")


@dataclass(frozen=True)
class Contexts:
    """All contexts, and which one holds unless another is named."""

    contexts: Mapping[str, Context] = field(default_factory=lambda: MappingProxyType({}))
    current: str | None = None

    def named(self, name: str) -> Context:
        """The context of a name. Raises ContextError with the names that there are."""
        found = self.contexts.get(name)
        if found is None:
            known = ", ".join(sorted(self.contexts)) or "none; 'skyport context add' makes one"
            raise ContextError(f"There is no context {name!r}. There is: {known}.")
        return found

    def with_context(self, context: Context) -> Contexts:
        """These and one more, or another one of its name; the first becomes the current one."""
        return replace(
            self,
            contexts={**self.contexts, context.name: context},
            current=self.current or context.name,
        )

    def without(self, name: str) -> Contexts:
        """These but for one."""
        left = {key: each for key, each in self.contexts.items() if key != name}
        return Contexts(left, self.current if self.current != name else None)

    def save(self, path: Path | None = None) -> None:
        """Write the file, readable by its owner only, whole or not at all.

        Raises ContextError for a value that it cannot hold, FileTrouble if it cannot be written.
        """
        path = path or contexts_file()
        lines = [f"current = {_text(self.current)}\n"] if self.current else []
        for name, context in sorted(self.contexts.items()):
            lines.append(f"\n[contexts.{name}]\nkind = {_text(context.kind)}\n")
            for key, value in context.values.items():
                if _SURROGATE.search(value):
                    what = f"{value!r} is not UTF-8, which the file has to be"
                    raise ContextError(f"{path}: contexts.{name}: {key}: {what}.")
                lines.append(f"{key} = {_text(value)}\n")
        write_secretly(path, "".join(lines))

    @classmethod
    def load(cls, path: Path | None = None) -> Contexts:
        """Read the file; no file is no contexts. Raises ContextError for one that is not right."""
        path = path or contexts_file()
        try:
            raw = tomllib.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except OSError as error:
            raise ContextError(str(FileTrouble(path, error))) from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise ContextError(f"{path} cannot be read: {error}.") from error
        tables = raw.get("contexts", {})
        current = raw.get("current")
        if not isinstance(tables, dict) or not isinstance(current, (str, type(None))):
            raise ContextError(f"{path}: 'contexts' must be tables and 'current' a name.")
        contexts = {name: _context(path, name, table) for name, table in tables.items()}
        if current is not None and current not in contexts:
            raise ContextError(f"{path}: current = {current!r} is no context of the file.")
        return cls(contexts, current)


def config_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the console keeps what it knows: ``skyport`` in $XDG_CONFIG_HOME (``~/.config``)."""
    base = environ.get("XDG_CONFIG_HOME") or ""
    return (Path(base) if os.path.isabs(base) else Path.home() / ".config") / "skyport"  # noqa: PTH117


def contexts_file() -> Path:
    """The file of the contexts."""
    return config_folder() / "contexts.toml"


def token_file(name: str) -> Path:
    """Where a context's token is kept that did not come from a file."""
    return config_folder() / "tokens" / name


def choose(
    socket: Path | None, context: str | None, environ: Mapping[str, str] = os.environ
) -> Endpoint:
    """The core that is meant.

    The first of these that is given: ``--socket``, ``--context``, $SKYPORT_CONTEXT,
    $SKYPORT_SOCKET, the current context; else the default socket. Raises ContextError.
    """
    if socket is not None:
        return SocketEndpoint(socket)
    name = context or environ.get("SKYPORT_CONTEXT")
    if name:
        return Contexts.load().named(name).endpoint()
    if environ.get("SKYPORT_SOCKET"):
        return SocketEndpoint(default_socket(environ))
    known = Contexts.load()
    if known.current is None:
        return SocketEndpoint(default_socket(environ))
    return known.named(known.current).endpoint()


def _context(path: Path, name: str, table: Any) -> Context:
    kind = table.get("kind") if isinstance(table, dict) else None
    if not NAME.fullmatch(name) or not isinstance(kind, str) or kind not in FIELDS:
        kinds = ", ".join(FIELDS)
        raise ContextError(f"{path}: contexts.{name} needs a kind, one of {kinds}.")
    values = {key: value for key, value in table.items() if key != "kind"}
    missing = [key for key in FIELDS[kind] if key not in values and OPTIONAL.get(key) != kind]
    unknown = [key for key in values if key not in FIELDS[kind]]
    wrong = [key for key, value in values.items() if not isinstance(value, str)]
    null = [key for key, value in values.items() if isinstance(value, str) and "\0" in value]
    for trouble, keys in (
        ("lacks", missing),
        ("does not know", unknown),
        ("needs text as", wrong),
        ("cannot have a NUL in", null),
    ):
        if keys:
            raise ContextError(f"{path}: contexts.{name} {trouble} {', '.join(keys)}.")
    return Context(name, kind, values, path)


def _text(value: str) -> str:
    """A basic string of TOML, with escapes for all that would not be seen as it is."""
    return f'"{"".join(map(_character, value))}"'


def _character(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() else f"\\U{ord(char):08x}"
