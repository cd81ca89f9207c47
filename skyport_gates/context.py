"""What the core gives a gate: its identity, a folder, a memory, and an ear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


class GateStore(Protocol):
    """What a gate remembers: texts by key, encrypted at rest, in the core's own database."""

    async def get(self, key: str) -> str | None:
        """The text, or None."""
        ...

    async def put(self, key: str, value: str | None) -> None:
        """Keep a text; None forgets it."""
        ...

    async def items(self, prefix: str = "") -> dict[str, str]:
        """All texts whose key begins with ``prefix``."""
        ...


class TransientStore:
    """A :class:`GateStore` that lives as long as its object, for a gate without a core."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    async def get(self, key: str) -> str | None:
        """The text, or None."""
        return self._texts.get(key)

    async def put(self, key: str, value: str | None) -> None:
        """Keep a text; None forgets it."""
        if value is None:
            self._texts.pop(key, None)
        else:
            self._texts[key] = value

    async def items(self, prefix: str = "") -> dict[str, str]:
        """All texts whose key begins with ``prefix``."""
        return {key: text for key, text in self._texts.items() if key.startswith(prefix)}


def _unheard(name: str) -> None:
    """What ``changed`` does when no core listens."""


@dataclass(frozen=True)
class GateContext:
    """What the core tells a gate about itself.

    Attributes
    ----------
    core_id
        Identity of this core, for tags: a gate only ever lists and deletes what carries it.
    home
        A folder of the gate's own (0700) that survives restarts.
    user_ca
        Public key (one OpenSSH line) of the authority that signs the core's SSH logins.
    store
        The gate's memory; it survives restarts, also on another machine.
    changed
        To be called with a partition's name when the gate sees that it stands otherwise than
        before; the core then asks :meth:`Gate.get`. Cheap, and never raises.
    """

    core_id: str
    home: Path
    user_ca: str
    store: GateStore = field(default_factory=TransientStore, compare=False)
    changed: Callable[[str], None] = field(default=_unheard, compare=False)
