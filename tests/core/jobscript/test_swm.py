"""The ``#SWM`` directives."""

from __future__ import annotations

from typing import Any

import pytest

from skyport_core.jobscript import read
from skyport_core.model import Dependency, JobKind
from skyport_core.wire import JobRequest, OfferRequest

from .scripts import PEER, complete, completed, refusal, script

ID = "6d1f5a52-2f5e-4b0f-9b63-0c1c5f7f3a01"


@pytest.mark.parametrize(
    ("directive", "field", "value"),
    [
        ("name Two  words ", "name", "Two  words"),
        ("comment why: #1", "comment", "why: #1"),
        ("account physics", "account", "physics"),
        (f"account_id {ID}", "account", ID),
        ("flavor Standard_D2_v4", "flavor", "Standard_D2_v4"),
        ("gpus 0", "gpus", 0),
        ("cpus 2.5", "cpus", 2.5),
        ("memory 512", "memory", 512),
        ("memory 1.5G", "memory", 1536),
        ("memory 4GiB", "memory", 4096),
        ("memory 100K", "memory", 1),
        ("nodes 5", "nodes", 5),
        ("walltime 90", "walltime", 90),
        ("walltime 90m", "walltime", 5400),
        ("walltime 1.5h", "walltime", 5400),
        ("walltime 45:00", "walltime", 2700),
        ("walltime 12:00:30", "walltime", 43230),
        ("walltime 1-12:00:00", "walltime", 129600),
        ("storage 100G", "storage", 100),
        ("storage 2T", "storage", 2048),
        ("storage swmblobcontainer", "storages", ("swmblobcontainer",)),
        ("cloud-image ubuntu-hpc/2404", "image", "ubuntu-hpc/2404"),
        ("container-image subfuzion/netcat", "container", "subfuzion/netcat"),
        ("image ubuntu:18.04", "container", "ubuntu:18.04"),
        ("image registry.example.org/a/b", "container", "registry.example.org/a/b"),
        ("image localhost:5000/a:1", "container", "localhost:5000/a:1"),
        ("image ubuntu-18.04", "image", "ubuntu-18.04"),
        ("image Canonical:offer:sku:latest", "image", "Canonical:offer:sku:latest"),
        ("workdir /data/run 1", "workdir", "/data/run 1"),
        ("input-files a.dat '/x/b c.dat' ~/d", "inputs", ("a.dat", "b c.dat", "d")),
        ("input /tmp/input.dat", "inputs", ("input.dat",)),
        ("output-files r.dat 'q r'", "outputs", ("r.dat", "q r")),
        ("output r.dat", "outputs", ("r.dat",)),
        ("relocatable", "relocatable", True),
        ("relocatable no", "relocatable", False),
        ("stdin in.txt", "stdin", "in.txt"),
        ("stdout out.%j", "stdout", "out.%j"),
        ("stderr err.%j", "stderr", "err.%j"),
        ("site lab", "site", "lab"),
        ("region westeurope", "region", "westeurope"),
        ("zone 2", "zone", "2"),
        ("spot", "spot", True),
        ("spot any", "spot", None),
        ("max-price 0.25", "max_price", 0.25),
        ("keep desk", "keep", "desk"),
        ("on-eviction move", "on_eviction", "move"),
        ("label disk=ssd arch=arm64", "labels", {"disk": "ssd", "arch": "arm64"}),
        ("env A=1 B='two words' C=x=y", "variables", {"A": "1", "B": "two words", "C": "x=y"}),
        ("array 0-9%2", "array", "0-9%2"),
        ("hold", "hold", True),
        ("start-timeout 5m", "start_timeout", 300),
        ("ports 8888/tcp/in", "port", 8888),
        ("ports 1/tcp/in,2/tcp/in,3/tcp/in", "ports", (2, 3)),
        ("ports 8081/tcp/out", "forwards", {"p8081": f"{PEER}:8081"}),
        ("ports 8081/tcp/out", "forward_ports", {"p8081": 8081}),
        (
            f"dependency afterok:{ID},afterany:{ID}",
            "dependencies",
            (Dependency(job=ID), Dependency(job=ID, when="afterany")),
        ),
        (f"dependency {ID}", "dependencies", (Dependency(job=ID),)),
    ],
)
def test_a_directive_fills_in_its_field(directive: str, field: str, value: Any) -> None:
    request = completed(f"#SWM {directive}")

    assert getattr(request, field) == value
    assert field in request.model_fields_set


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("#SWM wallime 5", "line 2: #SWM: there is no directive 'wallime'; did you mean walltime?"),
        ("#SWM xyzzy", "known are account, account_id, array"),
        ("#SWM keep-resources", "'#SWM keep NAME'"),
        ("#SWM", "line 2: #SWM: names no directive"),
        ("#SWM walltime soon", "#SWM walltime: 'soon' must be seconds, 90m, 2h"),
        ("#SWM walltime", "#SWM walltime: must be seconds"),
        ("#SWM walltime 0", "must be greater than 0"),
        ("#SWM memory much", "must be a size: MiB"),
        ("#SWM nodes many", "must be a whole number"),
        ("#SWM nodes 100000", "must be less than or equal to 1000"),
        ("#SWM gpus 1.5", "must be a whole number"),
        ("#SWM gpus -1", "'-1' must be greater than or equal to 0"),
        ("#SWM cpus 99999999999999999999", "must be less than or equal to 100000"),
        ("#SWM max-price -1", "'-1' must be greater than 0"),
        ("#SWM array 9-1", "#SWM array: '9-1' ends before it begins"),
        ("#SBATCH -a 1-1000000", "--array: an array has at most 10000 jobs"),
        ("#SWM cpus 0", "must be greater than 0"),
        ("#SWM ports 1234/tcp", "'1234/tcp' must be PORT/tcp/in or PORT/tcp/out"),
        ("#SWM ports 53/udp/in", "not '53/udp/in'"),
        ("#SWM ports 70000/tcp/in", "from 1 to 65535"),
        ("#SWM relocatable maybe", "must be yes or no"),
        ("#SWM on-eviction cry", "must be one of fail, requeue, move"),
        ("#SWM account a b", "'a b' must be letters, digits"),
        ("#SWM env 1x=2", "'1x' must be names of letters"),
        ("#SWM env A=b c", "in quotes if the value holds blanks"),
        ("#SWM env", "needs NAME=VALUE"),
        ("#SWM env A='b", "no closing quotation"),
        ("#SWM array 9-", "must be indices such as 0-9"),
        ("#SWM dependency 123", "UUIDs"),
        ("#SWM dependency afterever:123", "must be ID or after, afterany"),
        ("#SWM input-files data/", "a folder cannot be uploaded"),
        ("#SWM input-files *.dat", "must name each file"),
        ("#SWM input-files a/x b/x", "would have the same name"),
        ("#SWM stdin", "needs a value"),
        ("#SWM submission-address a b\n#SWM ports 1/tcp/out", "must be a host name"),
        ("#SWM submission-address a,b\n#SWM ports 1/tcp/out", "must be a host name"),
        ("#SWM\u00a0name x", "line 2: #SWM: '\\xa0' where a blank is needed"),
    ],
)
def test_what_is_wrong_is_told_with_line_and_directive(line: str, says: str) -> None:
    message = refusal(line)

    assert says in message
    assert message.startswith("line ")


