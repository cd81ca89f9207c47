"""Pages for people, at every door: what is here, and the reference of the REST API."""

from .handler import PageHandler
from .overview import OverviewPage
from .reference import ReferencePage

ROUTES: list[tuple[str, type[PageHandler]]] = [
    ("/?", OverviewPage),
    ("/api/docs", ReferencePage),
]

__all__ = ["ROUTES", "OverviewPage", "PageHandler", "ReferencePage"]
