"""What the core says of itself, and its errors."""

from __future__ import annotations

from pydantic import BaseModel, Field


class Health(BaseModel):
    """``GET /api/v1/health``."""

    status: str = Field(
        description="`ok`; or `degraded`: a part of the core has ended, its log says why."
    )
    version: str
    core_id: str
    uptime: float = Field(description="Seconds since the core started.")
    jobs: dict[str, int] = Field(description="Number of jobs in each state that is not final.")


class Version(BaseModel):
    """``GET /api/v1/version``; anybody who may come in at all may ask."""

    version: str = Field(description="Of the core's program.")
    api: list[str] = Field(description="Versions of this API that the core speaks.")


class ErrorBody(BaseModel):
    """The inside of every error answer."""

    code: str
    message: str
    field: str | None = None


class ErrorView(BaseModel):
    """Every error answer of the API."""

    error: ErrorBody