@pytest.mark.parametrize(
    "line",
    [
        "# SWM name x",
        "#SWMname x",
        "#swm name x",
        "echo #SWM name x",
        "##SWM name x",
    ],
)
def test_other_lines_are_comments(line: str) -> None:
    assert completed(line).name == ""


def test_a_directive_counts_anywhere_and_with_blanks_before_it() -> None:
    assert completed("date", "  \t#SWM\tname\tx").name == "x"


@pytest.mark.parametrize(
    "name",
    [
        "name",
        "comment",
        "account",
        "flavor",
        "gpus",
        "ports",
        "cloud-image",
        "container-image",
        "storage",
        "input-files",
        "output-files",
        "submission-address",
    ],
)
def test_what_the_original_clients_leave_empty_counts_as_not_given(name: str) -> None:
    assert completed(f"#SWM {name}", f"#SWM {name}  ").model_fields_set == {"script", "kind"}


def test_later_lines_override_earlier_ones_but_lists_grow() -> None:
    request = completed(
        "#SWM name a",
        "#SWM name b",
        "#SWM input-files a b",
        "#SWM input-files c a",
        "#SWM output-files r",
        "#SWM output s",
        "#SWM storage one",
        "#SWM storage two",
        "#SWM env A=1",
        "#SWM env A=2 B=3",
        "#SWM ports 1/tcp/in",
        "#SWM ports 2/tcp/in",
    )

    assert request.name == "b"
    assert request.inputs == ("a", "b", "c")
    assert request.outputs == ("r", "s")
    assert request.storages == ("one", "two")
    assert request.variables == {"A": "2", "B": "3"}
    assert (request.port, request.ports) == (2, ())


def test_the_request_wins_and_dicts_are_joined() -> None:
    request = completed(
        "#SWM name script",
        "#SWM gpus 2",
        "#SWM ports 1/tcp/in,9/tcp/out",
        "#SWM env A=script B=script",
        "#SWM input-files *.dat",
        name="request",
        ports=(5,),
        variables={"A": "request"},
        inputs=("given",),
        forwards={"hub": "198.51.100.1:80"},
    )

    assert (request.name, request.gpus, request.port, request.ports) == ("request", 2, None, (5,))
    assert request.variables == {"A": "request", "B": "script"}
    assert request.inputs == ("given",)
    assert request.forwards == {"hub": "198.51.100.1:80", "p9": f"{PEER}:9"}


def test_a_script_is_a_batch_job_unless_the_request_says_otherwise() -> None:
    assert completed().kind is JobKind.BATCH
    assert completed(kind=JobKind.SERVER).kind is JobKind.SERVER


@pytest.mark.parametrize(
    ("address", "endpoint"),
    [("hub.example.org", "hub.example.org:80"), ("2001:db8::1", "[2001:db8::1]:80")],
)
def test_out_ports_lead_to_the_submission_address(address: str, endpoint: str) -> None:
    request = completed("#SWM ports 80/tcp/out", f"#SWM submission-address {address}", peer=None)

    assert request.forwards == {"p80": endpoint}


def test_out_ports_to_nowhere_are_refused() -> None:
    assert "'#SWM submission-address'" in refusal("#SWM ports 80/tcp/out", peer=None)


def test_completing_twice_changes_nothing_more() -> None:
    once = completed("#SWM name x", "#SWM ports 1/tcp/in,9/tcp/out", "#SWM input-files a")

    assert complete(once, peer=PEER) == once


def test_an_offer_is_completed_too() -> None:
    request = OfferRequest(script=script("#SWM cpus 3"))

    assert complete(request, peer=None).cpus == 3


def test_a_request_without_a_script_stays_as_it_is() -> None:
    request = JobRequest(command=("true",))

    assert complete(request, peer=None) is request


def test_a_console_gets_the_paths_as_they_are_written() -> None:
    found = read(script("#SWM input-files ~/a/*.dat b", "#SWM output-files r/s"))

    assert found.inputs == ("~/a/*.dat", "b")
    assert found.outputs == ("r/s",)
