"""How a request finds its handler: the router, the call, the answer and Azure's errors."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, urlencode

if TYPE_CHECKING:
    from tests.infra.arm.faults import Fault
    from tests.infra.arm.state import Arm

_PARAM = re.compile(r"\{(\w+)\}")


@dataclass
class Answer:
    """What a handler says.

    Attributes
    ----------
    status
        The HTTP status.
    body
        A dict or list becomes JSON, text and bytes are sent as they are, None sends no body.
    headers
        Further headers.
    """

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)


class ArmError(Exception):
    """An error as Azure Resource Manager words it: ``{"error": {"code", "message", …}}``.

    Parameters
    ----------
    status
        The HTTP status.
    code
        Azure's code, for instance "SkuNotAvailable".
    message
        For people.
    target
        The field or resource that is at fault.
    details
        Errors below this one, each ``{"code", "message"}``.
    headers
        Further headers of the answer, for instance Retry-After.

    Attributes
    ----------
    more
        Further fields of the error object, for instance ``additionalInfo``.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        target: str | None = None,
        details: Sequence[Mapping[str, Any]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.target = target
        self.details = [dict(each) for each in details]
        self.headers = dict(headers or {})
        self.more: dict[str, Any] = {}

    def error(self) -> dict[str, Any]:
        """The error object, without its envelope."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.target is not None:
            error["target"] = self.target
        if self.details:
            error["details"] = self.details
        return error | self.more

    def answer(self) -> Answer:
        """The error as an answer."""
        return Answer(self.status, {"error": self.error()}, dict(self.headers))


@dataclass
class Call:
    """One request.

    Attributes
    ----------
    arm
        The state of the endpoint.
    method, path
        As sent; the path is unquoted, without its query.
    base
        Scheme, host and port that the client used, without a trailing slash.
    kind
        What it asks for, for instance "virtualMachines.put"; "" when nothing answers there.
    params
        The path's parameters in the case the client used.
    query
        The query; use :meth:`option` to look a name up in any case.
    headers
        Case-insensitive.
    body
        The parsed JSON; None when there is none.
    raw
        The body's bytes.
    caller
        The token's claims; empty where no token is needed.
    number
        Counts the calls of an endpoint.
    fault
        What goes wrong with it, None for nothing.
    """

    arm: Arm
    method: str
    path: str
    base: str
    kind: str
    params: dict[str, str]
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None
    raw: bytes = b""
    caller: dict[str, Any] = field(default_factory=dict)
    number: int = 0
    fault: Fault | None = None

    @property
    def name(self) -> str:
        """The resource's name in the path, "" when the path has none."""
        return self.params.get("name", "")

    @property
    def form(self) -> dict[str, str]:
        """The body as a form (as OAuth sends it)."""
        return {key: values[-1] for key, values in parse_qs(self.raw.decode()).items()}

    def option(self, name: str, default: str = "") -> str:
        """A query parameter, whatever the case of its name."""
        wanted = name.lower()
        return next((v for k, v in self.query.items() if k.lower() == wanted), default)

    def flag(self, name: str) -> bool:
        """Whether a query parameter says "true"."""
        return self.option(name).lower() == "true"


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Route:
    """A template with its handler.

    ``public`` routes need neither a token nor an api-version (Entra, prices, blobs).
    """

    method: str
    template: str
    handler: Handler
    kind: str
    public: bool
    pattern: re.Pattern[str]


class Router:
    """Finds the route of a path; the case of literal segments does not matter."""

    def __init__(self) -> None:
        self.routes: list[Route] = []

    def add(
        self,
        method: str,
        template: str,
        handler: Handler,
        *,
        kind: str | None = None,
        public: bool = False,
    ) -> None:
        """Register a handler.

        Parameters
        ----------
        method
            "GET", "PUT" ….
        template
            A path; ``{name}`` stands for one segment. Earlier routes win.
        handler
            Called with the :class:`Call`.
        kind
            What the call log and faults call it; by default made from type and method:
            "virtualMachines.put", ".get", ".list" (in a group), ".listAll" (in a subscription),
            ".deallocate" (an action).
        public
            No bearer token and no api-version needed.
        """
        expression = "".join(
            f"(?P<{part}>[^/]+)" if index % 2 else re.escape(part)
            for index, part in enumerate(_PARAM.split(template))
        )
        pattern = re.compile(f"^{expression}/?$", re.IGNORECASE)
        self.routes.append(
            Route(method, template, handler, kind or _kind(method, template), public, pattern)
        )

    def find(self, method: str, path: str) -> tuple[Route | None, dict[str, str], bool]:
        """The route of a path.

        Returns
        -------
        tuple
            The route (None when there is none), its parameters, and whether the path is known
            with another method.
        """
        known = False
        for route in self.routes:
            match = route.pattern.match(path)
            if match is not None:
                if route.method == method:
                    return route, match.groupdict(), True
                known = True
        return None, {}, known


def _kind(method: str, template: str) -> str:
    parts = template.strip("/").split("/")
    last = parts[-1]
    if last.startswith("{"):
        return f"{parts[-2]}.{method.lower()}"
    if method == "GET":
        whole = "providers" in parts and "resourceGroups" not in parts and "locations" not in parts
        return f"{last}.{'listAll' if whole else 'list'}"
    return f"{parts[-3] if parts[-2].startswith('{') and len(parts) > 2 else parts[-2]}.{last}"


def page(call: Call, items: Sequence[Any]) -> Answer:
    """One page of a list with the nextLink to the following one, ``arm.page_size`` items each."""
    start = int(call.option("$skiptoken", "0"))
    end = start + call.arm.page_size
    body: dict[str, Any] = {"value": list(items[start:end])}
    if end < len(items):
        query = {key: value for key, value in call.query.items() if key.lower() != "$skiptoken"}
        body["nextLink"] = (
            f"{call.base}{quote(call.path)}?{urlencode({**query, '$skiptoken': end})}"
        )
    return Answer(200, body)
