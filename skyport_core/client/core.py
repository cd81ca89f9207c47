"""The asynchronous client."""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType

from .certificates import CertificateCalls
from .connections import ConnectionCalls
from .endpoints import Endpoint, SocketEndpoint, endpoint_of
from .files import FileCalls
from .jobs import JobCalls
from .sites import SiteCalls
from .streams import StreamCalls
from .transport import Transport


class CoreClient(JobCalls, StreamCalls, FileCalls, ConnectionCalls, SiteCalls, CertificateCalls):
    """Talks to a core.

    A client may be made anywhere, belongs to the event loop that first uses it, and should be
    closed, by :meth:`close` or as an async context manager.

    Calls are idempotent unless they say otherwise. ``wait`` is how long, in seconds, a call goes
    on trying to reach a core that is away; with 0 it tries once. A try that has begun may take
    ``timeout`` on top, and a core that asks for patience (429) is given at least ten seconds.
    Every call raises :class:`CoreUnavailable` when the core cannot be reached, which is
    :class:`Untrusted` when certificates are the cause, and :class:`CoreError` when it refuses.

    Parameters
    ----------
    endpoint : path or Endpoint, optional
        The core's socket, or another way to it: :class:`HttpsEndpoint`, :class:`HubEndpoint`;
        None: :func:`default_socket`.
    timeout : float
        Seconds that one answer may take.
    """

    def __init__(
        self, endpoint: str | os.PathLike[str] | Endpoint | None = None, *, timeout: float = 30.0
    ) -> None:
        self.endpoint = endpoint_of(endpoint)
        self._transport = Transport(self.endpoint, timeout)

    @property
    def socket_path(self) -> Path | None:
        """The core's socket, if that is the way to it."""
        return self.endpoint.path if isinstance(self.endpoint, SocketEndpoint) else None

    async def __aenter__(self) -> CoreClient:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections. The client may be used again afterwards. Idempotent."""
        await self._transport.close()
