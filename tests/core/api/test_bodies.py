"""No body holds up the core, whatever is in it; what is only large comes in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from skyport_core.api.errors import ApiError
from skyport_core.api.media import MOST_VALUES, SLICE, has_few_values, read_json
from skyport_core.model import MAX_ENTRIES, JobSpec
from skyport_core.wire import JobRequest, JobSecrets

from .served import Http


def body(**fields: Any) -> bytes:
    return json.dumps({"command": ["x"], **fields}).encode()


@pytest.mark.parametrize("item", ["1", "[]", "{}", '""', '{"a":1}'])
def test_many_values_are_refused_before_they_are_read(item: str) -> None:
    many = ",".join([item] * 2_000_000)
    with pytest.raises(ApiError) as refused:
        read_json(f'{{"command":["x"],"junk":[{many}]}}'.encode(), JobRequest)
    assert (refused.value.status, refused.value.code) == (413, "too_large")
    assert str(MOST_VALUES) in refused.value.message


@pytest.mark.parametrize("text", [',[{"', "\\", '\\"', "\\\\,", '",\\'])
@pytest.mark.parametrize("shift", range(3))
def test_what_is_inside_a_text_does_not_count(text: str, shift: int) -> None:
    script = "#" * (shift + 1) + text * (3 * SLICE // len(text))
    content = json.dumps({"script": script, "labels": {"a": "b"}}).encode()
    assert has_few_values(content, 10)
    assert read_json(content, JobRequest).script == script


def test_a_large_request_that_makes_sense_comes_in() -> None:
    names = [f"file{number}" for number in range(1024)]
    values = dict.fromkeys(names, "1")
    large = body(command=["x"] * 4000, inputs=names, environment=values, variables=values)
    assert len(read_json(large, JobRequest).environment) == 1024


@pytest.mark.parametrize("field", ["environment", "environment_templates", "labels", "forwards"])
async def test_a_table_has_so_many_entries(http: Http, field: str) -> None:
    values = {f"a{number}": "host:1" for number in range(MAX_ENTRIES + 1)}
    answer = await http("POST", "/jobs", data=body(**{field: values}))
    assert (answer.status, answer.error["field"]) == (422, field)
    assert str(MAX_ENTRIES) in answer.error["message"]


def test_what_was_stored_with_more_entries_can_be_read() -> None:
    values = {f"a{number}": "x" for number in range(2 * MAX_ENTRIES)}
    assert len(JobSpec(labels=values).labels) == 2 * MAX_ENTRIES
    assert len(JobSecrets(environment=values).environment) == 2 * MAX_ENTRIES
