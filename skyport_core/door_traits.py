"""Options of the core's doors: the one behind JupyterHub's proxy, and what all hold callers to."""

from __future__ import annotations

import os
import re
from typing import Any

from traitlets import Bool, Float, HasTraits, Int, List, TraitError, Unicode
from traitlets import default as default_value
from traitlets import validate as validator

from .api.doors.hub import HubOptions
from .api.limits import Rates


class DoorTraits(HasTraits):
    """The part of the core's configuration that is about its doors."""

    hub_door_url = Unicode(
        help="""
        Serve the API to JupyterHub's proxy at http://HOST:PORT, the same as the url of the service
        in jupyterhub_config.py. Default: what a hub that starts the core as its service says, else
        empty: no such door.
        """
    ).tag(config=True)

    hub_service_prefix = Unicode(
        help="""
        Path of the service at the hub's proxy: the hub's base_url, then services and the service's
        name. Default: what the hub says, else /services/skyport/.
        """
    ).tag(config=True)

    hub_api_url = Unicode(
        help="""
        REST API of the hub, which is asked about every token. Default: what the hub says
        ($JUPYTERHUB_API_URL), else http://127.0.0.1:8081/hub/api.
        """
    ).tag(config=True)

    hub_api_token = Unicode(
        help="""
        The service's own token, its api_token in jupyterhub_config.py. Default: what the hub says
        ($JUPYTERHUB_API_TOKEN).
        """
    ).tag(config=True)

    token_check_interval = Float(
        0.3,
        min=0.05,
        help="""
        Seconds for which the hub's word on a token is believed. With the default a token that was
        revoked is refused within a second, on open streams too; each token in use then costs the
        hub up to three small requests a second.
        """,
    ).tag(config=True)

    rate_limit = Float(
        100,
        min=0,
        help="""
        Requests a second that one caller may send for long; 0: no limit. Not for callers at the
        Unix socket, nor for services of the hub that may act for all users.
        """,
    ).tag(config=True)
    rate_burst = Int(
        200, min=1, help="Requests that one caller may send at once, after a while of silence."
    ).tag(config=True)
    max_streams = Int(
        50, min=0, help="Streams and WebSockets that one caller may have open; 0: no limit."
    ).tag(config=True)
    max_requests = Int(
        32,
        min=0,
        help="""
        Other requests that one caller may have under way, each until its answer has been taken;
        0: no limit.
        """,
    ).tag(config=True)
    max_in_flight = Int(
        64 * 2**20,
        min=0,
        help="""
        Bytes of bodies and answers that the requests of one caller under way may have together;
        0: no limit. One request alone may always have what it needs.
        """,
    ).tag(config=True)

    allowed_forwards = List(
        Unicode(),
        help="""
        Services near the core that jobs of all callers may have carried to their nodes, as
        "host:port", with * for any port. Callers at the Unix socket and services that may act for
        all users are trusted with any; others get ways to their own machine, and to these.
        """,
    ).tag(config=True)

    peer_forwards = Bool(
        True,
        help="""
        Whether jobs that came by HTTPS may have any port of the machine that they were submitted
        from carried to their nodes. Never a port of the core's own machine, for whoever is logged
        in there: list those in allowed_forwards.
        """,
    ).tag(config=True)

    @default_value("hub_door_url")
    def _hub_door_url_default(self) -> str:
        # A user's server has the other variables too, but is no service.
        return _of_hub("SERVICE_URL") if _of_hub("SERVICE_NAME") else ""

    @default_value("hub_service_prefix")
    def _hub_service_prefix_default(self) -> str:
        return (_of_hub("SERVICE_NAME") and _of_hub("SERVICE_PREFIX")) or "/services/skyport/"

    @default_value("hub_api_url")
    def _hub_api_url_default(self) -> str:
        return _of_hub("API_URL") or "http://127.0.0.1:8081/hub/api"

    @default_value("hub_api_token")
    def _hub_api_token_default(self) -> str:
        return _of_hub("API_TOKEN")

    @validator("allowed_forwards")
    def _check_allowed_forwards(self, proposal: Any) -> list[str]:
        for place in proposal.value:
            if not re.fullmatch(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5}|\*)", place):
                raise TraitError(f"allowed_forwards has {place!r}; allowed: 'host:port', 'host:*'")
        return list(proposal.value)

    def make_hub_options(self) -> HubOptions | None:
        """Where the hub and its door are; None: there is no hub. Raises ValueError."""
        if not self.hub_door_url:
            return None
        if not self.hub_api_token:
            raise ValueError(
                "hub_door_url is set but hub_api_token is empty: give the api_token of the service "
                "in jupyterhub_config.py, or set $JUPYTERHUB_API_TOKEN to it"
            )
        return HubOptions(
            url=self.hub_door_url,
            prefix=self.hub_service_prefix,
            api_url=self.hub_api_url,
            api_token=self.hub_api_token,
            check_interval=self.token_check_interval,
        )

    def make_rates(self) -> Rates:
        """What each caller may use."""
        return Rates(
            self.rate_limit,
            self.rate_burst,
            self.max_streams,
            self.max_requests,
            self.max_in_flight,
        )


def _of_hub(name: str) -> str:
    return os.environ.get(f"JUPYTERHUB_{name}", "")
