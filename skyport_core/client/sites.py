"""Calls about the core, its sites, and what they offer and made."""

from __future__ import annotations

from urllib.parse import quote

from ..wire import (
    FlavorList,
    FlavorQuery,
    FlavorView,
    Health,
    ImageList,
    ImageView,
    NodeList,
    NodePatch,
    NodeView,
    PartitionList,
    PartitionView,
    QuotaList,
    QuotaView,
    SiteList,
    SiteView,
    TunnelList,
    TunnelView,
    UsageList,
    UsageQuery,
    Version,
)
from .calls import Calls, arguments, given


class SiteCalls(Calls):
    """Look at the core and its sites, and look after nodes."""

    async def health(self, *, wait: float = 0) -> Health:
        """Version, identity, uptime and number of jobs of the core."""
        return await self._transport.fetch(Health, "GET", "/health", wait=wait)

    async def version(self, *, wait: float = 0) -> Version:
        """Version of the core's program and of the API that it speaks."""
        return await self._transport.fetch(Version, "GET", "/version", wait=wait)

    async def sites(self, *, wait: float = 0) -> list[SiteView]:
        """The sites and whether they answer."""
        return (await self._transport.fetch(SiteList, "GET", "/sites", wait=wait)).sites

    async def flavors(
        self, query: FlavorQuery | None = None, *, limit: int | None = None, wait: float = 0
    ) -> list[FlavorView]:
        """The node types on offer, in the order that the query asks for.

        Parameters
        ----------
        query : FlavorQuery, optional
            Only what matches it, from its ``after`` on; its ``limit`` is the length of the pages
            in which the answer is fetched. None: everything.
        limit : int, optional
            At most so many; None: all that match.
        """
        asked = query or FlavorQuery()
        found: list[FlavorView] = []
        while True:
            left = asked.limit if limit is None else min(asked.limit, limit - len(found))
            page = await self.flavor_page(asked.model_copy(update={"limit": left}), wait=wait)
            found += page.flavors
            if page.next is None or (limit is not None and len(found) >= limit):
                return found
            asked = asked.model_copy(update={"after": page.next})

    async def flavor_page(self, query: FlavorQuery, *, wait: float = 0) -> FlavorList:
        """One page of :meth:`flavors`, with how many match in all and where it goes on."""
        asked = arguments(query)
        return await self._transport.fetch(FlavorList, "GET", "/flavors", query=asked, wait=wait)

    async def images(self, *, wait: float = 0) -> list[ImageView]:
        """The images on offer."""
        return (await self._transport.fetch(ImageList, "GET", "/images", wait=wait)).images

    async def quotas(self, *, wait: float = 0) -> list[QuotaView]:
        """The limits of the accounts behind the sites, and what is used of them."""
        return (await self._transport.fetch(QuotaList, "GET", "/quotas", wait=wait)).quotas

    async def partitions(self, *, owner: str | None = None, wait: float = 0) -> list[PartitionView]:
        """The nodes made for jobs that are not known to be gone, the oldest first."""
        query = given([("owner", owner)])
        answer = await self._transport.fetch(
            PartitionList, "GET", "/partitions", query=query, wait=wait
        )
        return answer.partitions

    async def delete_partition(self, name: str, *, wait: float = 0) -> PartitionView:
        """Have a partition deleted, such as a machine that was kept; returns at once.

        CoreError 409 while a job has it, 404 when there is none of this name.
        """
        path = f"/partitions/{quote(name, safe='')}"
        return await self._transport.fetch(PartitionView, "DELETE", path, wait=wait)

    async def nodes(self, *, wait: float = 0) -> list[NodeView]:
        """The nodes with what is reserved on them."""
        return (await self._transport.fetch(NodeList, "GET", "/nodes", wait=wait)).nodes

    async def drain(self, site: str, node: str, reason: str = "", *, wait: float = 0) -> NodeView:
        """Place no more jobs on a node; those on it go on. Admins only."""
        return await self._patch_node(site, node, NodePatch(drained=True, reason=reason), wait)

    async def resume(self, site: str, node: str, *, wait: float = 0) -> NodeView:
        """Place jobs on a drained node again. Admins only."""
        return await self._patch_node(site, node, NodePatch(drained=False), wait)

    async def tunnels(self, *, wait: float = 0) -> list[TunnelView]:
        """The ports that are carried between jobs and the core."""
        return (await self._transport.fetch(TunnelList, "GET", "/tunnels", wait=wait)).tunnels

    async def usage(self, query: UsageQuery | None = None, *, wait: float = 0) -> UsageList:
        """What jobs used and cost.

        Parameters
        ----------
        query : UsageQuery, optional
            Of which days, owner, account and site, and what the rows are told apart by; None: the
            last 30 days by owner, site and day.
        """
        asked = arguments(query or UsageQuery())
        return await self._transport.fetch(UsageList, "GET", "/usage", query=asked, wait=wait)

    async def _patch_node(self, site: str, node: str, patch: NodePatch, wait: float) -> NodeView:
        path = f"/nodes/{quote(site, safe='')}/{quote(node, safe='')}"
        return await self._transport.fetch(NodeView, "PATCH", path, body=patch, wait=wait)
