"""The gate protocol of the original Sky Port, as its published gate 0.1.8 speaks it.

Every request has a JSON body with the site's credential, what is asked for stands in headers, and
most errors come with status 200 as ``{"error": text or lines of a traceback}``.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import quote

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from yarl import URL

from ..bodies import whole
from ..gate import GateError, GateUnavailable
from .meanings import meaning

GROUP_SUFFIX = "-resource-group"
"""What the gate adds to the name of an Azure partition to name its resource group."""


Model = TypeVar("Model", bound=BaseModel)


class GateUnreachable(GateUnavailable):
    """There was no connection: nothing was asked."""


class Flavor(BaseModel):
    """A node type; ``mem`` and ``storage`` in MB at Azure, in bytes at OpenStack."""

    # Infinity and NaN, which Python reads in JSON, are no sizes.
    model_config = ConfigDict(allow_inf_nan=False)

    name: str
    cpus: float
    gpus: int = 0
    mem: float
    storage: float = 0
    price: float = 0


class Image(BaseModel):
    """A cloud image."""

    id: str
    name: str


class Shown(BaseModel):
    """A partition as the gate shows it."""

    model_config = ConfigDict(frozen=True)

    id: str
    name: str
    master_public_ip: str = ""
    master_private_ip: str = ""
    compute_instances_ips: tuple[str, ...] = ()
    status: str | None = None

    @field_validator("master_public_ip", "master_private_ip", mode="before")
    @classmethod
    def _not_null(cls, value: str | None) -> str:
        return value or ""

    @field_validator("name")
    @classmethod
    def _without_suffix(cls, value: str) -> str:
        return value.removesuffix(GROUP_SUFFIX)


class _Flavors(BaseModel):
    flavors: list[Flavor]


class _Images(BaseModel):
    images: list[Image]


class _Partitions(BaseModel):
    partitions: list[Shown]


class Identity(BaseModel):
    """All that every cloud's answer to a creation tells of the partition."""

    id: str


class Created(BaseModel):
    """Answer to a creation: a partition, an error, or both."""

    partition: Identity | None = None
    error: str | list[str] | None = Field(None)


@dataclass(frozen=True)
class Answer:
    """Status and body of an answer."""

    status: int
    body: Any


class Protocol:
    """Requests to one gate.

    Parameters
    ----------
    base : str
        ``https://HOST:PORT/KIND``, KIND being ``azure`` or ``openstack``.
    tls : SSLContext or None
        None: plain HTTP.
    pem : str
        The credential that goes into every body.
    timeout : float
        Seconds that an answer may take, creations excepted.
    """

    def __init__(self, base: str, tls: ssl.SSLContext | None, pem: str, timeout: float) -> None:
        self._base = base
        self._tls = tls
        self._body = json.dumps({"pem_data": pem})
        self._timeout = timeout

    async def flavors(self, headers: Mapping[str, str]) -> list[Flavor]:
        """The node types."""
        return _read(_Flavors, await self._ask("GET", "/flavors", headers)).flavors

    async def images(self, headers: Mapping[str, str]) -> list[Image]:
        """The cloud images."""
        return _read(_Images, await self._ask("GET", "/images", headers)).images

    async def partitions(self, headers: Mapping[str, str]) -> list[Shown]:
        """All that the gate made, for whomever."""
        return _read(_Partitions, await self._ask("GET", "/partitions", headers)).partitions

    async def partition(self, name: str, headers: Mapping[str, str]) -> Shown | None:
        """One by its name; None when it is not there."""
        answer = await self._ask("GET", f"/partitions/{name}", headers, absent=True)
        return None if answer.status == 404 else _read(Shown, answer)

    async def create(self, headers: Mapping[str, str], timeout: float) -> Created:
        """Make one; the gate answers only when its cloud has taken it up, or made it whole."""
        answer = await self._ask("POST", "/partitions", headers, timeout=timeout, errors=True)
        return _read(Created, answer)

    async def delete(self, identity: str, headers: Mapping[str, str]) -> None:
        """Delete one by its id, which may begin with a slash."""
        place = quote(identity, safe="/:@!$&'()*+,;=~")
        await self._ask("DELETE", f"/partitions/{place}", headers, absent=True)

    async def _ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        *,
        absent: bool = False,
        errors: bool = False,
        timeout: float | None = None,
    ) -> Answer:
        """One request on a connection of its own, as the gate expects it.

        ``absent``: 404 is an answer; ``errors``: so is an error with status 200.
        """
        sent = {"Accept": "application/json", "Content-Type": "application/json", **headers}
        limit = aiohttp.ClientTimeout(total=timeout or self._timeout, sock_connect=5)
        url = URL(self._base + path, encoded=True)
        connector = aiohttp.TCPConnector(ssl=self._tls or False, force_close=True)
        try:
            async with (
                aiohttp.ClientSession(connector=connector) as session,
                session.request(
                    method,
                    url,
                    data=self._body,
                    headers=sent,
                    timeout=limit,
                    # The body holds a private key: it goes nowhere but where it was meant to.
                    allow_redirects=False,
                ) as response,
            ):
                text = (await whole(response)).decode(errors="replace")
        except asyncio.TimeoutError as error:
            raise GateUnavailable(f"The gate at {self._base} did not answer in time") from error
        except aiohttp.ClientConnectorError as error:
            raise GateUnreachable(f"The gate at {self._base} cannot be reached: {error}") from error
        except (aiohttp.ClientError, OSError) as error:
            raise GateUnavailable(
                f"The gate at {self._base} cannot be reached: {error or type(error).__name__}"
            ) from error
        if response.status == 404 and absent:
            return Answer(404, None)
        return Answer(response.status, _checked(response.status, text, errors))


def _checked(status: int, text: str, errors: bool) -> Any:
    """The body of an answer that is none of the gate's many errors."""
    try:
        body = json.loads(text)
    except ValueError:
        body = None
    if status != 200 or not isinstance(body, dict):
        detail = body.get("detail") if isinstance(body, dict) else None
        raise _failed(status, detail or text)
    if body.get("error") and not errors:
        raise meaning(body["error"])
    return body


def _failed(status: int, detail: object) -> GateError:
    told = str(detail)[:300]
    error = GateUnavailable(f"The gate answered with HTTP status {status}: {told}")
    return error if status >= 500 else meaning(told)


def _read(model: type[Model], answer: Answer) -> Model:
    try:
        return model.model_validate(answer.body)
    except ValidationError as error:
        raise GateUnavailable(f"The gate's answer cannot be read: {error.title}") from error
