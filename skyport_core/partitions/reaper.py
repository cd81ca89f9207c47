"""The reaper: what carries this core's tag at a site but is in no record is removed."""

from __future__ import annotations

import asyncio
import logging

from skyport_gates.gate import GateError, StaticGate

from ..sites import Sites
from ..store import Store


async def reap(store: Store, sites: Sites, interval: float, log: logging.Logger) -> None:
    """Compare every elastic site's own list with the records, every ``interval`` seconds.

    A partition is created only after its record was committed; one without a record, or whose
    record says that it is gone, is therefore left over and deleted.
    """
    while True:
        for site, gate in sites.gates.items():
            if not isinstance(gate, StaticGate):
                try:
                    await _reap_site(store, sites, site, log)
                except GateError as error:
                    log.warning("Site %s cannot be searched for leftovers now: %s", site, error)
        await asyncio.sleep(interval)


async def _reap_site(store: Store, sites: Sites, site: str, log: logging.Logger) -> None:
    gate = sites.gates[site]
    for partition in await sites.call(site, gate.list()):
        record = await store.get_partition(partition.name)
        if record is None or record.state.final:
            log.warning(
                "Site %s: removing partition %s, which is in no record", site, partition.name
            )
            await sites.call(site, gate.delete(partition.name))
