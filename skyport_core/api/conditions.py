"""Entity tags: answers that are known already, and changes to what somebody else changed.

After RFC 9110, sections 8.8.3 and 13.1.
"""

from __future__ import annotations

import re

from .errors import ApiError
from .operation import Header

_TAG = '(?:W/)?"[!#-~]*"'
_TAGS = f"^(\\*|{_TAG}( *, *{_TAG})*)$"

IF_MATCH = Header(
    "If-Match",
    "Change it only if it still is as when this `ETag` came with it: `412` otherwise.",
    pattern=_TAGS,
)
"""The condition of operations that change what several callers may change."""


def entity_tag(version: int | str) -> str:
    """The strong tag of a version."""
    return f'"{version}"'


def check_match(given: str | None, version: int | str, noun: str) -> None:
    """Raise ApiError 412 unless the header ``If-Match``, if there is one, names this version.

    A weak tag names none, since it does not promise that nothing has changed. Raises ApiError 422
    for what is no list of tags.
    """
    if given is None:
        return
    text = given.strip()
    if not re.fullmatch(_TAGS, text):
        message = f"If-Match ({text[:60]!r}): must be * or tags such as {entity_tag(version)}"
        raise ApiError(422, "invalid", message, "If-Match")
    if text == "*" or entity_tag(version) in re.findall(_TAG, text):
        return
    message = (
        f"{noun} has changed: it is {entity_tag(version)} now, and If-Match names {text[:60]}. "
        "Look at it again, then repeat the change if it is still wanted."
    )
    raise ApiError(412, "changed", message, "If-Match")
