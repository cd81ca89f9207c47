"""Where the ports of jobs are listened for, and how that is shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..model import Job
from ..settings import Settings
from ..ssh.connection import ConnectionState
from ..ssh.tunnels import NODE_LOOPBACK, Address, InTunnel, OutTunnel
from ..wire import TunnelView
from ..wire.jobs import Address as AddressView

if TYPE_CHECKING:
    from .attachment import Attachment

TRIES = 50
"""Ports of a shared address that are tried for one further port of a job."""


def listen_candidates(job: Job, port: int, place: int, settings: Settings) -> list[Address]:
    """Where the core may listen for a further port of a job, the best first.

    On the job's own address it is the same port. On a shared one (``tunnel_address``), where the
    first ports of jobs fill the range from below by their number, it is the range's last port
    minus the job's number and the port's ``place`` in the job's list, or the next free below.
    """
    if not settings.tunnel_address:
        return [(job.core_address, port)]
    first, last = settings.tunnel_ports
    span = last - first + 1
    steps = range(job.number + place, job.number + place + min(TRIES, span))
    return [(settings.tunnel_address, last - step % span) for step in steps]


def tunnel_views(attachment: Attachment) -> list[TunnelView]:
    """The tunnels of a job as the API shows them."""
    inward = [] if attachment.listener is None else [attachment.listener]
    inward += attachment.more.values()
    views = [_inward(attachment, tunnel) for tunnel in inward]
    return views + [_outward(attachment, *named) for named in attachment.forwards.items()]


def _inward(attachment: Attachment, tunnel: InTunnel) -> TunnelView:
    return TunnelView(
        job=attachment.job_id,
        owner=attachment.owner,
        direction="in",
        name=str(tunnel.target[1]),
        listen=_address(tunnel.listen),
        target=_address(tunnel.target),
        site=attachment.connection.site,
        node=attachment.connection.node.name,
        up=attachment.connection.state is ConnectionState.CONNECTED,
        connections=tunnel.count,
    )


def _outward(attachment: Attachment, name: str, tunnel: OutTunnel) -> TunnelView:
    return TunnelView(
        job=attachment.job_id,
        owner=attachment.owner,
        direction="out",
        name=name,
        listen=AddressView(host=NODE_LOOPBACK, port=tunnel.port),
        target=_address(tunnel.dest),
        site=attachment.connection.site,
        node=attachment.connection.node.name,
        up=tunnel.up.is_set(),
        connections=tunnel.count,
    )


def _address(address: Address) -> AddressView:
    return AddressView(host=address[0], port=address[1])
