"""The query of a request, read as a model."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import ApiError, from_validation

Model = TypeVar("Model", bound=BaseModel)


class NoQuery(BaseModel):
    """The query of what takes none."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def read_query(arguments: Mapping[str, Sequence[bytes]], model: type[Model]) -> Model:
    """The arguments as ``model``: its tuples may be given several times, the rest once.

    Raises ApiError 400 for what is not UTF-8, and 422 naming the argument at fault.
    """
    given: dict[str, object] = {}
    for name, raw in arguments.items():
        values = [_decoded(name, value) for value in raw]
        field = model.model_fields.get(name)
        if field is not None and is_repeated(field.annotation):
            given[name] = values
        elif field is not None and len(values) > 1:
            message = f"{name}: must be given once, not {len(values)} times"
            raise ApiError(422, "invalid", message, name)
        else:
            given[name] = values[0]
    try:
        return model.model_validate(given)
    except ValidationError as error:
        refused = from_validation(error, model, noun="argument")
    raise refused


def is_repeated(annotation: Any) -> bool:
    """Whether an argument of this type may be given several times."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return any(is_repeated(part) for part in typing.get_args(annotation))
    return typing.get_origin(annotation) in (tuple, list, frozenset, set)


def _decoded(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        message = f"{name[:60]}: must be UTF-8, percent-encoded"
        raise ApiError(400, "bad_request", message, name[:60]) from None
