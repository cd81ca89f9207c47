"""Tables, lines and JSON on the terminal."""

from __future__ import annotations

import datetime as dt
import json
import os
import sys
from collections.abc import Iterable, Sequence

import click
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..model import JobState

PIPE_WIDTH = 300
"""Columns of a table that goes into a pipe or file, so that nothing is cut off."""

MAX_CELL = 32
"""Columns that a cell takes at most, the last of its row excepted."""

STATE_STYLES = {
    JobState.RUNNING: "green",
    JobState.FINISHED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
}


def print_json(view: BaseModel | Sequence[BaseModel]) -> None:
    """One view as an object, several as an array."""
    if isinstance(view, BaseModel):
        click.echo(view.model_dump_json(indent=2))
    else:
        click.echo(json.dumps([each.model_dump(mode="json") for each in view], indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], none: str) -> None:
    """A table as wide as the terminal at most; ``none`` is said when there is no row.

    A column whose name ends in ``>`` is a number and stands to the right. The last column is
    wrapped where the terminal is narrow; the others stay on one line.
    """
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns[:-1]:
        table.add_column(
            name.rstrip(">"),
            justify="right" if name.endswith(">") else "left",
            no_wrap=True,
            overflow="ellipsis",
            max_width=MAX_CELL,
        )
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*[_cell(value) for value in row])
    if table.row_count:
        _console().print(table)
    else:
        click.echo(none)


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other; empty values are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        if value not in (None, ""):
            table.add_row(name, _cell(value))
    _console().print(table)


def plain(text: str) -> str:
    """Text without the control characters that could steer the terminal."""
    return "".join(char if char.isprintable() or char == "\n" else "�" for char in text)


def clock(time: dt.datetime | None) -> str:
    """A time in the reader's own zone."""
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S") if time else ""


def age(since: dt.datetime | None) -> str:
    """How long ago, in the largest unit that fits."""
    return span((dt.datetime.now(dt.timezone.utc) - since).total_seconds()) if since else ""


def span(seconds: float) -> str:
    """A length of time in the largest unit that fits, such as ``5m``."""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def size(count: int) -> str:
    """Bytes in the largest unit that fits, such as ``3.4M``."""
    value = float(count)
    for unit in ("", "K", "M", "G"):
        if value < 1024:
            return f"{value:.0f}" if not unit else f"{value:.1f}{unit}"
        value /= 1024
    return f"{value:.1f}T"


def portion(part: float | None, whole: float | None) -> str:
    """``part/whole``; a dash for what is unknown or without limit."""
    return "/".join("-" if value is None else f"{value:g}" for value in (part, whole))


def price(value: float | None) -> str | None:
    """A price per hour; None (a dash) when there is none or it is not known."""
    if value is None:
        return None
    return f"{value:.2f}" if value >= 1 else f"{value:.4f}".rstrip("0").ljust(4, "0")


def money(value: float | None, currency: str) -> str | None:
    """A price with its currency, unless that is the usual one."""
    text = price(value)
    return text if text is None or currency in ("", "USD") else f"{text} {currency}"


def _cell(value: object) -> Text:
    if isinstance(value, JobState):
        return Text(value.value, style=STATE_STYLES.get(value, ""))
    if value is None:
        return Text("-")
    return Text(plain(f"{value:g}" if isinstance(value, float) else str(value)))


def _console() -> Console:
    piped = not sys.stdout.isatty() and "COLUMNS" not in os.environ
    return Console(file=sys.stdout, width=PIPE_WIDTH if piped else None, highlight=False)
