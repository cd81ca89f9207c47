"""Reading long lists from the Resource Manager without holding up the event loop.

The SDK makes an object of each item, on the loop: for the sizes of one region that takes a third
of a second. So the pages are fetched through the SDK's pipeline, which knows credentials, retries
and the cloud, and are taken apart in a thread.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar
from urllib.parse import quote

from azure.core.exceptions import HttpResponseError
from azure.core.rest import HttpRequest
from azure.mgmt.compute.aio import ComputeManagementClient

from ..gate import GateUnavailable
from ..timing import in_time
from .errors import translate

T = TypeVar("T")

MAX_PAGES = 100


async def read_list(
    client: ComputeManagementClient,
    url: str,
    query: Mapping[str, str],
    parse: Callable[[list[Any]], T],
    *,
    deadline: float = 120.0,
) -> T:
    """All items of a list of the Resource Manager, as ``parse`` makes them.

    Parameters
    ----------
    url
        The list's address, with scheme and host: further pages are asked from these only.
    parse
        Called in a thread with the items as JSON has them.
    deadline
        Seconds for all pages.

    Raises
    ------
    GateError
        As :func:`~skyport_gates.azure.errors.translate` makes it.
    """
    try:
        pages = await in_time(_read(client, url, query), deadline)
    except Exception as error:
        raise translate(error) from error
    return await asyncio.to_thread(lambda: parse([item for page in pages for item in page]))


async def _read(
    client: ComputeManagementClient, url: str, query: Mapping[str, str]
) -> list[list[Any]]:
    origin = "/".join(url.split("/")[:3]).lower()
    text = "&".join(f"{quote(key, safe='$')}={quote(value)}" for key, value in query.items())
    address, pages = f"{url}?{text}", []
    for _ in range(MAX_PAGES):
        document = await _page(client, address)
        pages.append(list(document.get("value") or []))
        address = str(document.get("nextLink") or "")
        if not address:
            return pages
        if "/".join(address.split("/")[:3]).lower() not in (origin, f"{origin}:443"):
            raise GateUnavailable(f"Azure's list goes on at another server: {address[:80]!r}.")
    raise GateUnavailable(f"Azure's list has more than {MAX_PAGES} pages.")


async def _page(client: ComputeManagementClient, address: str) -> Mapping[str, Any]:
    # Streamed, since the pipeline would otherwise decode the JSON, on the loop and for nobody.
    response = await client.send_request(HttpRequest("GET", address), stream=True)
    try:
        body = await response.read()
        if response.status_code != 200:
            raise HttpResponseError(response=response)
    finally:
        await response.close()
    document = await asyncio.to_thread(json.loads, body)
    if not isinstance(document, Mapping):
        raise GateUnavailable("Azure's answer is not a list.")
    return document
