"""What all handlers of the API share: caller, body, query, errors and the access log."""

from __future__ import annotations

import asyncio
import logging
import re
import traceback
import uuid
from http import HTTPStatus
from types import TracebackType
from typing import Any, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from tornado.web import Finish, HTTPError, RequestHandler, stream_request_body

from ..wire import ErrorBody, ErrorView
from .caller import Caller, Identify
from .errors import ApiError, from_query, from_validation
from .services import ServiceError, Services

MAX_BODY = 32 * 2**20
"""Bytes of the largest body that is accepted."""

THREAD_BODY = 2**18
"""Bytes from which on a body is parsed in a thread, so that the event loop is not held up."""

access_log = logging.getLogger("skyport.access")
api_log = logging.getLogger("skyport.api")

Running = set[asyncio.Task[Any]]
"""The requests that are being answered."""

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class ApiBase(RequestHandler):
    """Base of all that answers at the API: who calls, what that allows, queries and errors."""

    caller: Caller
    request_id: str

    def initialize(self, services: Services) -> None:
        """Take over what :func:`~.application.make_application` hands to every handler."""
        self.services = services

    def set_default_headers(self) -> None:
        """JSON, never cached."""
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        given = self.request.headers.get("X-Request-Id", "")
        if not hasattr(self, "request_id"):
            self.request_id = (
                given if re.fullmatch(r"[A-Za-z0-9._-]{1,64}", given) else uuid.uuid4().hex
            )
        self.set_header("X-Request-Id", self.request_id)

    async def prepare(self) -> None:
        """Find out who calls, and whether the method is theirs to use."""
        task = asyncio.current_task()
        if task is not None:
            running: Running = self.settings["running"]
            running.add(task)
            task.add_done_callback(running.discard)
        identify: Identify | None = self.settings.get("identify")
        if identify is None:
            raise ApiError(403, "forbidden", "This door does not know its callers.")
        self.caller = await identify(self.request)
        if self.request.method not in SAFE_METHODS and not self.caller.may_write:
            message = f"{self.caller.name} may look but not change anything with this token."
            raise ApiError(403, "forbidden", message)

    def compute_etag(self) -> str | None:
        """None: answers change all the time and are small."""
        return None

    def query(self, name: str, adapter: TypeAdapter[Value], default: Value) -> Value:
        """An argument of the query, read by ``adapter``. Raises ApiError 422 naming it."""
        text = self.get_query_argument(name, None)
        if text is None:
            return default
        try:
            return adapter.validate_python(text)
        except ValidationError as error:
            refused = from_query(error, name)
        raise refused

    def owner(self, noun: str) -> str | None:
        """The owner whose ``noun`` are asked for by the query; None: an admin asks for all.

        Raises ApiError 403 for another owner's.
        """
        owner = self.get_query_argument("owner", None)
        if self.caller.admin:
            return owner
        if owner not in (None, self.caller.name):
            raise ApiError(
                403, "forbidden", f"The {noun} of {owner} are not yours to see.", "owner"
            )
        return self.caller.name

    def query_as(self, model: type[Model]) -> Model:
        """The whole query as ``model``. Raises ApiError 422 naming the argument at fault."""
        given = {name: self.get_query_argument(name) for name in self.request.query_arguments}
        try:
            return model.model_validate(given)
        except ValidationError as error:
            refused = from_validation(error, model)
        raise refused

    def reply(self, view: BaseModel, status: int = 200) -> None:
        """Answer with a model as JSON."""
        self.set_status(status)
        self.finish(view.model_dump_json())

    def require_admin(self, doing: str) -> None:
        """Raises ApiError 403 unless the caller is an admin; ``doing`` completes the message."""
        if not self.caller.admin:
            raise ApiError(403, "forbidden", f"{self.caller.name} may not {doing}: admins only.")

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """Every error as JSON; what the caller may not know stays in the log."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        answer = _answer(error, status_code, self.request_id, self.request.path)
        for name, value in answer.headers.items():
            self.set_header(name, value)
        if answer.status == 405:
            self.set_header("Allow", ", ".join(self._allowed_methods()))
        self.set_status(answer.status)
        body = ErrorBody(code=answer.code, message=answer.message, field=answer.field)
        self.finish(ErrorView(error=body).model_dump_json())

    def log_exception(
        self,
        typ: type[BaseException] | None,
        value: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        """Log the unexpected, with its traceback but without the values it speaks of."""
        if isinstance(value, (ApiError, ServiceError, HTTPError, Finish)):
            return
        if isinstance(value, ValidationError):
            # Its text repeats its input, which may be a secret.
            frames = "".join(traceback.format_tb(tb))
            api_log.error("Request %s: %s\n%s", self.request_id, value.title, frames)
            return
        info = (typ, value, tb) if typ and value else None
        api_log.error("Request %s failed", self.request_id, exc_info=cast(Any, info))

    def _allowed_methods(self) -> list[str]:
        own = type(self)
        return [
            method
            for method in ("GET", "PUT", "POST", "PATCH", "DELETE")
            if getattr(own, method.lower()) is not getattr(RequestHandler, method.lower())
        ]


@stream_request_body
class ApiHandler(ApiBase):
    """Base of the handlers that take a small body or none.

    The body is taken in as a stream to answer 413 to one that is too large: Tornado's own limit
    would close the connection without an answer.
    """

    def initialize(self, services: Services) -> None:
        """Take over what :func:`~.application.make_application` hands to every handler."""
        super().initialize(services)
        self._body = bytearray()
        self._too_large = False

    def data_received(self, chunk: bytes) -> None:
        """Collect the body; what goes beyond the limit is read and dropped."""
        if len(self._body) + len(chunk) > MAX_BODY:
            self._too_large = True
            self._body.clear()
        if not self._too_large:
            self._body += chunk

    async def read(self, model: type[Model]) -> Model:
        """The request's body as ``model``. Raises ApiError 400, 413 or 422."""
        if self._too_large:
            limit = MAX_BODY // 2**20
            raise ApiError(413, "too_large", f"The body is larger than {limit} MiB.")
        body = bytes(self._body)
        self._body.clear()
        try:
            if len(body) < THREAD_BODY:
                return model.model_validate_json(body)
            return await asyncio.to_thread(model.model_validate_json, body)
        except ValidationError as error:
            refused = from_validation(error, model)
        raise refused


class NotFound(ApiHandler):
    """Whatever has no route."""

    async def prepare(self) -> None:
        """Answer 404, but only to those who may call at all."""
        await super().prepare()
        raise ApiError(404, "not_found", f"There is nothing at {self.request.path}.")


def log_request(handler: RequestHandler) -> None:
    """Write one line of access log: never the query or a body, which may hold secrets."""
    status = handler.get_status()
    caller = getattr(handler, "caller", None)
    access_log.log(
        logging.ERROR if status >= 500 else logging.INFO,
        "%s %s %d %.1f ms caller=%s id=%s",
        handler.request.method,
        handler.request.path,
        status,
        1000 * handler.request.request_time(),
        caller.name if caller else "-",
        getattr(handler, "request_id", "-"),
    )


def _answer(error: object, status: int, request_id: str, path: str) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, ServiceError):
        return ApiError(error.status, error.code, error.message, error.field)
    if status == 405:
        return ApiError(405, "method_not_allowed", f"{path} does not take this method.")
    if status < 500:
        phrase = HTTPStatus(status).phrase
        return ApiError(status, phrase.lower().replace(" ", "_"), f"{phrase}: {path}")
    message = f"Something went wrong inside the core; its log tells more under id {request_id}."
    return ApiError(500, "internal", message)
