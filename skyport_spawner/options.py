"""What a user may ask for: one schema for the form, the REST API and the hub's database.

A request passes three steps: :func:`parse` checks its form, :func:`resolve` applies the profile
chosen and the admin's limits, and the result goes into the job. Options are kept in the hub's
database and may have been written by an older configuration, so every start checks them again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from skyport_core.model import Name, Slug

UNITS = {"": 1.0, "M": 1.0, "K": 1 / 1024, "G": 1024.0, "T": 1024.0 * 1024}
MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?", re.IGNORECASE)
CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d{2})(?::(\d{2}))?")
SPAN = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw]?)", re.IGNORECASE)
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


class OptionError(ValueError):
    """An option that cannot be granted.

    Parameters
    ----------
    field : str
        Name of the option.
    message : str
        What is wrong with its value and what is allowed, as a sentence.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def parse_memory(value: object) -> object:
    """MiB from a number of MiB or a text such as ``4G`` or ``512 MiB``."""
    if not isinstance(value, str):
        return _number(value)
    match = MEMORY.fullmatch(value.strip())
    if match is None:
        raise ValueError("write a number of MiB, or one with a unit such as 512M or 4G")
    return round(float(match[1]) * UNITS[match[2].upper()])


def parse_walltime(value: object) -> object:
    """Seconds from a number of seconds or a text: ``90m``, ``8h``, ``2d``, ``H:MM[:SS]``."""
    if not isinstance(value, str):
        return _number(value)
    text = value.strip()
    if match := CLOCK.fullmatch(text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    if match := SPAN.fullmatch(text):
        return round(float(match[1]) * SECONDS[match[2].lower()])
    raise ValueError("write a number of seconds, or a time such as 90m, 8h, 2d or 1:30:00")


def _number(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("must be a number")
    return value


Memory = Annotated[int, BeforeValidator(parse_memory)]
Walltime = Annotated[int, BeforeValidator(parse_walltime)]
Number = BeforeValidator(_number)


def parse_spot(value: object) -> object:
    """The three choices also as JSON's true, false, and a browser's texts for them."""
    known = {"true": "yes", "false": "no", "1": "yes", "0": "no"}
    text = str(value).strip().lower()
    return known.get(text, text)


def parse_flag(value: object) -> object:
    """What a checkbox or a query string sends for yes and no."""
    known = {"on": True, "yes": True, "1": True, "true": True, "no": False, "0": False}
    return known.get(value.strip().lower(), value) if isinstance(value, str) else value


class UserOptions(BaseModel):
    """What a user may ask for; every field may be left out."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    profile: Slug | None = Field(None, description="A set of options that the admin prepared.")
    site: Slug | None = Field(None, description="Where to run; left out: any site.")
    flavor: Name | None = Field(None, description="Node type; left out: any.")
    cpus: Annotated[float, Number] | None = Field(None, gt=0, le=100_000, description="Cores.")
    memory: Memory | None = Field(None, gt=0, le=2**31, description="MiB, or text such as 4G.")
    gpus: Annotated[int, Number] | None = Field(None, ge=0, le=10_000, description="GPU devices.")
    walltime: Walltime | None = Field(
        None, gt=0, le=366 * 86400, description="Seconds, or text such as 8h."
    )
    region: Name | None = Field(None, description="Region of the site; left out: the cheapest.")
    zone: Name | None = Field(None, description="Zone of the region; left out: any.")
    spot: Annotated[Literal["no", "yes", "any"], BeforeValidator(parse_spot)] | None = Field(
        None, description="Spot machines, which their site may take back: no, yes, or any."
    )
    max_price: Annotated[float, Number] | None = Field(
        None, gt=0, le=1e6, description="The most that the machine may cost per hour."
    )
    image: Name | None = Field(None, description="What a machine made for this server boots.")
    keep: Annotated[bool, BeforeValidator(parse_flag)] | None = Field(
        None, description="Keep the machine asleep, with its files, when the server stops."
    )

    def chosen(self) -> dict[str, Any]:
        """The fields that were given, ready for JSON."""
        return self.model_dump(exclude_none=True)


class Profile(BaseModel):
    """A named set of options; what it sets is fixed, the rest is left to the user."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Slug
    title: str = ""
    description: str = ""
    groups: frozenset[str] = Field(
        frozenset(), description="Who may use it: members of any of these groups; empty: all."
    )
    options: UserOptions = UserOptions()

    @property
    def label(self) -> str:
        """What the form calls it."""
        return self.title or self.name


@dataclass(frozen=True)
class Limits:
    """What an admin allows. Empty tuples and None mean: no limit.

    ``memory`` in MiB, ``walltime`` and ``default_walltime`` in seconds, ``price`` per hour. An
    entry of ``flavors`` is a flavor's name, or ``site/name`` for the flavor of one site. ``spot``
    and ``keep`` say whether users may ask for spot machines, and for machines that sleep.
    """

    sites: tuple[str, ...] = ()
    flavors: tuple[str, ...] = ()
    cpus: float | None = None
    memory: int | None = None
    gpus: int | None = None
    walltime: int | None = None
    default_walltime: int | None = None
    price: float | None = None
    spot: bool = True
    keep: bool = True
    profiles: tuple[Profile, ...] = ()

    def allows_site(self, site: str) -> bool:
        """Whether jobs may be sent to a site."""
        return not self.sites or site in self.sites

    def allows_flavor(self, site: str | None, flavor: str) -> bool:
        """Whether a flavor may be asked for; ``site`` None: at any site."""
        if not self.flavors or flavor in self.flavors:
            return True
        return site is not None and f"{site}/{flavor}" in self.flavors


def parse(raw: Mapping[str, object]) -> UserOptions:
    """Check the form of a request.

    Empty texts count as left out.

    Raises
    ------
    OptionError
        For an unknown name or a value that is no such thing, naming what is allowed.
    """
    given = {key: value for key, value in raw.items() if not _is_blank(value)}
    try:
        return UserOptions.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
    field = str(first["loc"][0])
    if first["type"] == "extra_forbidden":
        allowed = ", ".join(UserOptions.model_fields)
        raise OptionError(field, f"There is no option {field!r}. Options are: {allowed}.")
    cause = first["msg"].removeprefix("Value error, ")
    raise OptionError(field, f"Option {field}={_shown(raw[field])} is not valid: {cause}.")


def resolve(options: UserOptions, limits: Limits) -> UserOptions:
    """Apply the profile and the limits; the result holds what the job asks for.

    Raises
    ------
    OptionError
        When an option is beyond what the admin allows.
    """
    options = _with_profile(options, limits.profiles)
    site, flavor = _place(options, limits)
    _at_most("cpus", options.cpus, limits.cpus)
    _at_most("memory", options.memory, limits.memory, " MiB")
    _at_most("gpus", options.gpus, limits.gpus)
    _at_most("walltime", options.walltime, limits.walltime, " seconds")
    _at_most("max_price", options.max_price, limits.price, " per hour")
    if options.spot in ("yes", "any") and not limits.spot:
        raise OptionError("spot", f"Option spot={options.spot} is not allowed: only no.")
    if options.keep and not limits.keep:
        raise OptionError("keep", "Option keep=true is not allowed: machines are not kept here.")
    walltime = options.walltime or limits.default_walltime or limits.walltime
    if walltime and limits.walltime:
        walltime = min(walltime, limits.walltime)
    found = {
        "site": site,
        "flavor": flavor,
        "walltime": walltime,
        "max_price": options.max_price or limits.price,
    }
    return options.model_copy(update=found)


def _with_profile(options: UserOptions, profiles: Sequence[Profile]) -> UserOptions:
    """The options with those of the chosen profile; the first profile is the default."""
    if not profiles:
        if options.profile is not None:
            raise OptionError("profile", f"There is no profile {options.profile!r} for you.")
        return options
    name = options.profile or profiles[0].name
    profile = next((one for one in profiles if one.name == name), None)
    if profile is None:
        names = ", ".join(one.name for one in profiles)
        raise OptionError("profile", f"There is no profile {name!r} for you. Profiles: {names}.")
    fixed = profile.options.chosen()
    for field, value in fixed.items():
        asked = getattr(options, field)
        if asked is not None and asked != value:
            raise OptionError(
                field, f"Profile {name!r} sets {field} to {value}; it cannot be {asked}."
            )
    return options.model_copy(update={**fixed, "profile": name})


def _place(options: UserOptions, limits: Limits) -> tuple[str | None, str | None]:
    """Site and flavor; where only some are allowed, the first of them is the default."""
    site, flavor = options.site, options.flavor
    if flavor is None and limits.flavors:
        fitting = [
            entry
            for entry in limits.flavors
            if site is None or "/" not in entry or entry.split("/", 1)[0] == site
        ]
        if not fitting:
            raise OptionError(
                "site", f"No flavor of site {site!r} is allowed: choose of {_list(limits.flavors)}."
            )
        head, _, tail = fitting[0].rpartition("/")
        site, flavor = site or head or None, tail
    if site is None and limits.sites:
        site = limits.sites[0]
    if site is not None and not limits.allows_site(site):
        raise OptionError("site", f"Site {site!r} is not allowed: choose {_list(limits.sites)}.")
    if flavor is not None and not limits.allows_flavor(site, flavor):
        raise OptionError(
            "flavor", f"Flavor {flavor!r} is not allowed: choose {_list(limits.flavors)}."
        )
    return site, flavor


def _at_most(field: str, value: float | None, limit: float | None, unit: str = "") -> None:
    if value is not None and limit is not None and value > limit:
        raise OptionError(
            field, f"Option {field}={value:g} is not allowed: at most {limit:g}{unit}."
        )


def _list(names: Sequence[str]) -> str:
    return " or ".join(names)


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
