"""The clients of an administrator's commands: the gate's own, and those for groups and rights."""

from __future__ import annotations

import contextlib
from types import TracebackType

from azure.mgmt.authorization.aio import AuthorizationManagementClient
from azure.mgmt.resource.resources.aio import ResourceManagementClient

from .clients import Clients, client_options
from .settings import AzureSettings

DEADLINE = 60.0


class AdminClients(Clients):
    """Clients for looking at a subscription and preparing it; an async context manager.

    Parameters
    ----------
    settings
        Where Azure is and by what right.
    """

    def __init__(self, settings: AzureSettings) -> None:
        super().__init__(settings, DEADLINE)
        self._settings = settings
        self._more = contextlib.AsyncExitStack()
        self.resources: ResourceManagementClient
        self.authorization: AuthorizationManagementClient

    async def __aenter__(self) -> AdminClients:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Make the clients; nothing is sent yet. ConfigurationError if a file is not usable."""
        await super().open()
        options = client_options(self._settings)
        options["polling_interval"] = self._settings.operation_interval
        subscription = self._settings.subscription
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(super().close)
            self.resources = await stack.enter_async_context(
                ResourceManagementClient(self.credential, subscription, **options)
            )
            self.authorization = await stack.enter_async_context(
                AuthorizationManagementClient(self.credential, subscription, **options)
            )
            self._more = stack.pop_all()

    async def close(self) -> None:
        """Close clients and credential. Idempotent."""
        await self._more.aclose()
