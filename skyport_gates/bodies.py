"""Answers of other machines, which may be without end."""

from __future__ import annotations

import aiohttp

from .errors import GateUnavailable

MOST = 64 * 2**20
"""Bytes of the largest answer that is read."""


async def whole(response: aiohttp.ClientResponse) -> bytes:
    """The body of an answer. Raises GateUnavailable when it is larger than :data:`MOST`."""
    taken = bytearray()
    async for chunk in response.content.iter_any():
        taken += chunk
        if len(taken) > MOST:
            raise GateUnavailable(
                f"The gate at {response.url.origin()} answered with more than {MOST // 2**20} MiB",
                hint="Something else may listen there.",
            )
    return bytes(taken)
