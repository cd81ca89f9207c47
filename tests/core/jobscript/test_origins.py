"""What a script asked for is known by its line, also once the request is made."""

from __future__ import annotations

from skyport_core.jobscript import understand
from skyport_core.wire import JobRequest

ONE, TWO = "6d1f5a52-0000-4000-8000-000000000001", "6d1f5a52-0000-4000-8000-000000000002"


def script(*lines: str) -> str:
    return "\n".join(["#!/bin/sh", *lines, "true"])


def test_each_entry_of_a_list_is_known_by_its_own_line() -> None:
    text = script(f"#SWM dependency {ONE}", "#SWM cpus 1", f"#SWM dependency {TWO}")
    whole = understand(JobRequest(script=text), peer=None)
    found = [whole.origin(f"dependencies.{number}.job") for number in (0, 1)]
    assert [(each.line, each.name) for each in found if each] == [
        (2, "#SWM dependency"),
        (4, "#SWM dependency"),
    ]


def test_what_the_request_says_itself_has_no_line() -> None:
    text = script("#SWM site lab", "#SWM env A=1 B=2")
    whole = understand(JobRequest(script=text, site="lab", variables={"A": "3"}), peer=None)
    assert whole.origin("site") is None
    assert whole.origin("variables.A") is None
    origin = whole.origin("variables.B")
    assert origin is not None
    assert origin.line == 3


def test_an_account_of_some_cluster_means_nothing_without_accounts() -> None:
    request = JobRequest(script=script("#SBATCH -A physics"))
    whole = understand(request, peer=None, sites=("lab",), any_account=True)
    assert whole.request.account is None
    assert whole.notes[0].startswith("line 2: #SBATCH --account: the account 'physics'")
    assert understand(request, peer=None).request.account == "physics"


def test_an_account_that_a_site_is_called_like_or_of_our_dialect_stays() -> None:
    for line in ("#SBATCH -A lab", "#SWM account physics"):
        request = JobRequest(script=script(line))
        whole = understand(request, peer=None, sites=("lab",), any_account=True)
        assert (whole.request.account, whole.notes) == (line.split()[-1], ())


def test_environment_modules_are_noticed() -> None:
    whole = understand(JobRequest(script=script("echo", "module load gcc/13")), peer=None)
    assert whole.notes[0].startswith("line 3: 'module load'")
