"""What the parts of the core hand to those who serve users, and how they refuse."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Protocol


class ServiceError(Exception):
    """A refusal that the caller should read.

    Parameters
    ----------
    message : str
        What was refused, why, and what to do; shown to the caller as it is.
    code : str
        A word for programs.
    status : int
        HTTP status of the answer: 503 for what may work later, 422 for what the request asks.
    field : str, optional
        Path of the request's field that is at fault, such as ``site``.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "unavailable",
        status: int = 503,
        field: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status
        self.field = field


@dataclass(frozen=True)
class OpenFile:
    """A regular file at the core that is open to be read; who has it closes ``descriptor``."""

    descriptor: int
    status: os.stat_result


class Piped(Protocol):
    """A program on a node, or a connection to a port there."""

    async def read(self) -> tuple[int, bytes]:
        """What comes next, and from which stream (1, 2); waits for it. Empty: all have ended."""

    async def write(self, data: bytes) -> None:
        """Send; returns once there is room for what comes next."""

    async def write_eof(self) -> None:
        """Nothing more will be sent."""

    def resize(self, columns: int, rows: int) -> None:
        """The terminal has another size now."""

    async def end(self) -> tuple[int | None, str | None]:
        """Exit status, and the signal that ended the program; waits for it."""

    def close(self) -> None:
        """Hang up, whatever is under way."""
