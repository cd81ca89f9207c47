"""The door behind JupyterHub's proxy, for those whom the hub knows: users, services and browsers.

A program sends a token of the hub with each request; a person's browser logs in at the hub by
OAuth. The browser's cookie opens pages, and nothing of the API that shows or changes anybody's
jobs: the servers of all users are on the same web site as this door, and what a script there can
make a browser do must not count as what the person wants.
"""

from __future__ import annotations

import logging
import re
import secrets
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPServerRequest
from tornado.netutil import bind_sockets
from tornado.web import Application, HTTPError

from ...caller import Caller
from ...model import BY_HUB
from ...pki import Signing
from ...wire import API_PREFIX
from ..errors import ApiError
from ..handler import SAFE_METHODS
from ..limits import MAX_HEADERS
from .hub_login import (
    CALLBACK,
    LOGIN,
    RETRY_AFTER,
    cookie_token,
    login_handlers,
    make_oauth,
)
from .hub_tokens import HubAway, HubTokens, Model, key_of
from .server import MAX_DRAIN, Caps, DoorError, DoorServer, close_server

if TYPE_CHECKING:
    from jupyterhub.services.auth import HubOAuth

READ = "custom:skyport:jobs:read"
WRITE = "custom:skyport:jobs:write"
ADMIN = "custom:skyport:admin"
CERTIFICATES = "custom:skyport:certificates"

MOST_CONNECTIONS = 2000
"""Connections of the hub's proxy that are open at the same time."""

IDLE_TIMEOUT = 30.0
"""Seconds that a connection may wait for a request: the proxy makes new ones as it likes, and
anybody who reaches it can have it make many."""

GRACE = 30.0
"""Seconds that an open connection outlives the last good word of a hub that is away."""

OPEN = frozenset({"/", "/api/docs", f"{API_PREFIX}/openapi.json", f"{API_PREFIX}/version"})
"""What is the same for all: it takes no scope but that to come in, or a browser's cookie."""

_TOKEN = re.compile(r"(?:token|bearer) +([\x21-\x7e]{1,512})", re.IGNORECASE)

log = logging.getLogger("skyport.api")


@dataclass(frozen=True)
class HubOptions:
    """Where the hub is, and where it finds this door.

    Attributes
    ----------
    url
        ``http://host:port`` to listen on, which is the service's ``url`` in the hub's
        configuration.
    prefix
        Path of the service at the proxy, such as ``/services/skyport/``.
    api_url
        Of the hub's REST API.
    api_token
        The service's own token.
    check_interval
        Seconds for which the hub's word on a token is believed.
    """

    url: str
    prefix: str
    api_url: str
    api_token: str = field(repr=False)
    check_interval: float = 0.3

    @property
    def root(self) -> str:
        """The prefix without its last slash: what all paths begin with."""
        return "/" + self.prefix.strip("/")

    @property
    def name(self) -> str:
        """The service's name at the hub."""
        return self.root.rpartition("/")[2]

    @property
    def address(self) -> tuple[str, int]:
        """Where to listen. Raises DoorError for a URL that does not say."""
        try:
            parts = urlsplit(self.url)
            scheme, host, port = parts.scheme, parts.hostname, parts.port
        except ValueError:
            scheme, host, port = "", None, None
        if scheme != "http" or not host or not port:
            raise DoorError(
                f"hub_door_url ({self.url!r}): must be http://HOST:PORT, the same as the service's "
                "url in jupyterhub_config.py."
            )
        return host, port


class HubCredential:
    """A token of the hub in the hands of a caller.

    Parameters
    ----------
    identity : HubIdentity
        Asks the hub.
    token : str
        The token.
    caller : Caller
        Whom it made its holder when the request came in.
    scopes : collection of str
        One of these it needed.
    """

    def __init__(
        self, identity: HubIdentity, token: str, caller: Caller, scopes: Collection[str] = ()
    ) -> None:
        self._identity = identity
        self._token = token
        self._caller = caller
        self._scopes = scopes

    @property
    def key(self) -> str:
        """Names the token without giving it away."""
        return f"hub-{key_of(self._token)}"

    async def valid(self) -> bool:
        """Whether the hub still says of the token what it said at first.

        While the hub is away, so it is for half a minute.
        """
        tokens = self._identity.tokens
        try:
            model = await tokens.look_up(self._token)
        except HubAway:
            known = tokens.known(self._token)
            if known is None or tokens.clock() - known[1] > GRACE:
                return False
            model = known[0]
        if model is None or self._identity.caller_of(model) != self._caller:
            return False
        return not self._scopes or _has(model, *self._scopes)


