"""Tables and verdicts of the benchmarks."""

from __future__ import annotations

import argparse
import json
import signal
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Series:
    """What was measured of one subject: ``values`` in ``unit``, one for each round."""

    subject: str
    figure: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle of the values."""
        return statistics.median(self.values)


@dataclass(frozen=True)
class Result:
    """A ratio of Sky Port's figure to a peer's, against a target.

    ``better`` says on which side of the target the ratio should be.
    """

    name: str
    ratio: float
    target: float
    better: Literal["higher", "lower"]
    peer: str

    @property
    def ok(self) -> bool:
        """Whether the target is met."""
        return self.ratio >= self.target if self.better == "higher" else self.ratio <= self.target

    def __str__(self) -> str:
        verdict = "ok" if self.ok else "short"
        return f"RESULT {self.name} ratio={self.ratio:.3f} target={self.target:g} {verdict}"


def median_ratio(ours: Series, peer: Series) -> float:
    """Ratio of the medians, for values that scatter by themselves."""
    return ours.median / peer.median


def paired_ratio(ours: Series, peer: Series) -> float:
    """Median of the rounds' own ratios, so that a drift of the machine cancels out."""
    return statistics.median(a / b for a, b in zip(ours.values, peer.values, strict=True))


def best(series: Iterable[Series], better: Literal["higher", "lower"]) -> Series:
    """The peer with the best median."""
    pick = max if better == "higher" else min
    return pick(series, key=lambda one: one.median)


def compare(
    name: str,
    ours: Series,
    peers: Sequence[Series],
    target: float,
    better: Literal["higher", "lower"],
    ratio: Callable[[Series, Series], float] = paired_ratio,
) -> Result:
    """Set our series against the best of the peers'."""
    peer = best(peers, better)
    return Result(name, ratio(ours, peer), target, better, peer.subject)


def end_tidily() -> None:
    """Have SIGTERM end a benchmark as Ctrl-C does: what it started is stopped."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))


def argument_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with the options that all benchmarks share."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all values there too")
    return parser


def publish(series: Sequence[Series], results: Sequence[Result], file: Path | None) -> None:
    """Print the table and then, last, one line for each result; write the JSON file if asked."""
    print(table(series))
    print()
    for result in results:
        print(f"{result.name}: against {result.peer}, {result.better} is better")
    for result in results:
        print(result)
    if file is not None:
        document = {
            "series": [vars(one) | {"median": one.median} for one in series],
            "results": [vars(one) | {"ok": one.ok} for one in results],
        }
        file.write_text(json.dumps(document, indent=1) + "\n")


def table(series: Sequence[Series]) -> str:
    """Minimum, median and maximum of each series, aligned."""
    rows = [("figure", "subject", "min", "median", "max", "unit", "rounds")]
    rows += [
        (
            one.figure,
            one.subject,
            f"{min(one.values):.4g}",
            f"{one.median:.4g}",
            f"{max(one.values):.4g}",
            one.unit,
            str(len(one.values)),
        )
        for one in series
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    left = {0, 1, 5}
    return "\n".join(
        "  ".join(
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )
