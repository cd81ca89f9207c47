"""A core's elastic site, and what exists there."""

from __future__ import annotations

from pathlib import Path

from tests.infra.desk import Desk
from tests.infra.elastic import records
from tests.infra.wait import eventually

SITE = """
c.SkyPortCore.gates = {"cloud": "tests.infra.elastic:ElasticTestGate"}
c.SkyPortCore.stop_grace = 0.5
c.SkyPortCore.reap_interval = 1
c.ElasticTestGate.call_timeout = 2
"""


def gate_home(desk: Desk) -> Path:
    """The folder of the site's gate."""
    return desk.core.home / "gates/cloud"


def at_the_site(desk: Desk) -> list[Path]:
    """What exists at the site now, as its own files say."""
    return list((gate_home(desk) / "partitions").glob("*.json"))


def statuses(desk: Desk) -> list[str]:
    """How the site's partitions stand, by its own files."""
    return [record.status for record in records(gate_home(desk))]


async def asleep(desk: Desk) -> None:
    """Wait until the only machine sleeps."""
    await eventually(lambda: statuses(desk) == ["suspended"], "machine asleep")
