"""How a browser logs in at the hub by OAuth, and comes back with a token in a cookie.

Everybody can call these two addresses, so all that they keep and all that they ask the hub for has
an end.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tornado.httputil import HTTPServerRequest
from tornado.web import HTTPError, RequestHandler, decode_signed_value, stream_request_body

from skyport_gates.timing import in_time

from ..errors import ApiError
from ..limits import check_url

if TYPE_CHECKING:
    from jupyterhub.services.auth import HubOAuth

LOGIN = "/login"
CALLBACK = "/oauth_callback"

MOST_LOGINS = 1000
"""Logins that have begun and not ended; of more, the oldest are forgotten."""

AT_ONCE = 16
"""Logins that the hub is asked about at the same time."""

PATIENCE = 10.0
"""Seconds that the hub has to end a login."""

RETRY_AFTER = 2
"""Seconds after which a request may be tried again that the hub was not there for."""

Recognize = Callable[[str], Awaitable[object]]
"""Whom a token of the hub makes its holder; raises ApiError."""

log = logging.getLogger("skyport.api")


def make_oauth(root: str, name: str, api_url: str, api_token: str) -> HubOAuth:
    """The hub's own side of a login, for the service ``name`` at the path ``root``."""
    # Half a second of imports that a core without a hub need not wait for.
    from jupyterhub.services.auth import HubOAuth

    class Bounded(HubOAuth):
        """Forgets the oldest logins when too many have begun."""

        def generate_state(self, next_url: str | None = None, **extra_state: Any) -> str:
            untyped: Any = super()
            state = str(untyped.generate_state(next_url, **extra_state))
            begun.append(state)
            while len(begun) > MOST_LOGINS:
                untyped.clear_oauth_state(begun.popleft())
            return state

    begun: deque[str] = deque()
    base = root.removesuffix(f"services/{name}")
    return Bounded(
        api_url=api_url,
        api_token=api_token,
        base_url=f"{root}/",
        hub_prefix=f"{base.rstrip('/')}/hub/",
        oauth_client_id=f"service-{name}",
        oauth_redirect_uri=root + CALLBACK,
    )


def cookie_token(request: HTTPServerRequest, secret: bytes, name: str) -> str | None:
    """The token in a browser's cookie; None if there is none of ours."""
    cookie = request.cookies.get(name)
    value = decode_signed_value(secret, name, cookie.value) if cookie else None
    return value.decode("ascii", "replace") if value else None


@stream_request_body
class _Step(RequestHandler):
    """A step of a login: takes no body, and tells the log nothing of its address.

    The address holds the code that a token is given for.
    """

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Referrer-Policy", "no-referrer")

    def prepare(self) -> None:
        length = self.request.headers.get("Content-Length", "0")
        if self.request.method != "GET":
            raise HTTPError(405)
        if length != "0" or "Transfer-Encoding" in self.request.headers:
            raise HTTPError(413)
        try:
            check_url(self.request)
        except ApiError as error:
            raise HTTPError(error.status) from None

    def data_received(self, chunk: bytes) -> None:
        """Nothing comes: what would bring something was refused."""

    def get_current_user(self) -> None:
        """Not known: JupyterHub's own way to find out holds up the event loop."""

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        if status_code == 503:
            self.set_header("Retry-After", str(RETRY_AFTER))
        super().write_error(status_code, **kwargs)

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if isinstance(value, HTTPError):
            message = str(value.log_message or "")[:200]
            log.info("A login was refused with %d: %r", value.status_code, message)
        elif typ and value:
            log.error("A login failed", exc_info=(typ, value, tb))


def login_handlers(
    oauth: Any,
    root: str,
    cookie: Callable[[HTTPServerRequest], str | None],
    recognize: Recognize,
    pages: frozenset[str],
) -> tuple[type[RequestHandler], type[RequestHandler]]:
    """JupyterHub's own steps of a login by OAuth, which differ from release to release.

    Parameters
    ----------
    oauth : HubOAuth
        Made by :func:`make_oauth`.
    root : str
        What all paths of the door begin with.
    cookie : callable
        The token in a browser's cookie, if there is one.
    recognize : Recognize
        Asks the hub about a token.
    pages : frozenset of str
        Paths that a browser may be sent on to.
    """
    from jupyterhub.services.auth import HubOAuthCallbackHandler, HubOAuthenticated

    few = asyncio.Semaphore(AT_ONCE)

    class Authenticated(HubOAuthenticated, RequestHandler):
        """JupyterHub's methods before Tornado's."""

    class Login(_Step, Authenticated):
        """Sends a browser to the hub, and when it is back, on to the page it wanted."""

        _hub_auth = oauth

        async def get(self) -> None:
            untyped: Any = self
            wanted = self.get_query_argument("next", "/")
            token = cookie(self.request)
            try:
                if token is None:
                    raise ApiError(401, "unauthorized", "There is no cookie.")
                await recognize(token)
                untyped.redirect(root + (wanted if wanted in pages else "/"))
            except ApiError as error:
                if error.status == 503:
                    raise HTTPError(503, reason="JupyterHub does not answer") from None
                # Who may not come in is told by the hub, and may log in as somebody else there.
                untyped.redirect(untyped.get_login_url())

    class Callback(_Step, HubOAuthCallbackHandler):
        """Takes the browser back from the hub."""

        _hub_auth = oauth

        async def get(self) -> None:
            state = self.get_query_argument("state", "")
            untyped: Any = super()
            begun = self.get_secure_cookie(oauth.get_state_cookie_name(state))
            if not begun and cookie(self.request):
                # A page of a login that has ended, such as by the button for going back.
                untyped.redirect(root + LOGIN)
                return
            if not begun or begun != state.encode():
                raise HTTPError(403, "this browser did not begin it")
            if few.locked():
                raise HTTPError(503, "too many logins at the same time")
            async with few:
                try:
                    await in_time(untyped.get(), PATIENCE)
                except asyncio.TimeoutError:
                    raise HTTPError(503, "the hub does not answer") from None

    return Login, Callback
