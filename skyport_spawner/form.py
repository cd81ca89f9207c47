"""The options form: made from what the sites offer now, and read back into options."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from jinja2 import ChoiceLoader, Environment, PackageLoader

from skyport_core.wire import FlavorView

from . import machines
from .options import Limits, OptionError, UserOptions, parse

TEMPLATE = "options_form.html"
WALLTIMES = (1800, 3600, 7200, 14400, 28800, 43200, 86400, 2 * 86400, 7 * 86400)
"""Seconds that the form offers, as far as the limit allows."""

SEARCHABLE = 12
"""Machines above which the form has a field to search them."""

LISTED = 40
"""Machines up to which the form says of each what is free, in a list."""

templates = Environment(
    loader=ChoiceLoader(
        [PackageLoader("skyport_spawner", "templates"), PackageLoader("skyport_spawner", "static")]
    ),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
)


def _regions_json(regions: Sequence[machines.Region]) -> str:
    return json.dumps(
        [{"name": one.name, "price": one.price, "spot": one.spot_price} for one in regions]
    )


templates.filters["regions_json"] = _regions_json


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
    images: Sequence[str] = (),
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
    images
        Names of the images that machines can boot; the choice is shown when there are several.
    outage
        Why the offers are not known, in words for the user; "" when they are.
    """
    sites = machines.machines_by_site(flavors, limits)
    offered = [flavor for flavor in flavors if machines.allowed(flavor, limits)]
    every = [machine for listed in sites.values() for machine in listed]
    any_machine = None if limits.sites or limits.flavors else machines.anywhere(offered, limits)
    return templates.get_template(TEMPLATE).render(
        any_machine=any_machine,
        sites=sites,
        searchable=len(every) > SEARCHABLE,
        listed=len(every) <= LISTED,
        regions=sorted({region.name for machine in every for region in machine.regions}),
        images=images,
        has_spot=any(machine.spot for machine in every),
        has_keep=any(machine.keep for machine in every),
        has_prices=any(flavor.price is not None for flavor in offered),
        selected=machines.selected(chosen, sites),
        chosen=chosen,
        memory=machines.gib(chosen.memory),
        limits=limits,
        memory_limit=machines.gib(limits.memory),
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
