"""A promised figure, and what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from scripts.benchmark.world import World

TOLERANCE: Final = 4 / 3
"""How much worse than it must be a ratio may be until a check fails; shared machines are noisy."""

UNITS: Final = {"ratio": "", "times": " x", "s": " s", "MB": " MB", "%": " %", "bytes": " B"}
"""Of a figure, and how it is written; the first two are quotients of two sides."""


class Skip(Exception):  # noqa: N818 it is no error
    """Raised by a row that cannot be measured here; says why."""


@dataclass(frozen=True)
class Figure:
    """What was measured.

    Parameters
    ----------
    value
        In the unit of its row; None where it was skipped.
    n
        What it was measured on.
    cases
        What it was taken from, or stands beside it, in words.
    broken
        Whether there is no figure because the row raised an error, which is none of measuring.
    ratio
        The value as a multiple of the row's `Guard`.
    """

    value: float | None
    n: str
    cases: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False
    ratio: float | None = None


class Guard(NamedTuple):
    """What stands beside a row in seconds or bytes, so that a check has a ratio to look at."""

    beside: str
    """What was done in the same minute, in words."""
    must: float
    """How many times as much the row may take."""


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Parameters
    ----------
    name
        As ``--only`` takes it.
    what
        The figure in words.
    unit
        A key of `UNITS`.  More `times` are better, of all others less.
    must, aim
        What it must be, and what we should like; None where it only informs.
    measure
        Measures it.
    cells
        Cells of the large store that it needs, which grows from row to row.
    checked
        Whether a check looks at it; only ratios of times and sizes.
    guard
        For a row in seconds or bytes: what a check compares it with.
    """

    name: str
    what: str
    unit: str
    must: float | None
    aim: float | None
    measure: Callable[[World], Figure]
    cells: int = 0
    checked: bool = True
    guard: Guard | None = None

    @property
    def is_checked(self) -> bool:
        """Whether a check has something to look at."""
        return self.guard is not None or (self.checked and self.must is not None)

    def verdict(self, figure: Figure) -> str:
        """Say in words whether it is what it must be."""
        if figure.value is None:
            return "failed" if figure.broken else "skipped"
        if self.must is None or self.aim is None:
            return ""
        if self._reaches(figure.value, self.aim):
            return "aim met"
        return "met" if self._reaches(figure.value, self.must) else "not met"

    def fails(self, figure: Figure) -> bool:
        """Tell whether a check fails: by an error, or a ratio worse than must by over a third."""
        if figure.broken:
            return True
        if self.guard is not None:
            return figure.ratio is not None and figure.ratio > self.guard.must * TOLERANCE
        if not self.checked or self.must is None or figure.value is None:
            return False
        limit = self.must / TOLERANCE if self.unit == "times" else self.must * TOLERANCE
        return not self._reaches(figure.value, limit)

    def _reaches(self, value: float, limit: float) -> bool:
        return value >= limit if self.unit == "times" else value <= limit


def seconds(work: Callable[[], object]) -> float:
    """Take the wall time of some work."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(times: int, *sides: Callable[[], object]) -> list[float]:
    """Do several things by turns, and take the median wall time of each, seconds."""
    taken = [[seconds(side) for side in sides] for _ in range(times)]
    return [median(side) for side in zip(*taken, strict=True)]


def worst(cases: Mapping[str, float]) -> float:
    """Take the largest of several quotients."""
    return max(cases.values())


def written(cases: Mapping[str, float], unit: str = "ratio") -> dict[str, str]:
    """Write each case as a figure."""
    return {name: digits(value) + UNITS[unit] for name, value in cases.items()}


def digits(value: float) -> str:
    """Write a number with three digits, and no more than two behind the point."""
    return (
        f"{value:.2f}"
        if abs(value) < 10
        else f"{value:.1f}"
        if abs(value) < 100
        else f"{value:.0f}"
    )
