"""Certificates for JupyterHub's ``internal_ssl``: the names in them, the files, a last check."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import aiohttp

from skyport_core.model import core_address, next_number, node_address, preferred_number
from skyport_core.wire import FileUpload

from .environment import JOB_DIR

CANDIDATES = 8
"""Addresses named in a certificate: the job's own and the next ones, should it be taken."""

TLS_FOLDER = "tls"
PROBE_INTERVAL = 0.05


def alt_names(job_id: str) -> list[str]:
    """Subject alternative names of a job's server.

    The hub connects to the job's address at the core, and the server listens on the one at its
    node. Both follow from the job's number, which is known before the core is asked, except when
    another job has the same: then the core takes the next free one.
    """
    numbers = list(islice(_numbers(job_id), CANDIDATES))
    return [
        *(f"IP:{core_address(number)}" for number in numbers),
        *(f"IP:{node_address(number)}" for number in numbers),
        "DNS:localhost",
    ]


def _numbers(job_id: str) -> Iterator[int]:
    number = preferred_number(job_id)
    while True:
        yield number
        number = next_number(number)


def uploads(paths: Mapping[str, str]) -> tuple[FileUpload, ...]:
    """Key, certificate and authority as files of the job, readable for its owner only."""
    return tuple(
        FileUpload(
            path=f"{TLS_FOLDER}/{kind}.pem",
            content=base64.b64encode(Path(path).read_bytes()).decode("ascii"),
            mode=0o600,
        )
        for kind, path in paths.items()
    )


def remote_paths(paths: Mapping[str, str]) -> dict[str, str]:
    """Where the same files are on the node, as templates."""
    return {kind: f"{JOB_DIR}{TLS_FOLDER}/{kind}.pem" for kind in paths}


async def answers_over_tls(url: str, context: ssl.SSLContext) -> None:
    """Wait until a server answers a request made with the hub's own certificate.

    Parameters
    ----------
    url
        An address of the server that needs no login.
    context
        What the hub itself connects with; both sides are verified.

    Raises
    ------
    aiohttp.ClientConnectorCertificateError
        When the server's certificate is not valid for the address: waiting would not help.
    """
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(url, ssl=context, allow_redirects=False) as answer:
                    if answer.status < 500:
                        return
            except aiohttp.ClientConnectorCertificateError:
                raise
            except aiohttp.ClientError:
                # Not up yet: the caller's deadline bounds the attempts.
                pass
            await asyncio.sleep(PROBE_INTERVAL)
