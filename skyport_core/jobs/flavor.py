"""Flavors that no site has, found out before a job waits for one."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Sequence

from ..accounts import sites_of
from ..model import JobSpec
from ..offering import SiteSnapshot
from ..service import ServiceError
from ..settings import Settings
from ..sites import Sites

NEAR = 3
"""Names that a refusal offers instead."""


async def check_flavor(spec: JobSpec, sites: Sites, settings: Settings) -> None:
    """Refuse a flavor that no site has on which the job may run.

    A site that has never answered may have it: the job waits for that.

    Raises
    ------
    ServiceError
        422, with the names that are nearest.
    """
    if spec.flavor is None:
        return
    allowed = [snapshot for snapshot in sites.snapshots() if spec.site in (None, snapshot.name)]
    if spec.account is not None:
        names = sites_of(settings.accounts, spec.account, None, sites.gates)
        allowed = [snapshot for snapshot in allowed if snapshot.name in names]
    if all(snapshot.known for snapshot in allowed):
        await asyncio.to_thread(_check, spec.flavor, allowed)


def _check(flavor: str, sites: Sequence[SiteSnapshot]) -> None:
    known = {each.name for site in sites for each in site.flavors}
    known |= {node.flavor for site in sites for node in site.nodes or ()}
    if flavor in known:
        return
    folded = {name.casefold(): name for name in sorted(known)}
    near = difflib.get_close_matches(flavor.casefold(), folded, n=NEAR, cutoff=0.5)
    hint = (
        f"did you mean {', '.join(folded[each] for each in near)}?"
        if near
        else ("'skyport flavors' lists those there are")
    )
    where = f"site {sites[0].name}" if len(sites) == 1 else "none of the job's sites"
    has = "has no such flavor" if len(sites) == 1 else "has such a flavor"
    message = f"flavor ({flavor[:80]!r}): {where} {has}; {hint}"
    raise ServiceError(message, code="unknown_flavor", status=422, field="flavor")
