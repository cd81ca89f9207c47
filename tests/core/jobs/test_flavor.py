"""Flavors that no site has."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from skyport_core.jobs.flavor import check_flavor
from skyport_core.model import JobSpec
from skyport_core.offering import SiteSnapshot
from skyport_core.service import ServiceError
from skyport_core.settings import Settings
from skyport_gates.gate import Flavor


def flavor(name: str) -> Flavor:
    return Flavor(name=name, cpus=1, memory=1024)


def check(spec: JobSpec, *sites: SiteSnapshot) -> Any:
    known: Any = SimpleNamespace(
        snapshots=lambda: sites, gates=dict.fromkeys(site.name for site in sites)
    )
    return check_flavor(spec, known, Settings())


AZURE = SiteSnapshot("azure", flavors=(flavor("Standard_D2_v4"), flavor("tiny")), known=True)
LAB = SiteSnapshot("lab", flavors=(flavor("node"),), known=True)
SILENT = SiteSnapshot("cloud")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        (JobSpec(flavor="standard_d2-v4"), "none of the job's sites has .*Standard_D2_v4"),
        (JobSpec(flavor="tiny", site="lab"), "site lab has no such flavor"),
        (JobSpec(flavor="tiny", account="lab"), "'tiny'.*site lab has no such flavor"),
    ],
)
async def test_a_flavor_that_no_site_of_the_job_has_is_refused(spec: JobSpec, words: str) -> None:
    with pytest.raises(ServiceError, match=words) as caught:
        await check(spec, AZURE, LAB)
    error = caught.value
    assert (error.status, error.code, error.field) == (422, "unknown_flavor", "flavor")


async def test_a_site_that_has_not_answered_may_have_any_flavor() -> None:
    await check(JobSpec(flavor="huge"), AZURE, SILENT)
    await check(JobSpec(flavor="node"), AZURE, LAB)
    await check(JobSpec(), AZURE, LAB)
