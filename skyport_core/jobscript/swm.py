"""The ``#SWM`` directives."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from ..model import Eviction
from . import values
from .draft import Directive, Draft
from .errors import ScriptError, shown
from .ports import read_ports
from .source import Line

Apply = Callable[[Draft, Directive], None]


@dataclass(frozen=True)
class Rule:
    """What a directive does; ``blank``: without a value it counts as not given."""

    apply: Apply
    blank: bool = False


def read_line(line: Line, draft: Draft) -> None:
    """Take one line over into a draft. Raises ScriptError."""
    name, _, value = line.text.replace("\t", " ").partition(" ")
    if not name:
        raise ScriptError("names no directive", line.number, line.dialect)
    value = line.text[len(name) :].strip()
    rule = RULES.get(name)
    if rule is None:
        raise ScriptError(_unknown(name), line.number, line.dialect)
    if value or not rule.blank:
        rule.apply(draft, Directive(line.number, f"{line.dialect} {name}", value))


def _unknown(name: str) -> str:
    if name in ELSEWHERE:
        return f"there is no directive {name!r}; {ELSEWHERE[name]}"
    near = difflib.get_close_matches(name[:40], RULES, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(RULES))}"
    return f"there is no directive {shown(name)}; {hint}"


def _field(field: str, reader: Callable[[str], object] | None = None) -> Apply:
    def apply(draft: Draft, directive: Directive) -> None:
        if reader is None and not directive.value:
            raise directive.error("needs a value")
        value = directive.read(reader) if reader else directive.value
        draft.set(field, value, directive)

    return apply


def _pairs(field: str) -> Apply:
    def apply(draft: Draft, directive: Directive) -> None:
        pairs = directive.read(values.assignments)
        if not pairs:
            raise directive.error("needs NAME=VALUE")
        draft.update(field, pairs, directive)

    return apply


def _image(draft: Draft, directive: Directive) -> None:
    container = values.is_container(directive.value)
    draft.set("container" if container else "image", directive.value, directive)


def _ports(draft: Draft, directive: Directive) -> None:
    ports = directive.read(read_ports)
    served = tuple(dict.fromkeys(port.number for port in ports if port.direction == "in"))
    for field in ("port", "ports"):
        draft.drop(field)
    if served:
        draft.set("port", served[0], directive)
        draft.set("ports", served[1:], directive)
    draft.out = [(directive, port) for port in ports if port.direction == "out"]


def _address(draft: Draft, directive: Directive) -> None:
    if not directive.value or any(part.isspace() or part == "/" for part in directive.value):
        raise directive.error("must be a host name or an IP address")
    draft.submission_address = directive.value


def _inputs(draft: Draft, directive: Directive) -> None:
    draft.inputs += [(directive, word) for word in directive.read(values.words)]


def _outputs(draft: Draft, directive: Directive) -> None:
    draft.append("outputs", tuple(directive.read(values.words)), directive)


def _storage(draft: Draft, directive: Directive) -> None:
    if values.is_size(directive.value):
        draft.set("storage", directive.read(values.gibibytes), directive)
    else:
        draft.append("storages", tuple(directive.read(values.words)), directive)


def _dependencies(draft: Draft, directive: Directive) -> None:
    draft.append("dependencies", directive.read(values.dependencies), directive)


_evictions = partial(values.choice, allowed=tuple(member.value for member in Eviction))

RULES: Mapping[str, Rule] = {
    "name": Rule(_field("name"), blank=True),
    "comment": Rule(_field("comment"), blank=True),
    "account": Rule(_field("account"), blank=True),
    "account_id": Rule(_field("account"), blank=True),
    "flavor": Rule(_field("flavor"), blank=True),
    "gpus": Rule(_field("gpus", values.integer), blank=True),
    "cpus": Rule(_field("cpus", values.number)),
    "memory": Rule(_field("memory", values.mebibytes)),
    "nodes": Rule(_field("nodes", values.integer)),
    "walltime": Rule(_field("walltime", values.walltime)),
    "storage": Rule(_storage, blank=True),
    "ports": Rule(_ports, blank=True),
    "submission-address": Rule(_address, blank=True),
    "cloud-image": Rule(_field("image"), blank=True),
    "container-image": Rule(_field("container"), blank=True),
    "image": Rule(_image, blank=True),
    "workdir": Rule(_field("workdir")),
    "input-files": Rule(_inputs, blank=True),
    "input": Rule(_inputs, blank=True),
    "output-files": Rule(_outputs, blank=True),
    "output": Rule(_outputs, blank=True),
    "stdin": Rule(_field("stdin")),
    "stdout": Rule(_field("stdout")),
    "stderr": Rule(_field("stderr")),
    "relocatable": Rule(_field("relocatable", values.switch)),
    "site": Rule(_field("site")),
    "region": Rule(_field("region")),
    "zone": Rule(_field("zone")),
    "spot": Rule(_field("spot", values.either)),
    "max-price": Rule(_field("max_price", values.number)),
    "on-eviction": Rule(_field("on_eviction", _evictions)),
    "keep": Rule(_field("keep")),
    "label": Rule(_pairs("labels")),
    "env": Rule(_pairs("variables")),
    "dependency": Rule(_dependencies),
    "array": Rule(_field("array")),
    "hold": Rule(_field("hold", values.switch)),
    "start-timeout": Rule(_field("start_timeout", values.walltime)),
}
"""All ``#SWM`` directives by name."""

ELSEWHERE: Mapping[str, str] = {
    "keep-resources": "'#SWM keep NAME' keeps the node made for the job, asleep, under a name",
    "checkpoint": "start the checkpoints of a program in the script itself",
    "checkpoint-dir": "start the checkpoints of a program in the script itself",
    "checkpoint-interval": "start the checkpoints of a program in the script itself",
    "duration": "use walltime",
    "time": "use walltime",
    "mem": "use memory",
}
"""Directives that somebody may expect, and what serves instead."""
