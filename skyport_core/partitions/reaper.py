"""The reaper: what carries this core's tag at a site but is in no record is removed."""

from __future__ import annotations

import asyncio
import logging

from skyport_gates.gate import Gate, GateError, Partition, PartitionStatus, StaticGate

from ..sites import Sites
from ..store import Store

FIRST_SEARCH = 30.0
"""Seconds that the first search waits for the sites to be asked what they have."""


async def reap(
    store: Store, sites: Sites, core_id: str, interval: float, log: logging.Logger
) -> None:
    """Compare every elastic site's own list with the records, every ``interval`` seconds.

    A partition is created only after its record was committed; one without a record, or whose
    record says that it is gone, is therefore left over and deleted. The latter happens when a
    site makes a partition after all that was asked for before its removal.
    """
    await sites.asked(FIRST_SEARCH)
    while True:
        await asyncio.gather(
            *(
                _reap_site(store, sites, site, core_id, log)
                for site, gate in sites.gates.items()
                if not isinstance(gate, StaticGate)
            )
        )
        await asyncio.sleep(interval)


async def _reap_site(
    store: Store, sites: Sites, site: str, core_id: str, log: logging.Logger
) -> None:
    gate = sites.gates[site]
    try:
        await _search(store, sites, site, gate, core_id, log)
    except GateError as error:
        log.warning("Site %s cannot be searched for leftovers now: %s", site, error)
    except Exception:
        log.exception("Site %s could not be searched for leftovers; trying again", site)


async def _search(
    store: Store, sites: Sites, site: str, gate: Gate, core_id: str, log: logging.Logger
) -> None:
    found = await sites.call(site, gate.list())
    for partition in found:
        if partition.tags.get("skyport-core") != core_id:
            continue
        record = await store.get_partition(partition.name)
        if record is None or record.state.final:
            await _remove(sites, site, gate, partition, log)


async def _remove(
    sites: Sites, site: str, gate: Gate, partition: Partition, log: logging.Logger
) -> None:
    if partition.status is not PartitionStatus.DELETING:
        log.warning("Site %s: removing partition %s, which no job has", site, partition.name)
    try:
        await sites.call(site, gate.delete(partition.name))
    except GateError as error:
        log.warning("Site %s: partition %s stays for now: %s", site, partition.name, error)
