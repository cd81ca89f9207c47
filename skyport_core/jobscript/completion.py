"""A request whose script has had its say."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from ..model import JobKind
from ..wire import JobRequest, OfferRequest
from .draft import Directive, checked
from .errors import ScriptError, shown
from .ports import endpoint
from .reading import Directives, read

Request = TypeVar("Request", JobRequest, OfferRequest)

_TOGETHER = {"ports": ("port",), "port": ("ports",), "merge_output": ("stderr",)}
"""Where the request speaks of one of these, the script is not asked for the other either."""

_MODULE = re.compile(r"^[ \t]*(module[ \t]+(?:load|add|use|purge)|ml[ \t]+\w)", re.M)
"""The first use of environment modules, which belong to a cluster and not to a job."""

_MERGED = ("variables", "labels", "forwards", "forward_ports")
"""Dicts: what the script adds to them is joined with what the request says."""


@dataclass(frozen=True)
class Completed(Generic[Request]):
    """A request whose script has had its say.

    Attributes
    ----------
    request
        With what the script asks for filled in where it was silent itself.
    origins
        The directive behind each field that the script filled in.
    notes
        What the script asks for in vain, in words for its author.
    """

    request: Request
    origins: Mapping[str, Directive] = field(default_factory=lambda: MappingProxyType({}))
    notes: tuple[str, ...] = ()

    def origin(self, path: str) -> Directive | None:
        """The directive behind the field at a path such as ``dependencies.1.job``, if one is."""
        parts = path.split(".")
        prefixes = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
        return next((self.origins[each] for each in prefixes if each in self.origins), None)


def understand(
    request: Request,
    *,
    peer: str | None,
    sites: Collection[str] = (),
    any_account: bool = False,
) -> Completed[Request]:
    """Fill in what the script of a request asks for where the request was silent itself.

    Parameters
    ----------
    request : JobRequest or OfferRequest
        One without a script comes back as it is. ``model_fields_set`` tells where it is silent.
        Without a kind of its own it becomes a batch job.
    peer : str, optional
        Address of the terminal's machine; ``out`` ports lead there unless the script names a
        ``submission-address``.
    sites : collection of str
        The sites there are: a Slurm partition of such a name means that site. Any other partition
        is one of some cluster and has no meaning here.
    any_account : bool
        The core has no accounts of its own: one of ``#SBATCH`` is that of some cluster, unless a
        site is called so, and means nothing here. A note tells of it.

    Raises
    ------
    ScriptError
        Naming the line, the directive, and what is allowed.
    """
    if request.script is None:
        return Completed(request)
    found = read(request.script)
    given = {name: getattr(request, name) for name in request.model_fields_set}
    notes = _modules(found.script)
    if any_account and "account" not in given and _foreign_account(found, sites):
        found, note = _without_account(found)
        notes += (note,)
    filled = {**_filled(found, given, peer, sites), **given}
    for name in _MERGED:
        if name in filled:
            added = _forwards(found, given, peer).get(name, found.fields.get(name, {}))
            filled[name] = {**added, **given.get(name, {})}
    filled["script"] = found.script
    filled.setdefault("kind", JobKind.BATCH)
    try:
        whole = type(request).model_validate(filled)
        return Completed(whole, _origins(found, given), notes)
    except ValidationError as error:
        refused = _too_much(error, found)
    raise refused


def _modules(script: str) -> tuple[str, ...]:
    found = _MODULE.search(script)
    if found is None:
        return ()
    number = script.count("\n", 0, found.start(1)) + 1
    return (
        f"line {number}: '{found[1]}' is there only on nodes that have environment modules; "
        "elsewhere, name an image with '#SWM container-image', or install what is needed",
    )


def _foreign_account(found: Directives, sites: Collection[str]) -> bool:
    origin = found.origins.get("account")
    return origin is not None and origin.slurm and found.fields["account"] not in sites


def _without_account(found: Directives) -> tuple[Directives, str]:
    origin = found.origins["account"]
    note = (
        f"line {origin.line}: {origin.name}: the account {shown(found.fields['account'])} "
        "means nothing here, where no accounts are configured"
    )
    fields = {name: value for name, value in found.fields.items() if name != "account"}
    return replace(found, fields=MappingProxyType(fields)), note


def _origins(found: Directives, given: dict[str, Any]) -> Mapping[str, Directive]:
    """The directives behind what the request did not say itself.

    Of what is joined, the names that it said are its own.
    """
    own = {*given, *(f"{name}.{key}" for name in _MERGED for key in given.get(name, ()))}
    origins = {
        path: directive
        for path, directive in found.origins.items()
        if path not in own and path.partition(".")[0] not in own.difference(_MERGED)
    }
    return MappingProxyType(origins)


def _filled(
    found: Directives, given: dict[str, Any], peer: str | None, sites: Collection[str]
) -> dict[str, Any]:
    silent = {
        name: value
        for name, value in found.fields.items()
        if name not in given and not any(other in given for other in _TOGETHER.get(name, ()))
    }
    if found.inputs and "inputs" not in given:
        silent["inputs"] = input_names(found)
    if found.partition in sites and "site" not in given:
        silent["site"] = found.partition
    return {**silent, **_forwards(found, given, peer)}


def _forwards(found: Directives, given: dict[str, Any], peer: str | None) -> dict[str, Any]:
    names = {f"p{port.number}": port for port in found.out}
    wanted = {name: port for name, port in names.items() if name not in given.get("forwards", {})}
    if not wanted:
        return {}
    origin = found.origins["forwards"]
    address = found.submission_address or peer
    if not address:
        raise origin.error(
            "asks for a way to where the job was submitted, which is not known; "
            "name it with '#SWM submission-address'"
        )
    forwards = {name: endpoint(address, port.number) for name, port in wanted.items()}
    return {
        "forwards": checked("forwards", forwards, origin),
        "forward_ports": {name: port.number for name, port in wanted.items()},
    }


def input_names(found: Directives) -> tuple[str, ...]:
    """What the input files are called in the job: the last part of each path. ScriptError."""
    origin = found.origins["inputs"]
    names: dict[str, str] = {}
    for path in found.inputs:
        name = path.rpartition("/")[2]
        if name in ("", ".", ".."):
            raise origin.error("must name files; a folder cannot be uploaded", path)
        if any(sign in name for sign in "*?["):
            raise origin.error("must name each file; only a console fills in wildcards", path)
        if names.setdefault(name, path) != path:
            message = f"and {shown(names[name])} would have the same name in the job"
            raise origin.error(message, path)
    values: tuple[str, ...] = checked("inputs", tuple(names), origin)
    return values


def _too_much(error: ValidationError, found: Directives) -> ScriptError:
    """What only the whole shows: too many entries, once script and request are joined."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    origin = found.origins.get(name)
    message = f"{name}: {first['msg']}, with what the request adds"
    return origin.error(message, "") if origin else ScriptError(message)
