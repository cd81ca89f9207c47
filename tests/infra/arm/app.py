"""From an HTTP request to a handler and back, with what ARM does for every request."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import uuid

from aiohttp import web

from tests.infra.arm.calls import LoggedCall
from tests.infra.arm.faults import Fault
from tests.infra.arm.groups import require_provider
from tests.infra.arm.router import Answer, ArmError, Call, Route, Router
from tests.infra.arm.state import Arm

log = logging.getLogger(__name__)

MODULES = (
    "operations",
    "compute",
    "power",
    "disks",
    "network",
    "groups",
    "catalog",
    "images",
    "authorization",
    "prices",
    "entra",
)
HOST_MODULES = ("imds",)
_NAMESPACES = {
    "microsoft.authorization",
    "microsoft.compute",
    "microsoft.managedidentity",
    "microsoft.network",
    "microsoft.resources",
}


def router_of(modules: tuple[str, ...]) -> Router:
    """A router with the routes of these modules."""
    router = Router()
    for name in modules:
        importlib.import_module(f"tests.infra.arm.{name}").routes(router)
    return router


class App:
    """Answers requests.

    Parameters
    ----------
    arm
        The state.
    router
        The handlers.
    host
        Whether this is the metadata service of the core's machine, which knows neither tokens
        nor api-versions of ARM.
    """

    def __init__(self, arm: Arm, router: Router, *, host: bool = False) -> None:
        self.arm = arm
        self.router = router
        self.host = host
        self._count = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self._count += 1
        raw = await request.read()
        path = request.path
        route, params, known = self.router.find(request.method, path)
        call = Call(
            self.arm,
            request.method,
            path,
            f"{request.scheme}://{request.host}",
            route.kind if route else "",
            params,
            request.query,
            request.headers,
            raw=raw,
            number=self._count,
        )
        headers = self._common(call)
        status = 0
        try:
            answer = await self._answer(call, route, known, headers)
            if answer is not None:
                status = answer.status
        finally:
            self._log(call, status)
        if answer is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=503)
        return _response(answer, headers)

    async def _answer(
        self, call: Call, route: Route | None, known: bool, headers: dict[str, str]
    ) -> Answer | None:
        """The answer; None to drop the connection. ``headers`` gain those of the throttle."""
        try:
            problem = _parse(call)
            call.fault = fault = self.arm.faults.take(call)
            if fault is not None:
                if fault.when == "reset":
                    return None
                if fault.when == "delay":
                    await asyncio.sleep(fault.seconds)
            if not self.host and (route is None or not route.public):
                self._admit(call, known)
                headers.update(self.arm.throttle.admit(call))
            if route is None:
                raise _unknown(call, known)
            if fault is not None and fault.when == "before":
                return _faulty(fault)
            if problem is not None:
                raise problem
            if not self.host and not route.public:
                self.arm.rights.check(call)
                require_provider(call)
            answer = await route.handler(call)
            if fault is not None and fault.when == "late":
                await asyncio.sleep(fault.seconds)
            if not self.host and not route.public and answer.status == 200:
                self.arm.rights.narrow(call, answer)
        except ArmError as error:
            answer = error.answer()
            if error.status == 404 and error.code.startswith("Resource"):
                answer.headers.setdefault("x-ms-failure-cause", "gateway")
        except Exception:
            log.exception("%s %s broke", call.method, call.path)
            broken = ArmError(500, "InternalServerError", "Encountered internal server error.")
            answer = broken.answer()
        lost = call.fault is not None and call.fault.when == "lost_answer"
        return None if lost else answer

    def _admit(self, call: Call, known: bool) -> None:
        call.caller = self.arm.authority.check(call.headers.get("Authorization"))
        if not call.option("api-version"):
            raise ArmError(
                400,
                "MissingApiVersionParameter",
                "The api-version query parameter (?api-version=) is required for all requests.",
            )
        wanted = call.params.get("sub", self.arm.subscription)
        if wanted.lower() != self.arm.subscription.lower():
            raise _wrong_subscription(wanted)

    def _common(self, call: Call) -> dict[str, str]:
        request_id = str(uuid.uuid4())
        correlation = call.headers.get("x-ms-correlation-request-id") or request_id
        headers = {
            "x-ms-request-id": request_id,
            "x-ms-correlation-request-id": correlation,
            "x-ms-routing-request-id": f"LOCALHOST:{self.arm.clock.stamp()}:{correlation}",
            "Cache-Control": "no-cache",
            "X-Content-Type-Options": "nosniff",
        }
        client = call.headers.get("x-ms-client-request-id")
        if client and call.headers.get("x-ms-return-client-request-id", "").lower() == "true":
            headers["x-ms-client-request-id"] = client
        return headers

    def _log(self, call: Call, status: int) -> None:
        self.arm.calls.append(
            LoggedCall(
                self.arm.clock.time(),
                call.method,
                call.path,
                call.kind,
                call.name,
                status,
                self.arm.vm_of(call),
                call.headers.get("User-Agent", ""),
            )
        )


def _parse(call: Call) -> ArmError | None:
    """Fill in the call's body; what ARM says when it is no JSON."""
    if not call.raw or "json" not in call.headers.get("Content-Type", ""):
        return None
    try:
        call.body = json.loads(call.raw)
    except ValueError as error:
        return ArmError(
            400,
            "InvalidRequestContent",
            f"The request content was invalid and could not be deserialized: '{error}'.",
        )
    return None


def _faulty(fault: Fault) -> Answer:
    answer = fault.error().answer()
    if fault.body is not None:
        answer.body = fault.body
    return answer


def _unknown(call: Call, known: bool) -> ArmError:
    if known:
        return ArmError(
            405,
            "MethodNotAllowed",
            f"The requested resource does not support http method '{call.method}'.",
        )
    parts = [part.lower() for part in call.path.strip("/").split("/")]
    if "providers" not in parts[:-1]:
        return ArmError(404, "NotFound", "No HTTP resource was found that matches the request.")
    namespace = call.path.strip("/").split("/")[parts.index("providers") + 1]
    if namespace.lower() not in _NAMESPACES:
        return ArmError(
            404, "InvalidResourceNamespace", f"The resource namespace '{namespace}' is invalid."
        )
    return ArmError(
        404,
        "InvalidResourceType",
        f"The resource type could not be found in the namespace '{namespace}' for api version "
        f"'{call.option('api-version')}'. The supported api-versions are '2026-04-01'.",
    )


def _wrong_subscription(wanted: str) -> ArmError:
    try:
        uuid.UUID(wanted)
    except ValueError:
        return ArmError(
            400,
            "InvalidSubscriptionId",
            f"The provided subscription identifier '{wanted}' is malformed or invalid.",
        )
    return ArmError(404, "SubscriptionNotFound", f"The subscription '{wanted}' could not be found.")


def _response(answer: Answer, common: dict[str, str]) -> web.Response:
    headers = {**common, **answer.headers}
    if isinstance(answer.body, (str, bytes)):
        raw = answer.body.encode() if isinstance(answer.body, str) else answer.body
        headers.setdefault("Content-Type", "text/plain; charset=utf-8")
        return web.Response(status=answer.status, body=raw, headers=headers)
    if answer.body is None:
        return web.Response(status=answer.status, headers=headers)
    headers["Content-Type"] = "application/json; charset=utf-8"
    raw = json.dumps(answer.body).encode()
    return web.Response(status=answer.status, body=raw, headers=headers)
