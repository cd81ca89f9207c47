"""The query of a terminal on a job's node."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..model import Text


class ShellQuery(BaseModel):
    """Query of ``GET /api/v1/jobs/{id}/shell``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: tuple[Text, ...] = Field(
        default=(),
        max_length=4096,
        description="Program and arguments, one a value; none: the login's shell.",
    )
    tty: bool | None = Field(
        None, description="Whether it gets a terminal; by default only the login's shell does."
    )
    cols: int = Field(80, ge=1, le=10_000, description="Columns of the terminal.")
    rows: int = Field(24, ge=1, le=10_000, description="Rows of the terminal.")
    term: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._+-]{1,64}$")] = Field(
        "xterm-256color", description="Kind of terminal, as in the variable TERM."
    )

    @property
    def terminal(self) -> bool:
        """Whether the program gets a terminal."""
        return not self.command if self.tty is None else self.tty