class HubIdentity:
    """Knows the caller by a token of the hub.

    Parameters
    ----------
    tokens : HubTokens
        Asks the hub.
    options : HubOptions
        The door's place at the hub.
    cookie : callable
        The token in a browser's cookie, if there is one.
    """

    schemes = ("token",)

    def __init__(
        self,
        tokens: HubTokens,
        options: HubOptions,
        cookie: Callable[[HTTPServerRequest], str | None],
    ) -> None:
        self.tokens = tokens
        self._options = options
        self.cookie = cookie

    async def __call__(self, request: HTTPServerRequest) -> Caller:
        """The caller. Raises ApiError 401, 403, or 503 when the hub cannot be asked."""
        path = request.path.removeprefix(self._options.root)
        everybody = path in OPEN and request.method in SAFE_METHODS
        token = _header_token(request) or (self.cookie(request) if everybody else None)
        if token is None:
            raise _unauthorized("Send a token of JupyterHub: 'Authorization: token …'.")
        return await self.recognize(token, () if everybody else (READ, WRITE, ADMIN))

    async def recognize(self, token: str, scopes: Collection[str] = ()) -> Caller:
        """Whom a token makes its holder, with one of ``scopes`` at least, if there are any.

        Raises as a call does.
        """
        model = await self._look_up(token)
        if model is None:
            raise _unauthorized("JupyterHub does not know this token, or not any more.")
        caller = self.caller_of(model)
        if caller is None:
            raise _missing(f"access:services!service={self._options.name}")
        if scopes and not _has(model, *scopes):
            raise _missing(next(iter(scopes)))
        return replace(caller, credential=HubCredential(self, token, caller, scopes))

    def caller_of(self, model: Model) -> Caller | None:
        """Who holds a token that the hub describes so; None if it may not come in."""
        name, scopes = str(model["name"]), frozenset(model["scopes"])
        access = "access:services"
        if scopes.isdisjoint({access, f"{access}!service={self._options.name}"}):
            return None
        service = model.get("kind") == "service"
        admin = ADMIN in scopes
        return Caller(
            # No user's name has a slash: a service cannot pass for the user of its name.
            name=f"service/{name}" if service else name,
            admin=admin,
            may_name_owner=service and admin,
            may_write=_has(model, WRITE, ADMIN),
            trusted=service and admin,
            signing=Signing(BY_HUB) if _may_sign(model) else None,
        )

    async def _look_up(self, token: str) -> Model | None:
        try:
            return await self.tokens.look_up(token)
        except HubAway as error:
            log.warning("JupyterHub could not be asked about a token: %s", error)
            message = "JupyterHub does not answer, so nobody can be let in; try again shortly."
            headers = {"Retry-After": str(RETRY_AFTER)}
            raise ApiError(503, "hub_away", message, headers=headers) from None


class HubDoor:
    """A port that is being served to the hub's proxy. Made by :func:`hub_door`."""

    def __init__(self, server: HTTPServer, application: Application, tokens: HubTokens) -> None:
        self._server = server
        self._application = application
        self._tokens = tokens

    async def close(self) -> None:
        """Stop serving and end what is open. Idempotent."""
        await close_server(self._server, self._application)
        await self._tokens.close()


def hub_sockets(options: HubOptions) -> list[socket.socket]:
    """Take the door's port, long before anything is served there.

    A hub gives a service that it manages half a minute to be there.

    Raises
    ------
    DoorError
        The URL is wrong, or its port is not to be had.
    """
    host, port = options.address
    try:
        return bind_sockets(port, host)
    except OSError as error:
        raise DoorError(
            f"Cannot listen on {host}:{port} for JupyterHub: {error.strerror}. Stop what uses this "
            "port, or change the service's url in jupyterhub_config.py (hub_door_url, if the core "
            "is not started by the hub)."
        ) from error


def hub_door(
    application: Application, options: HubOptions, sockets: Collection[socket.socket]
) -> HubDoor:
    """Serve the API to those who come by JupyterHub's proxy.

    Parameters
    ----------
    application : Application
        Made by :func:`~..application.make_application` with the prefix ``options.root``, and
        served by this door only.
    options : HubOptions
        The door's place at the hub.
    sockets : collection of socket
        Made by :func:`hub_sockets`.
    """
    oauth = make_oauth(options.root, options.name, options.api_url, options.api_token)
    tokens = HubTokens(_asking(oauth), interval=options.check_interval)
    secret = secrets.token_bytes(32)

    def cookie(request: HTTPServerRequest) -> str | None:
        return cookie_token(request, secret, oauth.cookie_name)

    identity = HubIdentity(tokens, options, cookie)
    application.settings.update(
        identify=identity,
        cookie_secret=secret,
        login_page=options.root + LOGIN,
    )
    root = re.escape(options.root)
    login, callback = login_handlers(oauth, options.root, cookie, identity.recognize, OPEN)
    application.add_handlers(".*", [(root + LOGIN, login), (root + CALLBACK, callback)])
    # All come from the proxy's address, so none of them is counted by itself.
    server = DoorServer(
        application,
        caps=Caps(MOST_CONNECTIONS),
        max_body_size=MAX_DRAIN,
        max_header_size=MAX_HEADERS,
        idle_connection_timeout=IDLE_TIMEOUT,
    )
    server.add_sockets(sockets)
    return HubDoor(server, application, tokens)


def _asking(oauth: HubOAuth) -> Callable[[str], Any]:
    async def ask(token: str) -> Model | None:
        try:
            model: Model | None = await oauth.user_for_token(token, use_cache=False, sync=False)
        except (HTTPError, OSError, ValueError) as error:
            raise HubAway(str(error)) from error
        return model

    return ask


def _header_token(request: HTTPServerRequest) -> str | None:
    match = _TOKEN.fullmatch(request.headers.get("Authorization", "").strip())
    return match[1] if match else None


def _has(model: Model, *scopes: str) -> bool:
    """Whether a token has one of these scopes, for its owner at least."""
    own = f"!{model.get('kind', 'user')}={model['name']}"
    return not frozenset(model["scopes"]).isdisjoint(
        {one for scope in scopes for one in (scope, scope + own)}
    )


def _may_sign(model: Model) -> bool:
    """Whether a token gets its user a certificate, which opens more doors than the hub's."""
    return model.get("kind") == "user" and _has(model, CERTIFICATES)


def _missing(scope: str) -> ApiError:
    return ApiError(403, "forbidden", f"This needs a token with the scope {scope}.")


def _unauthorized(message: str) -> ApiError:
    headers = {"WWW-Authenticate": 'Bearer realm="Sky Port"'}
    return ApiError(401, "unauthorized", message, headers=headers)
