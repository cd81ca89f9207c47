"""What the gates remember: texts, encrypted at rest."""

from __future__ import annotations

import sqlalchemy as sa

from .base import Part, uninterrupted
from .tables import gate_data


class GateTexts(Part):
    """Texts by site and key."""

    @uninterrupted
    async def put_gate_text(self, site: str, key: str, text: str | None) -> None:
        """Keep a text of a site's gate; None forgets it."""
        if text is None:
            statement = sa.delete(gate_data).where(gate_data.c.site == site, gate_data.c.key == key)
            async with self._database.write() as connection:
                await connection.execute(statement)
            return
        values = {"site": site, "key": key, "token": await self._vault.seal_text(text)}
        async with self._database.write() as connection:
            await self._database.upsert(connection, gate_data, ["site", "key"], values)

    @uninterrupted
    async def gate_text(self, site: str, key: str) -> str | None:
        """A text of a site's gate, or None. WrongSecretKey if it cannot be decrypted."""
        query = sa.select(gate_data.c.token).where(gate_data.c.site == site, gate_data.c.key == key)
        async with self._database.read() as connection:
            token = await connection.scalar(query)
        return None if token is None else (await self._vault.unseal_texts([token]))[0]

    @uninterrupted
    async def gate_texts(self, site: str, prefix: str = "") -> dict[str, str]:
        """All texts of a site's gate whose key begins with ``prefix``, by key."""
        # Not LIKE, which ignores case on SQLite.
        begins = sa.func.substr(gate_data.c.key, 1, len(prefix)) == prefix
        query = sa.select(gate_data).where(gate_data.c.site == site, begins)
        async with self._database.read() as connection:
            rows = (await connection.execute(query.order_by(gate_data.c.key))).all()
        texts = await self._vault.unseal_texts([row.token for row in rows])
        return {row.key: text for row, text in zip(rows, texts, strict=True)}


class GateMemory:
    """The memory of one site's gate, as ``skyport_gates.gate.GateStore`` describes it.

    Parameters
    ----------
    texts : GateTexts
        The store.
    site : str
        Whose gate's.
    """

    def __init__(self, texts: GateTexts, site: str) -> None:
        self._texts = texts
        self._site = site

    async def get(self, key: str) -> str | None:
        """The text, or None."""
        return await self._texts.gate_text(self._site, key)

    async def put(self, key: str, value: str | None) -> None:
        """Keep a text; None forgets it."""
        await self._texts.put_gate_text(self._site, key, value)

    async def items(self, prefix: str = "") -> dict[str, str]:
        """All texts whose key begins with ``prefix``."""
        return await self._texts.gate_texts(self._site, prefix)
