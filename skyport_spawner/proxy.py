"""JupyterHub's proxy in pure Python, with answers passed on as they come.

``python -m skyport_spawner.proxy`` takes the options of PyPI's configurable-http-proxy and is that
program but for two things. The original reads an answer to its end, for 20 s at most, before it
passes anything on: a server's progress would reach the browser only when all is over, a long
download not at all. And it does not tell the browser that a server's websocket has ended: a
notebook would wait for ever for a cell on a machine that is gone. Where the Node.js proxy is
installed, this module is not needed.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import aiohttp
from configurable_http_proxy import configproxy
from configurable_http_proxy.cli import main as proxy_main
from configurable_http_proxy.handlers import ProxyHandler
from tornado.httpclient import HTTPClientError
from tornado.iostream import StreamClosedError
from tornado.web import Application
from tornado.websocket import WebSocketClientConnection, WebSocketError, websocket_connect
from yarl import URL

CONNECT_TIMEOUT = 20.0
"""Seconds to connect to a target; an answer itself may take as long as it takes."""

MESSAGE_SIZE = 256 * 2**20
"""Bytes of the largest websocket message: a notebook's output comes in one."""

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection, not of the message (RFC 9110, section 7.6.1)."""


class StreamingProxyHandler(ProxyHandler):
    """Carries requests to their target and its answers back, piece by piece."""

    ws_client: WebSocketClientConnection | None  # type: ignore[assignment]
    _session: aiohttp.ClientSession | None = None
    _carrying: asyncio.Task[None] | None = None
    _gone = False

    async def call_proxy(self, path: str | None = None) -> None:
        """Answer with what the target answers; 503 when it cannot be reached."""
        url = await self.get_target_url(path)
        if url is None:
            return
        try:
            self._carrying = asyncio.ensure_future(self._carry(url))
            await self._carrying
        except asyncio.CancelledError:
            if not self._gone:
                raise
        except StreamClosedError:
            self._gone = True
        except (aiohttp.ClientError, OSError, asyncio.TimeoutError) as error:
            if self._headers_written and self.request.connection is not None:
                # The status is out already: a broken answer must look broken.
                self.detach().close()
            else:
                await self.handle_proxy_error(503, error)

    def on_connection_close(self) -> None:
        """The browser left: stop asking the target."""
        self._gone = True
        if self._carrying is not None:
            self._carrying.cancel()
        super().on_connection_close()

    async def _carry(self, url: str) -> None:
        request = self._get_proxy_request(url)
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        async with self._client().request(
            self.request.method or "GET",
            URL(url, encoded=True),
            headers=headers,
            data=self.request.body or None,
            allow_redirects=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        ) as answer:
            self._begin(answer)
            async for piece in answer.content.iter_any():
                self.write(piece)
                await self.flush()
        if not self._gone:
            await self.finish()

    def _begin(self, answer: aiohttp.ClientResponse) -> None:
        self.set_status(answer.status, answer.reason)
        for name in ("Server", "Content-Type", "Date"):
            self.clear_header(name)
        for name, value in answer.headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.add_header(name, value)

    async def start_ws_client(self, path: str | None = None) -> None:
        """Connect to the target's websocket, before the browser is told that it has one."""
        self.closed = False
        url = await self.get_target_url(path)
        if url is None:
            return
        request = self._get_proxy_request(f"ws{url.removeprefix('http')}")
        try:
            self.ws_client = await asyncio.wait_for(
                websocket_connect(
                    request, on_message_callback=self._pass_on, max_message_size=MESSAGE_SIZE
                ),
                CONNECT_TIMEOUT,
            )
        except HTTPClientError as error:
            self.set_status(error.code)
            self.write(error.message or "")
            await self.finish()
        except (OSError, StreamClosedError, WebSocketError, asyncio.TimeoutError) as error:
            await self.handle_proxy_error(503, error)

    def open(self, *_: str) -> None:
        """The browser has its websocket; the target's may have ended meanwhile."""
        if self.ws_client is None:
            self.close()

    def _pass_on(self, message: str | bytes | None) -> None:
        """Take a message of the target; None is its end."""
        if message is not None:
            if not self.closed:
                self._note_activity()
                self.write_message(message, binary=isinstance(message, bytes))
            return
        target, self.ws_client = self.ws_client, None
        code = target.close_code if target is not None else None
        # Such as say that there was no code may not be sent.
        self.close(code if code not in (1005, 1006, 1015) else None)

    def _note_activity(self) -> None:
        if self.target and self.target["prefix"]:
            self.proxy.update_last_activity(self.target["prefix"])

    def compute_etag(self) -> None:
        """No tag of the proxy's own: the answer is the target's."""

    @classmethod
    def _client(cls) -> aiohttp.ClientSession:
        if StreamingProxyHandler._session is None:
            StreamingProxyHandler._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT),
            )
        return StreamingProxyHandler._session


def _application(rules: list[Any], **settings: Any) -> Application:
    return Application(rules, websocket_max_message_size=MESSAGE_SIZE, **settings)


def main() -> None:
    """Run the proxy with the options of the command line."""
    # The library offers no way to say these, so the names that it uses are replaced.
    setattr(configproxy, "ProxyHandler", StreamingProxyHandler)  # noqa: B010
    setattr(configproxy, "Application", _application)  # noqa: B010
    sys.exit(proxy_main())


if __name__ == "__main__":
    main()
