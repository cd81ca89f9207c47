"""Where a job would go: the answer to a dry run."""

from __future__ import annotations

import datetime as dt
from typing import Literal

from pydantic import BaseModel, Field


class OfferView(BaseModel):
    """One place where the job could run, or why it could not.

    ``state``: ``chosen`` is where it would go; ``free`` could take it now too; ``busy`` has to wait
    for other jobs; ``unavailable`` cannot be used at present; ``unsuitable`` never can.
    """

    site: str
    flavor: str
    node: str | None = Field(None, description="A node that exists; null: one would be made.")
    region: str = ""
    zone: str = ""
    spot: bool = False
    state: Literal["chosen", "free", "busy", "unavailable", "unsuitable"]
    reason: str = Field("", description="Why not here, in words for people.")
    start: dt.datetime | None = Field(None, description="When it could start at the earliest.")
    delay: float | None = Field(None, description="Seconds to make the node, as its site says.")
    cpus: float
    memory: int
    gpus: int
    price: float | None = Field(None, description="Per node and hour; null: none, or not known.")
    cost: float | None = Field(None, description="Of all its nodes for its whole walltime.")
    currency: str = "USD"


class OfferList(BaseModel):
    """``POST /api/v1/offers``: what would become of a job if it were submitted now.

    ``verdict``: ``starts`` at once, ``waits`` (``position`` in the queue), or is ``impossible``;
    ``reason`` and ``hint`` are for people, ``start`` is when it is expected to start. The best
    ``offers`` come first; ``total`` says how many there are.
    """

    verdict: Literal["starts", "waits", "impossible"]
    reason: str = ""
    hint: str = ""
    position: int | None = None
    start: dt.datetime | None = None
    offers: list[OfferView]
    total: int
