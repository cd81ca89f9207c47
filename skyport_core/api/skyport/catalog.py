"""``/user/flavor``, ``/user/image``, ``/user/node`` and ``/user/remote``: what there is."""

from __future__ import annotations

import asyncio

from ...identifiers import account_id
from ...wire import FlavorList, FlavorQuery, FlavorView, ImageView, SiteView
from .handler import OriginalHandler, soon
from .views import flavor_record, image_record, node_record, remote_record

LIMIT = 1000
"""Records of a list that names no limit."""

PAGE = 10_000
"""Flavors of one site that are looked at; those of all its regions count."""


class CatalogHandler(OriginalHandler):
    """What the handlers of these lists share."""

    async def flavors(self) -> dict[str, list[FlavorView]]:
        """The flavors by site, each name once, the cheapest first."""
        sites = [site.name for site in await self.sites()]
        found = await asyncio.gather(*(self._flavors(site) for site in sites))
        return dict(zip(sites, found, strict=True))

    async def _flavors(self, site: str) -> list[FlavorView]:
        query = FlavorQuery(site=site, limit=PAGE)
        page = await soon(self.services.sites.flavors(query), FlavorList(flavors=[]))
        names: dict[str, FlavorView] = {}
        for view in page.flavors:
            names.setdefault(view.name, view)
        return list(names.values())

    async def images(self) -> list[ImageView]:
        """The images of all sites that have told them by now."""
        return await soon(self.services.sites.images(), [])

    async def sites(self) -> list[SiteView]:
        """All sites."""
        return await self.services.sites.sites()


class FlavorsHandler(CatalogHandler):
    """``GET /user/flavor``."""

    async def get(self) -> None:
        """The flavors; each site has some of them in any list that is long enough for all."""
        limit = self.limit(LIMIT)
        by_site = (await self.flavors()).values()
        first = [flavors[0] for flavors in by_site if flavors]
        others = sorted(
            (view for flavors in by_site for view in flavors[1:]),
            key=lambda view: (view.price is None, view.price or 0, view.site, view.name),
        )
        self.send_records([flavor_record(view) for view in [*first, *others][:limit]])


class ImagesHandler(CatalogHandler):
    """``GET /user/image``."""

    async def get(self) -> None:
        """The images of those sites that have flavors too; SwmSpawner cannot do with others."""
        limit = self.limit(LIMIT)
        by_site, images = await asyncio.gather(self.flavors(), self.images())
        usable = [view for view in images if by_site.get(view.site)]
        self.send_records([image_record(view) for view in usable[:limit]])


class NodesHandler(CatalogHandler):
    """``GET /user/node``."""

    async def get(self) -> None:
        """The nodes."""
        nodes = await self.services.sites.nodes()
        self.send_records([node_record(view) for view in nodes[: self.limit(LIMIT)]])


class RemotesHandler(CatalogHandler):
    """``GET /user/remote``."""

    async def get(self) -> None:
        """All sites: every flavor and image must find its own here."""
        limit = self.limit(None)
        sites, by_site, images = await asyncio.gather(self.sites(), self.flavors(), self.images())
        self.send_records(
            [
                remote_record(
                    site,
                    self._account(site.name),
                    next((view for view in images if view.site == site.name), None),
                    next(iter(by_site.get(site.name, ())), None),
                )
                for site in sites[:limit]
            ]
        )

    def _account(self, site: str) -> str:
        account = self.services.jobs.account_of(site, self.caller)
        return account_id(account) if account else ""


class VersionHandler(OriginalHandler):
    """``GET /user``."""

    async def get(self) -> None:
        """The version of the protocol."""
        self.finish('{"api_version": 1}')
