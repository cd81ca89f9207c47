"""Entity tags in ``If-Match``, by RFC 9110."""

from __future__ import annotations

import pytest

from skyport_core.api.conditions import check_match
from skyport_core.api.errors import ApiError


@pytest.mark.parametrize("given", [None, "*", '"3"', '"1", "3"', '"1","3"', ' "3" ', 'W/"1", "3"'])
def test_the_present_version_matches(given: str | None) -> None:
    check_match(given, 3, "Job x")


@pytest.mark.parametrize("given", ['"2"', '"33"', 'W/"3"', '"1", "2"', '""'])
def test_another_version_is_412_and_tells_the_present_one(given: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_match(given, 3, "Job x")
    assert (caught.value.status, caught.value.code) == (412, "changed")
    assert 'Job x has changed: it is "3" now' in caught.value.message


@pytest.mark.parametrize("given", ["3", "", '"3', '"3" "4"', '*, "3"', "'3'"])
def test_what_is_no_tag_is_422(given: str) -> None:
    with pytest.raises(ApiError) as caught:
        check_match(given, 3, "Job x")
    assert (caught.value.status, caught.value.field) == (422, "If-Match")
