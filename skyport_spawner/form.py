"""The options form: made from what the sites offer now, and read back into options."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from jinja2 import ChoiceLoader, Environment, PackageLoader

from skyport_core.wire import FlavorView

from .options import Limits, OptionError, UserOptions, parse

Number = TypeVar("Number", int, float)

TEMPLATE = "options_form.html"
WALLTIMES = (1800, 3600, 7200, 14400, 28800, 43200, 86400, 2 * 86400, 7 * 86400)
"""Seconds that the form offers, as far as the limit allows."""

templates = Environment(
    loader=ChoiceLoader(
        [PackageLoader("skyport_spawner", "templates"), PackageLoader("skyport_spawner", "static")]
    ),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Machine:
    """A line of the list of machines; ``value`` is what the form sends.

    ``cpus``, ``memory`` (GiB) and ``gpus`` are the most that can be asked for on it; None: no
    limit is known.
    """

    value: str
    label: str
    description: str = ""
    cpus: float | None = None
    memory: float | None = None
    gpus: int | None = None


@dataclass(frozen=True)
class Walltime:
    """A choice of run time in seconds."""

    seconds: int
    label: str


def render(
    flavors: Sequence[FlavorView],
    limits: Limits,
    chosen: UserOptions,
    *,
    outage: str = "",
) -> str:
    """The form's fields as HTML, without the form element, which JupyterHub makes.

    Parameters
    ----------
    flavors
        What the sites offer now.
    limits
        What the admin allows this user.
    chosen
        The last choice, preselected.
    outage
        Why the offers are not known, in words for the user; "" when they are.
    """
    offered = [
        flavor
        for flavor in flavors
        if limits.allows_site(flavor.site) and limits.allows_flavor(flavor.site, flavor.name)
    ]
    sites = {
        site: _machines(site, list(group), limits)
        for site, group in groupby(
            sorted(offered, key=lambda flavor: (flavor.site, flavor.price or 0.0, flavor.cpus)),
            key=lambda flavor: flavor.site,
        )
    }
    any_machine = None if limits.sites or limits.flavors else _anywhere(offered, limits)
    return templates.get_template(TEMPLATE).render(
        any_machine=any_machine,
        sites=sites,
        selected=_selected(chosen, sites),
        chosen=chosen,
        memory=_gib(chosen.memory),
        limits=limits,
        memory_limit=_gib(limits.memory),
        has_gpus=any(flavor.gpus for flavor in offered) or bool(chosen.gpus),
        walltimes=_walltimes(limits, chosen.walltime),
        walltime=chosen.walltime or limits.default_walltime or limits.walltime,
        outage=outage,
    )


def read(form: Mapping[str, Sequence[object]]) -> UserOptions:
    """Options from what a browser or a query string sends: lists of texts.

    Besides the options' own names the form has ``machine`` (``site/flavor``, ``site/`` or "")
    and ``memory_unit`` for the number in ``memory``.

    Raises
    ------
    OptionError
        When a field is given twice, unknown or not valid.
    """
    values: dict[str, object] = {}
    for name, given in form.items():
        if len(given) > 1:
            raise OptionError(name, f"Option {name!r} is given {len(given)} times; give it once.")
        if given:
            values[name] = given[0]
    unit = str(values.pop("memory_unit", "")).strip()
    memory = values.get("memory")
    if unit and isinstance(memory, str) and memory.strip():
        values["memory"] = f"{memory.strip()}{unit}"
    machine = str(values.pop("machine", "") or "").strip()
    if machine:
        site, slash, flavor = machine.partition("/")
        if not slash:
            raise OptionError(
                "machine", f"Option machine={machine!r} is not valid: write site/flavor."
            )
        for name, value in (("site", site), ("flavor", flavor)):
            if value and values.setdefault(name, value) != value:
                raise OptionError(
                    name, f"Option {name}={values[name]!r} differs from machine={machine!r}."
                )
    return parse(values)


def _anywhere(flavors: Iterable[FlavorView], limits: Limits) -> Machine:
    return _bounded("", "Any machine that fits", list(flavors), limits)


def _machines(site: str, flavors: list[FlavorView], limits: Limits) -> list[Machine]:
    machines = [
        Machine(
            f"{site}/{flavor.name}",
            f"{flavor.name}: {_contents(flavor)}",
            ". ".join(part for part in (flavor.description.rstrip("."), _free(flavor)) if part),
            _least(flavor.cpus, limits.cpus),
            _gib(_least(flavor.memory, limits.memory)),
            _least(flavor.gpus, limits.gpus),
        )
        for flavor in flavors
    ]
    if limits.flavors:
        return machines
    return [_bounded(f"{site}/", f"Any machine of {site}", flavors, limits), *machines]


def _bounded(value: str, label: str, flavors: list[FlavorView], limits: Limits) -> Machine:
    return Machine(
        value,
        label,
        "The core chooses: an existing machine before a new one, the cheapest that fits.",
        _least(max((flavor.cpus for flavor in flavors), default=None), limits.cpus),
        _gib(_least(max((flavor.memory for flavor in flavors), default=None), limits.memory)),
        _least(max((flavor.gpus for flavor in flavors), default=None), limits.gpus),
    )


def _selected(chosen: UserOptions, sites: Mapping[str, Sequence[Machine]]) -> str:
    """The machine of the last choice, as far as it is still offered."""
    values = [machine.value for machines in sites.values() for machine in machines]
    if chosen.site is None and chosen.flavor is not None:
        return next((value for value in values if value.endswith(f"/{chosen.flavor}")), "")
    value = f"{chosen.site}/{chosen.flavor or ''}" if chosen.site else ""
    return value if value in values else ""


def _contents(flavor: FlavorView) -> str:
    parts = [f"{flavor.cpus:g} CPUs", f"{_gib(flavor.memory):g} GiB"]
    if flavor.gpus:
        parts.append(f"{flavor.gpus} x {flavor.gpu_type or 'GPU'}")
    if flavor.price is not None:
        parts.append(f"${flavor.price:.4g} per hour")
    return ", ".join(parts)


def _free(flavor: FlavorView) -> str:
    """What one server could get at once, in words."""
    if flavor.free_cpus is not None and flavor.free_memory is not None:
        if flavor.free_cpus <= 0 or flavor.free_memory <= 0:
            return "All in use now: a server waits for its turn"
        text = (
            f"Free now for one server: {flavor.free_cpus:g} CPUs, {_gib(flavor.free_memory):g} GiB"
        )
        return f"{text}, {flavor.free_gpus} GPUs" if flavor.gpus else text
    if flavor.available_nodes is not None and flavor.capacity is not None:
        return f"{flavor.available_nodes} of {flavor.capacity} machines can be had now"
    return "Made when asked for"


def _walltimes(limits: Limits, chosen: int | None) -> list[Walltime]:
    usual = set(WALLTIMES) | {seconds for seconds in (chosen, limits.default_walltime) if seconds}
    if limits.walltime:
        usual = {seconds for seconds in usual if seconds < limits.walltime} | {limits.walltime}
    return [Walltime(seconds, duration(seconds)) for seconds in sorted(usual)]


def duration(seconds: int) -> str:
    """Seconds as people say them: ``90 minutes``, ``8 hours``, ``2 days``."""
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"{count} {name}{'s' if count != 1 else ''}"
    return f"{seconds} seconds"


def _gib(memory: float | None) -> float | None:
    return None if memory is None else round(memory / 1024, 2)


def _least(value: Number | None, limit: Number | None) -> Number | None:
    if value is None or limit is None:
        return limit if value is None else value
    return min(value, limit)
