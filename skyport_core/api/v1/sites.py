"""``/sites``, ``/flavors``, ``/images``, ``/quotas`` and ``/nodes``."""

from __future__ import annotations

import asyncio

from ...wire import (
    FlavorList,
    FlavorQuery,
    ImageList,
    NodeList,
    NodePatch,
    NodeView,
    QuotaList,
    SiteList,
)
from ..errors import SHOWN_LENGTH, ApiError, checked_name
from ..handler import ApiHandler
from ..operation import operation

INLINE_FLAVORS = 1000
"""Flavors up to which a page is written out in the event loop."""


class SitesHandler(ApiHandler):
    """``GET /sites``."""

    @operation("The sites, and whether their gates answer", answers={200: SiteList})
    async def get(self) -> None:
        """List the sites."""
        self.reply(SiteList(sites=await self.services.sites.sites()))


class FlavorsHandler(ApiHandler):
    """``GET /flavors``."""

    @operation(
        "Node types on offer, by region, with prices and what is free now",
        query=FlavorQuery,
        answers={200: FlavorList},
    )
    async def get(self) -> None:
        """List the node types on offer that match the query, a page of them at a time."""
        page = await self.services.sites.flavors(self.query_as(FlavorQuery))
        if len(page.flavors) <= INLINE_FLAVORS:
            self.reply(page)
        else:
            self.finish(await asyncio.to_thread(page.model_dump_json))


class ImagesHandler(ApiHandler):
    """``GET /images``."""

    @operation("Images that nodes can boot", answers={200: ImageList})
    async def get(self) -> None:
        """List the images."""
        self.reply(ImageList(images=await self.services.sites.images()))


class QuotasHandler(ApiHandler):
    """``GET /quotas``."""

    @operation("Limits of the accounts behind the sites", answers={200: QuotaList})
    async def get(self) -> None:
        """List the limits of the accounts behind the sites."""
        self.reply(QuotaList(quotas=await self.services.sites.quotas()))


class NodesHandler(ApiHandler):
    """``GET /nodes``."""

    @operation("Nodes with health, reservations and jobs", answers={200: NodeList})
    async def get(self) -> None:
        """List the nodes; of their jobs only those that the caller may see."""
        nodes = await self.services.sites.nodes()
        if not self.caller.admin:
            nodes = await self._without_foreign_jobs(nodes)
        self.reply(NodeList(nodes=nodes))

    async def _without_foreign_jobs(self, nodes: list[NodeView]) -> list[NodeView]:
        ids = {job for node in nodes for job in node.jobs}
        own = await self.services.store.owned(self.caller.name, ids)
        return [
            node.model_copy(update={"jobs": [job for job in node.jobs if job in own]})
            for node in nodes
        ]


class NodeHandler(ApiHandler):
    """``PATCH /nodes/{site}/{node}``."""

    @operation(
        "Drain a node, or let jobs on it again",
        body=NodePatch,
        answers={200: NodeView},
        admin=True,
    )
    async def patch(self, site: str, node: str) -> None:
        """Drain a node, or let jobs on it again."""
        self.require_admin("drain nodes")
        patch = await self.read(NodePatch)
        try:
            names = checked_name(site), checked_name(node)
            view = await self.services.sites.set_drain(*names, patch.drained, patch.reason)
        except KeyError:
            shown = f"{node[:SHOWN_LENGTH]} at site {site[:SHOWN_LENGTH]}"
            message = f"There is no node {shown}."
            raise ApiError(404, "node_not_found", message) from None
        self.reply(view)
