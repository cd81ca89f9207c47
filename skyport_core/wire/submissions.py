"""What a terminal sends to have a job run."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from ..model import MAX_ENTRIES, EnvName, JobSpec, Name, RelativePath, Text

Part = TypeVar("Part", bound=BaseModel)

MAX_SCRIPT = 16_000_000
"""Characters of the longest script."""


def _without_nul(value: str) -> str:
    if "\0" in value:
        raise ValueError("must not contain the character NUL")
    return value


Script = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_SCRIPT),
    # A pattern takes much longer, and says the same for schemas.
    AfterValidator(_without_nul),
    Field(json_schema_extra={"pattern": r"^[^\x00]*$"}),
]

_BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

_ONE_PROGRAM: dict[str, Any] = {
    "oneOf": [
        {
            "required": ["command"],
            "properties": {"command": {"minItems": 1}, "script": {"type": "null"}},
        },
        {
            "required": ["script"],
            "properties": {"script": {"type": "string"}, "command": {"maxItems": 0}},
        },
    ]
}
"""Of :class:`JobRequest`, what ``_one_program`` checks, as a JSON schema."""


class FileUpload(BaseModel):
    """A small file to put into the job's folder before it starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: RelativePath = Field(description="Relative to the job's own folder on the node.")
    content: str = Field(
        description="The bytes, base64.",
        max_length=16 * 2**20,
        repr=False,
        json_schema_extra={"pattern": _BASE64, "contentEncoding": "base64"},
    )
    mode: int = Field(0o600, ge=0, le=0o777)

    @field_validator("content")
    @classmethod
    def _base64(cls, value: str) -> str:
        try:
            base64.b64decode(value, validate=True)
        except binascii.Error as error:
            raise ValueError(f"must be base64: {error}") from None
        return value

    @property
    def data(self) -> bytes:
        """The decoded bytes."""
        return base64.b64decode(self.content)


class JobSecrets(BaseModel):
    """The secret half of a request: kept encrypted, written to 0600 files, dropped at the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    environment: dict[EnvName, Text] = Field(
        default_factory=dict,
        repr=False,
        description="Environment of the job, taken literally.",
        json_schema_extra={"maxProperties": MAX_ENTRIES},
    )
    environment_templates: dict[EnvName, Text] = Field(
        default_factory=dict,
        repr=False,
        description=(
            "Environment whose values may hold {address} and {port} (where the job must listen), "
            "{job_dir} (its folder on the node) and {forward:NAME} (host:port of a forward)."
        ),
        json_schema_extra={"maxProperties": MAX_ENTRIES},
    )
    files: tuple[FileUpload, ...] = Field(default=(), repr=False, max_length=256)


class JobRequest(JobSpec, JobSecrets):
    """Body of ``PUT /api/v1/jobs/{id}``: a program with its arguments, or a script.

    What the script's ``#SWM`` and ``#SBATCH`` lines ask for holds where the request is silent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", json_schema_extra=_ONE_PROGRAM)

    owner: Name | None = Field(
        None, description="Whose job it is; only a trusted caller may name another than itself."
    )
    script: Script | None = Field(
        None, repr=False, description="A program to run, with directives; instead of a command."
    )

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        if bool(self.command) == (self.script is not None):
            raise PydanticCustomError(
                "one_program", "give either a command or a script", {"field": "command"}
            )
        _check_tables(self, ("environment", "environment_templates", "forwards", "labels"))
        return self

    def spec(self) -> JobSpec:
        """The part that is stored in the clear."""
        return self._part(JobSpec)

    def secrets(self) -> JobSecrets:
        """The part that is stored encrypted."""
        return self._part(JobSecrets)

    def _part(self, model: type[Part]) -> Part:
        # Its fields are valid already, by the same rules.
        return model.model_construct(**{name: getattr(self, name) for name in model.model_fields})


class OfferRequest(JobSpec):
    """Body of ``POST /api/v1/offers``: a job that need not have a program."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    owner: Name | None = Field(None, description="Whose job it would be.")
    script: Script | None = Field(None, repr=False, description="As of a job.")

    @model_validator(mode="after")
    def _small_tables(self) -> Self:
        _check_tables(self, ("forwards", "labels"))
        return self


def _check_tables(request: JobSpec, names: tuple[str, ...]) -> None:
    """Refuse what is too much to ask for, although a job of an earlier release may have it."""
    for name in names:
        if len(getattr(request, name)) > MAX_ENTRIES:
            message = f"must have at most {MAX_ENTRIES} entries"
            raise PydanticCustomError("too_many_entries", message, {"field": name})
