"""Requests that pages of other web sites have a browser send."""

from __future__ import annotations

from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from .errors import ApiError

OWN_SITE = frozenset({"same-origin", "none"})
"""What a browser says in ``Sec-Fetch-Site`` of a page of ours, and of what its user typed."""


def check_origin(request: HTTPServerRequest) -> None:
    """Raises ApiError 403 for a request that a page from elsewhere had a browser send.

    A browser adds the certificate, or the cookie, of its user to whatever any page sends. It also
    says which page that was; programs send neither header.
    """
    origin = request.headers.get("Origin")
    if origin is not None and _host(origin) != request.host.lower():
        message = f"Pages of {origin[:200]!r} may not use this address."
        raise ApiError(403, "foreign_origin", message, "Origin")
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site.strip().lower() not in OWN_SITE:
        message = f"Pages of other sites ({site[:60]!r}) may not use this address."
        raise ApiError(403, "foreign_origin", message, "Sec-Fetch-Site")


def _host(origin: str) -> str:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""
