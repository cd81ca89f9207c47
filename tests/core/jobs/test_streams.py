"""Names of the files that a job reads and writes."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import pytest

from skyport_core.jobs.streams import Streams, expand, streams_of
from skyport_core.model import Job, JobKind, JobSpec

NOW = dt.datetime(2030, 1, 1, tzinfo=dt.timezone.utc)
JOB_ID, ARRAY_ID = str(uuid.UUID(int=1)), str(uuid.UUID(int=2))


def a_job(*, array: bool = False, **spec: Any) -> Job:
    extra: dict[str, Any] = {"array_id": ARRAY_ID, "array_index": 7} if array else {}
    fields = {"kind": JobKind.BATCH, "name": "sim/one", **spec}
    return Job(JOB_ID, "ann", JobSpec(**fields), 1, NOW, NOW, node="n1.lab.org", **extra)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("run-%j.out", f"run-{JOB_ID}.out"),
        ("%u/%x", "ann/sim_one"),
        ("%N", "n1"),
        ("100%%", "100%"),
        ("%%j", "%j"),
        ("%A_%a", f"{ARRAY_ID}_7"),
        ("%4a", "0007"),
        ("%99a", "0000000007"),
        (f"%{'9' * 5000}a", "0000000007"),
        ("%4x", "sim_one"),
        ("%q-%", "%q-%"),
    ],
)
def test_patterns_mean_what_they_mean_to_slurm(name: str, meant: str) -> None:
    assert expand(name, a_job(array=True)) == meant


def test_job_in_no_array_is_its_own() -> None:
    assert expand("%A_%a", a_job()) == f"{JOB_ID}_0"


@pytest.mark.parametrize(
    ("spec", "streams"),
    [
        ({}, Streams()),
        ({"kind": JobKind.SERVER}, Streams(merged=True)),
        ({"kind": JobKind.SERVER, "stderr": "e"}, Streams(stderr="e")),
        ({"stdout": "o", "stderr": "e"}, Streams(stdout="o", stderr="e")),
        ({"stdout": "o-%a", "stderr": "o-0"}, Streams(stdout="o-0", merged=True)),
        ({"stdout": "o", "stderr": "e", "merge_output": True}, Streams(stdout="o", merged=True)),
    ],
)
def test_error_output_goes_with_the_output_or_apart(spec: dict[str, Any], streams: Streams) -> None:
    assert streams_of(a_job(**spec)) == streams
