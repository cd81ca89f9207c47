"""What a virtual machine sees of its host: the metadata service (IMDS) and the wire server.

One server answers for all machines of a backend at 169.254.169.254 and 168.63.129.16, each by what
it knows of the caller. Documented at
https://learn.microsoft.com/azure/virtual-machines/instance-metadata-service and
https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from aiohttp import web

from tests.infra.arm.backends import Listener, Machine

IMDS = "169.254.169.254"
WIRE_SERVER = "168.63.129.16"
VERSIONS = ["2021-02-01", "2021-08-01", "2021-12-13", "2023-07-01"]
EVENT_VERSIONS = ["2017-08-01", "2017-11-01", "2019-01-01", "2019-08-01", "2020-07-01"]


class Host:
    """What is told to one machine, and what it said.

    Attributes
    ----------
    machine
        The machine.
    ready
        Set once it reported that it is provisioned.
    events
        The scheduled events it sees.
    incarnation
        Grows whenever the events change.
    asked
        Whether it ever asked for scheduled events: Azure begins to give notice only then.
    failure
        Why it reported that it could not be provisioned; "" if it did not.
    mac
        Hardware address of its network card, "02:00:0A:…" without colons.
    """

    def __init__(self, machine: Machine, mac: str = "") -> None:
        self.machine = machine
        self.mac = mac
        self.ready = asyncio.Event()
        self.failure = ""
        self.events: list[dict[str, Any]] = []
        self.incarnation = 1
        self.asked = False

    def notice(self, event: dict[str, Any]) -> None:
        """Show a scheduled event, or the new state of one."""
        others = [each for each in self.events if each["EventId"] != event["EventId"]]
        self.events = [*others, dict(event)]
        self.incarnation += 1

    def instance(self) -> dict[str, Any]:
        """The document at /metadata/instance."""
        machine = self.machine
        tags = ";".join(f"{name}:{value}" for name, value in machine.tags.items())
        address = {"privateIpAddress": machine.address, "publicIpAddress": ""}
        return {
            "compute": {
                "azEnvironment": "AzurePublicCloud",
                "customData": "",
                "location": machine.location,
                "name": machine.name,
                "osProfile": {
                    "adminUsername": machine.admin_username,
                    "computerName": machine.os_profile.get("computerName", machine.name),
                    "disablePasswordAuthentication": "true",
                },
                "osType": "Linux",
                "priority": "Spot" if machine.spot else "Regular",
                "provider": "Microsoft.Compute",
                "publicKeys": [
                    {"keyData": key, "path": f"/home/{machine.admin_username}/.ssh/authorized_keys"}
                    for key in machine.public_keys
                ],
                "resourceGroupName": machine.group,
                "resourceId": machine.id,
                "subscriptionId": machine.id.split("/")[2] if "/" in machine.id else "",
                "tags": tags,
                "tagsList": [{"name": key, "value": value} for key, value in machine.tags.items()],
                "userData": machine.user_data,
                "vmId": machine.vm_id,
                "vmSize": machine.size,
                "zone": machine.zone,
            },
            "network": {
                "interface": [
                    {
                        "ipv4": {
                            "ipAddress": [address],
                            "subnet": [{"address": "10.77.0.0", "prefix": "16"}],
                        },
                        "ipv6": {"ipAddress": []},
                        "macAddress": self.mac,
                    }
                ]
            },
        }


class Metadata:
    """The server.

    Parameters
    ----------
    find
        The host side of the machine that a request comes from; None for a stranger.
    listener
        Hears of acknowledged events and makes identity tokens; asked for at each request.
    """

    def __init__(
        self,
        find: Callable[[web.Request], Host | None],
        listener: Callable[[], Listener | None],
    ) -> None:
        self._find = find
        self._listener = listener
        self._runner: web.AppRunner | None = None

    async def start(self, *sockets: socket.socket) -> None:
        """Serve on bound sockets."""
        app = web.Application(middlewares=[_errors])
        app.add_routes(
            [
                web.get("/metadata/instance{path:.*}", self._instance),
                web.get("/metadata/scheduledevents", self._events),
                web.post("/metadata/scheduledevents", self._acknowledge),
                web.get("/metadata/identity/oauth2/token", self._token),
                web.get("/machine", self._goal_state),
                web.get("/machine/", self._goal_state),
                web.post("/machine", self._health),
                web.post("/machine/", self._health),
            ]
        )
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        for each in sockets:
            await web.SockSite(self._runner, each).start()

    async def close(self) -> None:
        """Stop serving."""
        if self._runner:
            await self._runner.cleanup()

    def _host(self, request: web.Request) -> Host:
        host = self._find(request)
        if host is None:
            raise web.HTTPForbidden(text="no machine of this host")
        return host

    def _checked(self, request: web.Request, versions: list[str] | None = None) -> Host:
        """The caller, if the request is as IMDS wants it."""
        if request.headers.get("Metadata", "").lower() != "true":
            raise _bad("Bad request. Required metadata header not specified")
        if "X-Forwarded-For" in request.headers:
            raise _bad("Bad request. Forwarded requests are not allowed")
        version = request.query.get("api-version")
        if not version:
            newest = (versions or VERSIONS)[::-1]
            raise _bad("Bad request. api-version was not specified in the request", newest)
        if versions and version not in versions:
            raise _bad("Bad request. api-version is invalid", versions[::-1])
        return self._host(request)

    async def _instance(self, request: web.Request) -> web.Response:
        node: Any = self._checked(request).instance()
        for name in filter(None, request.match_info["path"].split("/")):
            try:
                node = node[int(name)] if isinstance(node, list) else node[name]
            except (KeyError, IndexError, ValueError, TypeError):
                raise web.HTTPNotFound(text=json.dumps({"error": "Not found"})) from None
        if request.query.get("format") == "text" and not isinstance(node, (dict, list)):
            return web.Response(text=str(node))
        return web.json_response(node)

    async def _events(self, request: web.Request) -> web.Response:
        host = self._checked(request, EVENT_VERSIONS)
        host.asked = True
        return web.json_response({"DocumentIncarnation": host.incarnation, "Events": host.events})

    async def _acknowledge(self, request: web.Request) -> web.Response:
        host = self._checked(request, EVENT_VERSIONS)
        try:
            wanted = [each["EventId"] for each in (await request.json())["StartRequests"]]
        except (ValueError, KeyError, TypeError):
            raise _bad("Bad request. StartRequests is missing") from None
        events = {each["EventId"]: each for each in host.events}
        if unknown := [each for each in wanted if each not in events]:
            raise _bad(f"Bad request. Unknown events {', '.join(map(str, unknown))}")
        for event_id in wanted:
            host.notice({**events[event_id], "EventStatus": "Started", "NotBefore": ""})
            if listener := self._listener():
                listener.acknowledged(host.machine, event_id)
        return web.Response()

    async def _token(self, request: web.Request) -> web.Response:
        host, listener = self._checked(request), self._listener()
        resource = request.query.get("resource")
        if not resource:
            raise _refused("invalid_request", "Required audience parameter not specified")
        ways = (request.query.get(name) for name in ("client_id", "msi_res_id", "mi_res_id"))
        identity = next(filter(None, ways), "")
        token = listener and listener.identity_token(host.machine, resource, identity)
        if not token:
            raise _refused("invalid_request", "Identity not found")
        return web.json_response(token)

    async def _goal_state(self, request: web.Request) -> web.Response:
        host = self._host(request)
        if request.query.get("comp") != "goalstate":
            raise web.HTTPNotFound
        return web.Response(text=goal_state(host.machine), content_type="text/xml")

    async def _health(self, request: web.Request) -> web.Response:
        host, body = self._host(request), await request.read()
        report = ElementTree.fromstring(body or b"<Health><State>Ready</State></Health>")
        if report.findtext(".//State") != "Ready":
            host.failure = report.findtext(".//Description") or "the machine was not provisioned"
        host.ready.set()
        return web.Response()


def goal_state(machine: Machine) -> str:
    """The wire server's document that a machine reports its health against."""
    return (
        '<?xml version="1.0" encoding="utf-8"?><GoalState><Version>2012-11-30</Version>'
        "<Incarnation>1</Incarnation><Machine><ExpectedState>Started</ExpectedState></Machine>"
        f"<Container><ContainerId>{machine.vm_id}</ContainerId><RoleInstanceList><RoleInstance>"
        f"<InstanceId>{machine.vm_id}.{machine.name}</InstanceId><State>Started</State>"
        "</RoleInstance></RoleInstanceList></Container></GoalState>"
    )


def _bad(message: str, versions: list[str] | None = None) -> web.HTTPBadRequest:
    body: dict[str, Any] = {"error": message}
    if versions:
        body["newest-versions"] = versions
    return web.HTTPBadRequest(text=json.dumps(body))


def _refused(code: str, message: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": code, "error_description": message}))


@web.middleware
async def _errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Errors are JSON; nothing is kept in caches."""
    try:
        answer: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        error.content_type = "application/json"
        raise
    return answer
