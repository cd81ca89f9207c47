"""What all handlers of the API share: caller, body, query, errors and the access log."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable
from types import TracebackType
from typing import Any, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError
from tornado.web import Finish, HTTPError, RequestHandler, stream_request_body

from ..caller import Caller
from ..service import ServiceError
from ..wire import ErrorBody, ErrorView
from .caller import Identify
from .conditions import check_match, entity_tag
from .departure import Departure
from .errors import ApiError, answer_to, from_query
from .guard import Guard
from .limits import Flight, Limits, check_url, stays_open
from .media import media_type, read_json
from .operation import Operation, operation_of
from .origin import check_origin
from .pace import Pace, overtakes_body
from .queries import NoQuery, read_query
from .services import Services
from .tracing import make_request_id, work_for

MAX_BODY = 32 * 2**20
"""Bytes of the largest body that is accepted."""

DRAIN = 2**20
"""Bytes of the largest body that is read for nothing, of a request that is refused."""

REFUSED_WAIT = 2.0
"""Seconds that the body of a request which is refused is waited for."""

SMALL = 2**16
"""Bytes of an answer that is not worth counting."""

THREAD_BODY = 2**15
"""Bytes from which on a body is parsed in a thread, so that the event loop is not held up."""

api_log = logging.getLogger("skyport.api")

Running = set[asyncio.Task[Any]]
"""The requests that are being answered."""

Model = TypeVar("Model", bound=BaseModel)
Value = TypeVar("Value")


SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


@stream_request_body
class ApiBase(RequestHandler):
    """Base of all that answers at the API: who calls, what that allows, queries and errors.

    Bodies are taken in as streams: Tornado would keep one of any length, whoever sends it, before
    anything else is looked at.
    """

    caller: Caller
    request_id: str
    flight: Flight | None = None
    _departure: Departure | None = None

    def initialize(self, services: Services) -> None:
        """Take over what :func:`~.application.make_application` hands to every handler."""
        self.services = services

    def set_default_headers(self) -> None:
        """JSON, never cached."""
        self.clear_header("Server")
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Cache-Control", "no-store")
        self.set_header("X-Content-Type-Options", "nosniff")
        if not hasattr(self, "request_id"):
            self.request_id = make_request_id(self.request.headers.get("X-Request-Id", ""))
        self.set_header("X-Request-Id", self.request_id)

    async def prepare(self) -> None:
        """Find out who calls, and whether the method is theirs to use."""
        work_for(self.request_id)
        gone = self._answering()
        identify: Identify | None = self.settings.get("identify")
        if identify is None:
            raise ApiError(403, "forbidden", "This door does not know its callers.")
        check_url(self.request)
        if self.request.method not in SAFE_METHODS:
            check_origin(self.request)
        self.caller = await identify(self.request)
        guard: Guard = self.settings["guard"]
        guard.watch(gone, self.request, self.caller)
        limits: Limits | None = self.settings.get("limits")
        if limits is not None:
            limits.admit(self.caller)
            if stays_open(self.described, self.get_query_argument("follow", None)):
                limits.hold(self.caller, gone)
            else:
                self.flight = limits.begin(self.caller, gone)
        if self.request.method not in SAFE_METHODS and not self.caller.may_write:
            message = f"{self.caller.name} may look but not change anything with this token."
            raise ApiError(403, "forbidden", message)

        described = self.described
        if described is not None and described.query is None:
            self.query_as(NoQuery)

    def _answering(self) -> asyncio.Future[None]:
        """Note that the request is being answered; the result is done when its answer has gone."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 (typing)
        running: Running = self.settings["running"]
        running.add(task)
        task.add_done_callback(running.discard)
        self._departure = Departure(self.request, task)
        return self._departure.gone

    def data_received(self, chunk: bytes) -> None:
        """Drop a body that nobody asked for."""

    @property
    def described(self) -> Operation | None:
        """What the method that is called was described as; None for one that is not taken."""
        method = (self.request.method or "").lower()
        return operation_of(getattr(self, "get" if method == "head" else method, None))

    def decode_argument(self, value: bytes, name: str | None = None) -> str:
        """Text of the path or the query. Raises ApiError 400 for what is not UTF-8."""
        try:
            return value.decode()
        except UnicodeDecodeError:
            message = f"{name or 'The address'}: must be UTF-8, percent-encoded"
            raise ApiError(400, "bad_request", message) from None

    async def head(self, *args: str, **kwargs: str) -> None:
        """As GET, without the body, for whatever can be got."""
        described = operation_of(self.get)
        if described is None or described.websocket:
            raise HTTPError(405)
        await cast("Awaitable[None]", self.get(*args, **kwargs))

    def options(self, *args: str, **kwargs: str) -> None:
        """Say which methods there are."""
        self.set_header("Allow", ", ".join(self._allowed_methods()))
        self.clear_header("Content-Type")
        self.set_status(204)

    def tag(self, version: int | str) -> None:
        """Have the answer carry its version as ``ETag``; who has it already gets 304."""
        self._version = version
        self.set_header("ETag", entity_tag(version))

    def finish(self, chunk: str | bytes | dict[str, Any] | None = None) -> asyncio.Future[None]:
        """End the answer; who asked for something it knows already gets 304."""
        looks = self.request.method in ("GET", "HEAD") and self.get_status() == 200
        begun = self._headers_written or not hasattr(self, "_version")
        if looks and not begun and self.check_etag_header():
            self.set_status(304)
            chunk = None
        if overtakes_body(self.request):
            self.set_header("Connection", "close")
        size = len(chunk or "")
        if size > SMALL and self.flight is not None:
            self.flight.note(size)
        sent = super().finish(chunk)
        if self._departure is not None:
            self._departure.sending(sent, size)
        return sent

    def check_match(self, version: int | str, noun: str) -> None:
        """Raise ApiError 412 if ``If-Match`` asks for another version than this of ``noun``."""
        check_match(self.request.headers.get("If-Match"), version, noun)

    def compute_etag(self) -> str | None:
        """The tag of an answer that has one; the others change all the time and are small."""
        version = getattr(self, "_version", None)
        return None if version is None else entity_tag(version)

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
        return read_query(self.request.query_arguments, model)

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
        answer = self.refusal(status_code, **kwargs)
        body = ErrorBody(code=answer.code, message=answer.message, field=answer.field)
        self.finish(ErrorView(error=body).model_dump_json())

    def refusal(self, status_code: int, **kwargs: Any) -> ApiError:
        """What to tell of an error; status and headers of the answer are set to it."""
        error = kwargs.get("exc_info", (None, None, None))[1]
        answer = answer_to(error, status_code, self.request_id, self.request.path)
        for name, value in answer.headers.items():
            self.set_header(name, value)
        if answer.status == 405:
            self.set_header("Allow", ", ".join(self._allowed_methods()))
        self.set_status(answer.status)
        return answer

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
        methods = [
            method
            for method in ("GET", "PUT", "POST", "PATCH", "DELETE")
            if getattr(own, method.lower()) is not getattr(RequestHandler, method.lower())
        ]
        described = operation_of(own.get)
        if described is not None and not described.websocket:
            methods.insert(1, "HEAD")
        return [*methods, "OPTIONS"]


