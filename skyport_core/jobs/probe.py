"""Find out that a server answers, through the same tunnel that its users will take."""

from __future__ import annotations

import asyncio
import contextlib
import ssl

import aiohttp

from skyport_gates.timing import in_time

from ..model import Probe

ATTEMPT_TIMEOUT = 10.0
"""Seconds one attempt may take: a server under load may be slow to give its first answer."""


async def answers(address: tuple[str, int], probe: Probe | None, interval: float) -> None:
    """Return as soon as the server at ``address`` answers; try every ``interval`` seconds.

    Without ``probe`` a connection that stays open is the answer; with an HTTP probe, any status
    below 500; with an HTTPS probe, a TLS handshake.
    """
    if probe is not None and probe.scheme == "http":
        await _until(interval, _http_attempt, address, probe.path)
    elif probe is not None:
        await _until(interval, _tls_attempt, address)
    else:
        await _until(interval, _tcp_attempt, address)


async def _until(interval, attempt, *args) -> None:  # type: ignore[no-untyped-def]
    while True:
        with contextlib.suppress(OSError, aiohttp.ClientError, asyncio.TimeoutError, EOFError):
            if await in_time(attempt(*args), ATTEMPT_TIMEOUT):
                return
        await asyncio.sleep(interval)


async def _http_attempt(address: tuple[str, int], path: str) -> bool:
    url = f"http://{address[0]}:{address[1]}{path}"
    async with aiohttp.ClientSession() as session, session.get(url, allow_redirects=False) as reply:
        return reply.status < 500


async def _tls_attempt(address: tuple[str, int]) -> bool:
    context = ssl.create_default_context()
    # Only whether somebody speaks TLS there is asked; the hub verifies the certificate itself.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(*address, ssl=context)
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def _tcp_attempt(address: tuple[str, int]) -> bool:
    """The listener accepts at once; a server is behind it if the connection is not closed."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        return await in_time(reader.read(1), 0.2) != b""
    except asyncio.TimeoutError:
        return True
    finally:
        writer.close()
