"""What this core asked the gate for: the protocol has no tags, so it is remembered here."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..gate import GateStore

PREFIX = "partition:"


@dataclass(frozen=True)
class Record:
    """One partition.

    Attributes
    ----------
    asked_at
        Seconds since the epoch, when it was asked for.
    posted
        The gate is being asked, or was: without ``identity`` or ``error``, what came of it is open.
    identity
        The gate's own id of it, once known.
    deleting
        Its removal was asked for.
    error
        Why it could not be made: the text of the gate.
    host_keys
        By address, as seen at the first contact.
    """

    name: str
    flavor: str
    count: int
    username: str
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    asked_at: float = field(default_factory=time.time)
    posted: bool = False
    identity: str = ""
    deleting: bool = False
    error: str = ""
    host_keys: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def is_open(self, patience: float) -> bool:
        """Whether the gate may still be making it, ``patience`` seconds after it was asked."""
        settled = self.identity or self.error or not self.posted
        return not settled and time.time() - self.asked_at < patience


class Records:
    """All records of one core, in its gate's memory."""

    def __init__(self, store: GateStore) -> None:
        self._store = store

    async def get(self, name: str) -> Record | None:
        """One, or None."""
        text = await self._store.get(PREFIX + name)
        return None if text is None else _parsed(text)

    async def all(self) -> list[Record]:
        """All, in no order."""
        return [_parsed(text) for text in (await self._store.items(PREFIX)).values()]

    async def put(self, record: Record) -> Record:
        """Remember one."""
        values = {each.name: getattr(record, each.name) for each in dataclasses.fields(record)}
        plain = {
            name: dict(value) if isinstance(value, Mapping) else value
            for name, value in values.items()
        }
        await self._store.put(PREFIX + record.name, json.dumps(plain))
        return record

    async def forget(self, name: str) -> None:
        """It is gone."""
        await self._store.put(PREFIX + name, None)


def _parsed(text: str) -> Record:
    return Record(**json.loads(text))
