"""The SDK's clients and the credential that they share.

Every call waits its turn and then has a deadline; what it raises is translated to a GateError. The
SDK itself tries again only what broke on the wire while reading: it must neither sleep through a
Retry-After nor ask for a machine twice behind the gate's back.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterable, Awaitable, Coroutine, Mapping
from typing import Any, TypeVar

import aiohttp
from azure.core.credentials_async import AsyncTokenCredential
from azure.identity.aio import (
    CertificateCredential,
    ClientSecretCredential,
    DefaultAzureCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.mgmt.compute.aio import ComputeManagementClient
from azure.mgmt.network.aio import NetworkManagementClient

from ..gate import ConfigurationError
from ..timing import in_time
from . import budget
from .access import AzureAccess
from .budget import Budget
from .errors import translate
from .meanings import Subject

T = TypeVar("T")

ONCE: Mapping[str, Any] = {"retry_total": 0}
"""Options of calls that change something: sent once."""

READS: Mapping[str, Any] = {
    "retry_total": 1,
    "retry_status": 0,
    "retry_backoff_factor": 0.1,
    "connection_timeout": 10,
    "read_timeout": 30,
}
"""Options of calls that change nothing: a broken connection is tried once more."""

USER_AGENT = "skyport"


class Clients:
    """Opens clients for the settings' subscription.

    Parameters
    ----------
    access
        Where Azure is and by what right.
    deadline
        Seconds that a call may take.

    Attributes
    ----------
    reads, writes, deletes
        How many calls of each kind Azure allows.
    """

    def __init__(self, access: AzureAccess, deadline: float) -> None:
        self._access = access
        self._deadline = deadline
        self.reads = Budget(budget.READS)
        self.writes = Budget(budget.WRITES)
        self.deletes = Budget(budget.DELETES)
        self._closing = contextlib.AsyncExitStack()
        self.credential: AsyncTokenCredential
        self.compute: ComputeManagementClient
        self.network: NetworkManagementClient
        self.http: aiohttp.ClientSession

    async def open(self) -> None:
        """Make the clients; nothing is sent yet. ConfigurationError if a file is not usable."""
        secrets = await asyncio.to_thread(_read_files, self._access)
        async with contextlib.AsyncExitStack() as stack:
            credential = self.credential = make_credential(self._access, secrets)
            stack.push_async_callback(credential.close)
            options = client_options(self._access)
            subscription = self._access.subscription
            self.compute = await stack.enter_async_context(
                ComputeManagementClient(credential, subscription, **options)
            )
            self.network = await stack.enter_async_context(
                NetworkManagementClient(credential, subscription, **options)
            )
            context: ssl.SSLContext | bool = True
            if self._access.ca_file:
                context = await asyncio.to_thread(_trust, self._access.ca_file)
            timeout = aiohttp.ClientTimeout(total=self._deadline)
            connector = aiohttp.TCPConnector(ssl=context)
            self.http = await stack.enter_async_context(
                aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=True)
            )
            self._closing = stack.pop_all()

    async def close(self) -> None:
        """Close clients and credential. Idempotent."""
        await self._closing.aclose()

    async def call(
        self,
        awaitable: Awaitable[T],
        subject: Subject | None = None,
        *,
        raw: bool = False,
        spend: Budget | None = None,
    ) -> T:
        """The result of a call of the SDK, within the deadline once it is its turn.

        Parameters
        ----------
        awaitable
            The call, not begun yet.
        subject
            What it is about, for the words of an error.
        raw
            Raise what the SDK raised, for a caller that looks into it, instead of GateError.
        spend
            What it counts for; by default a read.
        """
        try:
            await (spend or self.reads).turn()
        except asyncio.CancelledError:
            if isinstance(awaitable, Coroutine):
                awaitable.close()
            raise
        try:
            return await in_time(awaitable, self._deadline)
        except Exception as error:
            if raw:
                raise
            raise translate(error, subject) from error

    async def all(self, pages: AsyncIterable[T]) -> list[T]:
        """All items of a list of the SDK, within the deadline. Raises GateError."""

        async def collect() -> list[T]:
            return [item async for item in pages]

        return await self.call(collect())


def client_options(access: AzureAccess) -> dict[str, Any]:
    """Keyword arguments of a client of the SDK."""
    return {
        **READS,
        "base_url": access.arm_url,
        "credential_scopes": [access.scope],
        "user_agent": USER_AGENT,
        **_verify(access),
    }


def wire(model: Any) -> dict[str, Any]:
    """A model of the SDK as the Resource Manager sent it; some packages have older models."""
    body: dict[str, Any] = (
        model.serialize(keep_readonly=True) if hasattr(model, "serialize") else model.as_dict()
    )
    return body


def make_credential(access: AzureAccess, files: Mapping[str, bytes | str]) -> AsyncTokenCredential:
    """The credential that the settings name; ``files`` as :func:`_read_files` gives them."""
    authority = {"authority": access.authority_url, **_verify(access), "retry_total": 2}
    kind = access.credential
    if kind == "managed_identity":
        return ManagedIdentityCredential(client_id=access.client_id or None, retry_total=2)
    if kind == "workload_identity":
        given = {
            "tenant_id": access.tenant_id,
            "client_id": access.client_id,
            "token_file_path": access.federated_token_file,
        }
        named = {name: value for name, value in given.items() if value}
        try:
            return WorkloadIdentityCredential(**named, **authority)
        except ValueError as error:
            raise ConfigurationError(
                f"The workload identity is not complete: {error}",
                hint="Set tenant_id, client_id and federated_token_file of c.AzureGate.",
            ) from error
    if kind == "certificate":
        try:
            return CertificateCredential(
                access.tenant_id,
                access.client_id,
                certificate_data=bytes(files["certificate_file"]),  # type: ignore[arg-type]
                **authority,
            )
        except ValueError as error:
            raise ConfigurationError(
                f"certificate_file does not hold a certificate and its key: {error}",
                hint="It has to be a PEM file with both.",
            ) from error
    if kind == "client_secret":
        secret = str(files["client_secret_file"])
        return ClientSecretCredential(access.tenant_id, access.client_id, secret, **authority)
    managed = {"managed_identity_client_id": access.client_id} if access.client_id else {}
    return DefaultAzureCredential(**authority, **managed)


def _read_files(access: AzureAccess) -> dict[str, bytes | str]:
    """Secrets by the trait that names their file. Blocks."""
    if access.credential == "client_secret":
        text = access.private_file("client_secret_file").read_text().strip()
        return {"client_secret_file": text}
    if access.credential == "certificate":
        return {"certificate_file": access.private_file("certificate_file").read_bytes()}
    return {}


def _verify(access: AzureAccess) -> dict[str, Any]:
    return {"connection_verify": access.ca_file} if access.ca_file else {}


def _trust(ca_file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"ca_file cannot be read: {error}", hint="Correct c.AzureGate.ca_file."
        ) from error
