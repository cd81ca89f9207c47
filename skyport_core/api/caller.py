"""How it is found out who calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from tornado.httputil import HTTPServerRequest

from ..caller import Caller

Identify = Callable[[HTTPServerRequest], Awaitable[Caller]]
"""Finds out who sent a request; raises :class:`~.errors.ApiError` 401 or 403 to refuse it."""
