"""What is refused because of a directive names its line, whoever refuses it."""

from __future__ import annotations

import pytest

from skyport_core.client import CoreClient, CoreError
from skyport_core.service import ServiceError
from skyport_core.wire import JobRequest, OfferRequest

from .served import JOB, ServedCore

SCRIPT = "#!/bin/sh\n#SBATCH -A physics\n#SWM site nowhere\ntrue\n"


def unknown_site() -> ServiceError:
    return ServiceError("site: there is none", code="unknown_site", status=422, field="site")


@pytest.fixture
def client(core: ServedCore) -> CoreClient:
    return CoreClient(core.socket)


async def refusal(client: CoreClient, request: JobRequest) -> CoreError:
    async with client:
        with pytest.raises(CoreError) as caught:
            await client.submit(request)
    return caught.value


async def test_refusal_of_the_core_names_the_line(core: ServedCore, client: CoreClient) -> None:
    core.jobs.failure = unknown_site()
    error = await refusal(client, JobRequest(script=SCRIPT))
    assert error.message == "script: line 3: #SWM site: there is none"
    assert (error.status, error.code, error.field) == (422, "unknown_site", "site")


async def test_refusal_of_what_the_request_says_names_no_line(
    core: ServedCore, client: CoreClient
) -> None:
    core.jobs.failure = unknown_site()
    error = await refusal(client, JobRequest(script=SCRIPT, site="elsewhere"))
    assert error.message == "site: there is none"


async def test_account_that_means_nothing_is_told_by_the_first_event(
    core: ServedCore, client: CoreClient
) -> None:
    async with client:
        await client.put_job(JOB, JobRequest(script=SCRIPT))
        [event] = [event async for event in client.events(JOB, follow=False)]
        offered = await client.offers(OfferRequest(script=SCRIPT))
    assert event.hint.startswith("line 2: #SBATCH --account: the account 'physics' means nothing")
    assert offered.verdict == "starts"
