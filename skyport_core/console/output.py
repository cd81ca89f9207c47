"""Tables, lines and JSON on the terminal."""

from __future__ import annotations

import codecs
import datetime as dt
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, compress

import click
from pydantic import BaseModel
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..model import JobState

ENDLESS = 2**20
"""Columns of what goes into a pipe or file, so that nothing is cut off."""

PIPE_WIDTH = 300
"""Columns of names and values there."""

MAX_CELL = 32
"""Columns that a cell takes at most, the last of its row excepted."""

HIDDEN = "�"
"""Stands for a character that is not shown."""

_ONE_LINE = str.maketrans("\n\t", "  ")

STATE_STYLES = {
    JobState.RUNNING: "green",
    JobState.FINISHED: "green",
    JobState.FAILED: "red",
    JobState.CANCELLED: "yellow",
}


def print_json(view: BaseModel | Sequence[BaseModel]) -> None:
    """One view as an object, several as an array; in ASCII, which steers no terminal."""
    if isinstance(view, BaseModel):
        click.echo(json.dumps(view.model_dump(mode="json"), indent=2))
    else:
        click.echo(json.dumps([each.model_dump(mode="json") for each in view], indent=2))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], none: str) -> None:
    """A table as wide as the terminal at most; ``none`` is said when there is no row.

    A column whose name ends in ``>`` is a number and stands to the right. On a terminal a row is
    one line: columns that say nothing are left out where it is narrow, and texts end in ``…``,
    the longest first.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    for cell in chain(*cells):
        cell.no_wrap = True
    if not cells:
        return click.echo(none)
    console = _console()
    table = _table(columns, cells)
    whole = Measurement.get(console, console.options.update(max_width=ENDLESS), table).maximum
    if _piped():
        console.width = whole
    elif whole > console.width:
        says = [
            any(cell.plain.strip("-") for cell in column) for column in zip(*cells, strict=True)
        ]
        table = _table([*compress(columns, says)], [[*compress(row, says)] for row in cells])
    return _print(console, table)


def _table(columns: Sequence[str], cells: Sequence[Sequence[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for place, name in enumerate(columns):
        number = name.endswith(">")
        header = Text(name.rstrip(">"), no_wrap=True, overflow="ellipsis")
        table.add_column(
            header,
            justify="right" if number else "left",
            # What rich may not wrap it does not shorten either, unless all else is spent: so
            # what names a row and what counts stays whole.
            no_wrap=number or place == 0,
            overflow="ellipsis",
            max_width=MAX_CELL if place < len(columns) - 1 else None,
        )
    for row in cells:
        table.add_row(*row)
    return table


def print_fields(fields: Iterable[tuple[str, object]]) -> None:
    """Names and values below each other; empty values are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in fields:
        if value not in (None, ""):
            table.add_row(name, _cell(value, plain))
    _print(_console(), table)


def plain(text: str) -> str:
    """Text of others, without what could steer a terminal or turn its letters around.

    Control characters, escapes, bidirectional and other invisible marks are shown as �; the ends
    of lines and tabs stay.
    """
    return "".join(char if char.isprintable() or char in "\n\t" else HIDDEN for char in text)


def line(text: str) -> str:
    """As :func:`plain`, on one line: nobody makes up what looks like the next one."""
    return plain(text.translate(_ONE_LINE))


class Screen:
    """What a job wrote, on its way to a terminal: see :func:`plain`. Elsewhere, it stays as it is.

    Parameters
    ----------
    raw : bool
        Let all of it through, since the reader trusts the job.
    """

    def __init__(self, *, raw: bool = False) -> None:
        self._passes = raw or not sys.stdout.isatty()
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def show(self, data: bytes, *, last: bool = False) -> None:
        """Write a part; the bytes of a character may come in two."""
        if self._passes:
            click.echo(data, nl=False)
            return
        # An end of line as other systems have it is none that goes back.
        text = self._decoder.decode(data, last).replace("\r\n", "\n")
        click.echo(plain(text), nl=False)


class JsonParts:
    """What a job wrote, as one object a part; the bytes of a character may come in two.

    Parameters
    ----------
    **names : str
        What each object says besides its text and the offset of that.
    """

    def __init__(self, **names: str) -> None:
        self._names = names
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def show(self, data: bytes, offset: int | None = None, *, last: bool = False) -> None:
        """Print the text that is whole now; ``data`` begins at byte ``offset``, if that counts."""
        begun = len(self._decoder.getstate()[0])
        text = self._decoder.decode(data, last)
        place = {} if offset is None else {"offset": offset - begun}
        if text:
            click.echo(json.dumps({**self._names, **place, "text": text}))


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


def length(seconds: int) -> str:
    """A length of time to the second, as ``[D-]HH:MM:SS``."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{f'{days}-' if days else ''}{hours:02d}:{minutes:02d}:{rest:02d}"


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


def _cell(value: object, shown: Callable[[str], str] = line) -> Text:
    if isinstance(value, JobState):
        return Text(value.value, style=STATE_STYLES.get(value, ""))
    if value is None:
        return Text("-")
    return Text(shown(f"{value:g}" if isinstance(value, float) else str(value)))


def _console() -> Console:
    return Console(file=sys.stdout, width=PIPE_WIDTH if _piped() else None, highlight=False)


def _print(console: Console, table: Table) -> None:
    """Print a table; what no terminal shows has no blanks at the end of its lines."""
    if sys.stdout.isatty():
        return console.print(table)
    with console.capture() as captured:
        console.print(table)
    lines = captured.get().removesuffix("\n").split("\n")
    return click.echo("\n".join(each.rstrip(" ") for each in lines))


def _piped() -> bool:
    return not sys.stdout.isatty() and "COLUMNS" not in os.environ
