"""A plain client of the endpoint, which shows answers as they come."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp
from multidict import CIMultiDictProxy

from tests.infra.arm.endpoint import ArmEndpoint


@dataclass(frozen=True)
class Reply:
    """An answer.

    Attributes
    ----------
    status
        The HTTP status.
    headers
        Case-insensitive.
    body
        Parsed JSON; text when it is none; None when there is no body.
    """

    status: int
    headers: CIMultiDictProxy[str]
    body: Any

    @property
    def code(self) -> str:
        """The code of the error."""
        return str(self.body["error"]["code"])

    @property
    def message(self) -> str:
        """The message of the error."""
        return str(self.body["error"]["message"])


class RawClient:
    """HTTP with a bearer token; an async context manager.

    Parameters
    ----------
    endpoint
        Whom to talk to.
    version
        The api-version of requests that do not bring their own.
    """

    def __init__(self, endpoint: ArmEndpoint, version: str = "2021-07-01") -> None:
        self.endpoint = endpoint
        self.token: str | None = None
        self._version = version
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> RawClient:
        context = ssl.create_default_context(cafile=str(self.endpoint.ca_file))
        self._session = aiohttp.ClientSession(
            self.endpoint.url, connector=aiohttp.TCPConnector(ssl=context)
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._session.close()

    async def login(self, **form: str) -> Reply:
        """Ask for a token; parts of the request may be replaced."""
        full = {
            "grant_type": "client_credentials",
            "client_id": self.endpoint.client_id,
            "client_secret": self.endpoint.client_secret,
            "scope": f"{self.endpoint.url}/.default",
        } | form
        tenant = full.pop("tenant", self.endpoint.tenant_id)
        async with self._session.post(f"/{tenant}/oauth2/v2.0/token", data=full) as response:
            return Reply(response.status, response.headers, await response.json())

    async def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        **query: Any,
    ) -> Reply:
        """Send one request; a path may be a whole URL, which then has its own query.

        Parameters
        ----------
        method, path, body
            The request; the body is sent as JSON.
        headers
            Further headers.
        query
            Further parameters, beside the api-version.
        """
        if self.token is None:
            self.token = (await self.login()).body["access_token"]
        path = path.removeprefix(self.endpoint.url)
        if "api-version=" not in path:
            query.setdefault("api-version", self._version)
        sent = {"Authorization": f"Bearer {self.token}", **(headers or {})}
        async with self._session.request(
            method, path, json=body, params=query or None, headers=sent
        ) as response:
            text = await response.text()
            json = "json" in response.headers.get("Content-Type", "") and text
            return Reply(
                response.status, response.headers, await response.json() if json else text or None
            )

    async def polled(self, reply: Reply) -> list[Reply]:
        """Follow a long-running operation to its end, as clients do: what was read on the way."""
        url = reply.headers.get("Azure-AsyncOperation") or reply.headers.get("Location")
        found: list[Reply] = []
        while url:
            found.append(await self("GET", url))
            last = found[-1]
            status = last.body.get("status") if isinstance(last.body, dict) else None
            if last.status != 202 and status not in ("InProgress", "Running"):
                break
            await self.endpoint.arm.clock.sleep(0.005)
        return found
