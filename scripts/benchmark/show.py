"""The table as text for a terminal and docs/benchmarks.md, and as a JSON document."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self

import hpastore
from hpastore.errors import UsageError
from scripts.benchmark.figure import UNITS, Figure, Row, digits

Results = Sequence[tuple[Row, Figure]]

BEGIN: Final = "<!-- the table of scripts/bench begins -->"
END: Final = "<!-- and ends -->"
"""Between these lines of the page the table stands."""

_HEAD: Final = ("what", "measured", "must", "aim", "", "on")


@dataclass(frozen=True)
class Run:
    """When and on what was measured."""

    date: str
    cores: int
    quick: bool

    @classmethod
    def now(cls, cores: int, *, quick: bool) -> Self:
        """Take the date of today."""
        return cls(datetime.now(UTC).date().isoformat(), cores, quick)

    def __str__(self) -> str:
        """Say it in one line."""
        length = "quick run" if self.quick else "full run"
        cores = f"{self.cores} core{'s' * (self.cores != 1)}"
        return (
            f"hpastore {hpastore.__version__}, {self.date}, {cores}, {platform.machine()}, {length}"
        )


def table(run: Run, results: Results) -> str:
    """Write the table in Markdown, its columns aligned; cases stand below their row."""
    lines = [_HEAD, *(line for row, figure in results for line in _lines(row, figure))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    head, *body = ("| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines)
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([f"{run}.", "", head, rule, *body])


def document(run: Run, results: Results) -> dict[str, Any]:
    """Make the JSON document."""
    return {
        "version": hpastore.__version__,
        "date": run.date,
        "cores": run.cores,
        "machine": platform.machine(),
        "python": platform.python_version(),
        "quick": run.quick,
        "rows": [_record(row, figure) for row, figure in results],
    }


def placed(text: str, table: str) -> str:
    """Put a table between the two markers of a text.

    Raises
    ------
    UsageError
        If it has no such markers.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise UsageError(
            f"docs/benchmarks.md lacks the lines {BEGIN!r} and {END!r} around the table"
        )
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _lines(row: Row, figure: Figure) -> Iterable[tuple[str, ...]]:
    limits = [
        "" if limit is None else f"{limit:g}{UNITS[row.unit]}" for limit in (row.must, row.aim)
    ]
    if figure.value is None:
        yield row.what, "", *limits, row.verdict(figure), figure.n
    else:
        yield (
            row.what,
            digits(figure.value) + UNITS[row.unit],
            *limits,
            row.verdict(figure),
            figure.n,
        )
    if row.guard is not None and figure.ratio is not None:
        yield f"- ÷ {row.guard.beside}", digits(figure.ratio), f"{row.guard.must:g}", "", "", ""
    for case, value in figure.cases.items():
        yield f"- {case}", value, "", "", "", ""


def _record(row: Row, figure: Figure) -> dict[str, Any]:
    return {
        "name": row.name,
        "what": row.what,
        "unit": row.unit,
        "measured": figure.value,
        "must": row.must,
        "aim": row.aim,
        "ratio": figure.ratio,
        "ratio_must": row.guard.must if row.guard is not None else None,
        "verdict": row.verdict(figure),
        "on": figure.n,
        "cases": dict(figure.cases),
    }
