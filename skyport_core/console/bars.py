"""Progress bars of transfers, on standard error; none where that is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from ..client import Progress as Told
from .output import line

SHOWN = 8
"""Bars at a time; finished ones make room for the next."""


class Bars:
    """One bar a transfer, with its speed and the time that is left; a context manager.

    Parameters
    ----------
    title : str
        What is going on, for people.
    """

    def __init__(self, title: str) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(file=sys.stderr, highlight=False),
            disable=not sys.stderr.isatty(),
            transient=True,
        )
        self._title = title

    def __enter__(self) -> Bars:
        self._progress.start()
        if not self._progress.disable:
            self._progress.console.print(Text(self._title))
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    @contextmanager
    def transfer(self, name: str) -> Iterator[Told]:
        """The bar of one transfer: what to tell its progress to."""
        task = self._progress.add_task(line(name)[-40:], total=None)

        def told(done: int, whole: int | None) -> None:
            self._progress.update(task, completed=done, total=whole)

        try:
            yield told
        finally:
            if len(self._progress.tasks) > SHOWN:
                self._progress.remove_task(task)
