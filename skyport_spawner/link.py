"""The hub's one connection to a core, shared by all its spawners."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from skyport_core.client import CoreClient

from .cancels import Cancels


@dataclass(frozen=True)
class CoreLink:
    """The client of a core, and the jobs that it has still to be told to cancel."""

    client: CoreClient
    cancels: Cancels


_links: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[Path, Path], CoreLink]] = (
    WeakKeyDictionary()
)


def core_link(socket: Path, cancels_folder: Path, log: logging.Logger) -> CoreLink:
    """The link of the running event loop to the core behind a socket, made when first asked for."""
    links = _links.setdefault(asyncio.get_running_loop(), {})
    key = (socket, cancels_folder)
    if key not in links:
        client = CoreClient(socket)
        links[key] = CoreLink(client, Cancels(client, cancels_folder, log))
    return links[key]