class ApiHandler(ApiBase):
    """Base of the handlers that take a small body or none.

    To a body that is too large they answer 413; Tornado's own limit would close the connection
    without an answer.
    """

    def initialize(self, services: Services) -> None:
        """Take over what :func:`~.application.make_application` hands to every handler."""
        super().initialize(services)
        self._body = bytearray()
        self._unfit: ApiError | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._pace = Pace(self.request)

    async def prepare(self) -> None:
        """Find out who calls; a refusal waits until a small body has come."""
        try:
            await super().prepare()
        except ApiError as error:
            self.refuse(error)

    def refuse(self, error: ApiError) -> None:
        """Answer with an error once the body has come and was dropped, or raise it at once.

        To an answer that overtakes the body, the connection is closed, and a client that is still
        sending may see that instead of the answer. Of two refusals the first is told.
        """
        if self._patience is not None:
            return
        headers = self.request.headers
        length = headers.get("Content-Length", "0")
        streamed = type(self).data_received is not ApiHandler.data_received
        small = length.isdecimal() and int(length) <= DRAIN
        if streamed or not small or "Expect" in headers or "Transfer-Encoding" in headers:
            raise error
        self._unfit = error
        loop = asyncio.get_running_loop()
        self._patience = loop.call_later(REFUSED_WAIT, self._answer_at_once, error)

        def answer(*args: str, **kwargs: str) -> None:
            raise error

        setattr(self, str(self.request.method).lower(), answer)

    def data_received(self, chunk: bytes) -> None:
        """Collect the body; what goes beyond the limit is read and dropped."""
        self._pace.count(len(chunk))
        if self._unfit is not None:
            return
        try:
            if len(self._body) + len(chunk) > MAX_BODY:
                limit = MAX_BODY // 2**20
                raise ApiError(413, "too_large", f"The body is larger than {limit} MiB.")
            if self.flight is not None:
                self.flight.carry(len(chunk))
            self._body += chunk
        except ApiError as error:
            self._unfit = error
            self._body.clear()
            if self.flight is not None:
                self.flight.drop()

    def on_finish(self) -> None:
        """Nothing more is waited for."""
        super().on_finish()
        self._pace.stop()
        if self._patience is not None:
            self._patience.cancel()

    def _answer_at_once(self, error: ApiError) -> None:
        """Answer a refused request although its body has not come, and close the connection."""
        if not self._finished:
            error.headers["Connection"] = "close"
            self.send_error(error.status, exc_info=(type(error), error, None))

    def content_type(self, *taken: str) -> str:
        """The media type of the body, one of those ``taken``. Raises ApiError 415."""
        return media_type(self.request.headers.get("Content-Type"), *taken)

    def body(self) -> bytes:
        """The request's body. Raises ApiError 413 if it was too large, 429 beside others."""
        self._pace.stop()
        if self._unfit is not None:
            raise self._unfit
        body = bytes(self._body)
        self._body.clear()
        return body

    async def read(self, model: type[Model]) -> Model:
        """The request's body as ``model``. Raises ApiError 400, 413, 415 or 422."""
        self.content_type("application/json")
        body = self.body()
        if len(body) < THREAD_BODY:
            return read_json(body, model)
        return await asyncio.to_thread(read_json, body, model)


class NotFound(ApiHandler):
    """Whatever has no route."""

    async def prepare(self) -> None:
        """Answer 404, but only to those who may call at all."""
        await super().prepare()
        self.refuse(ApiError(404, "not_found", f"There is nothing at {self.request.path[:200]}."))
