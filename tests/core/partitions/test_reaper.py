"""The search for what no record knows, over a site in memory."""

from __future__ import annotations

import asyncio
from pathlib import Path
from unittest import mock

from cryptography.fernet import Fernet

from skyport_core.partitions.reaper import reap
from skyport_core.store import Store
from skyport_gates.gate import Partition, PartitionStatus
from tests.core.cloud import SMALL, CloudGate, log, running_sites
from tests.infra.wait import eventually

STRAY = Partition("stray", PartitionStatus.READY, (), None, {"skyport-core": "core"})


async def test_a_fault_of_the_database_does_not_end_the_search(tmp_path: Path) -> None:
    store = await Store.open(f"sqlite:///{tmp_path / 'db'}", Fernet.generate_key())
    gate = CloudGate(SMALL)
    removed: list[str] = []
    answers = mock.AsyncMock(side_effect=[OSError("the database is away"), None])
    with (
        mock.patch.object(gate, "list", mock.AsyncMock(return_value=[STRAY])),
        mock.patch.object(gate, "delete", mock.AsyncMock(side_effect=removed.append)),
        mock.patch.object(store, "get_partition", answers),
    ):
        async with running_sites(gate) as sites:
            search = asyncio.create_task(reap(store, sites, "core", 0.01, log))
            try:
                await eventually(lambda: removed, "the leftover removed", 5)
            finally:
                search.cancel()
                await asyncio.gather(search, return_exceptions=True)
                await store.close()
    assert removed[0] == "stray"
