"""Ports as a script asks for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .errors import shown


@dataclass(frozen=True)
class Port:
    """A TCP port that the job serves (``in``) or wants to reach near the core (``out``)."""

    number: int
    direction: Literal["in", "out"]


def read_ports(text: str) -> list[Port]:
    """The ports of ``8888/tcp/in,8081/tcp/out``. Raises ValueError."""
    return [_port(item.strip()) for item in text.split(",")]


def endpoint(address: str, port: int) -> str:
    """``host:port`` of an address, which is put in brackets if it is one of IPv6."""
    bare = address.removeprefix("[").removesuffix("]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def _port(item: str) -> Port:
    parts = item.lower().split("/")
    if len(parts) != 3 or parts[1] != "tcp" or parts[2] not in ("in", "out"):
        raise ValueError(f"must be PORT/tcp/in or PORT/tcp/out, by commas; not {shown(item)}")
    if not (parts[0].isascii() and parts[0].isdigit() and len(parts[0]) <= 5):
        raise ValueError(f"must name ports by numbers; not {shown(item)}")
    number = int(parts[0])
    if not 1 <= number <= 65535:
        raise ValueError(f"must name ports from 1 to 65535; not {shown(item)}")
    return Port(number, "in" if parts[2] == "in" else "out")
