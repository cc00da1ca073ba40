"""The command line of the benchmark."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import traceback
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from hpastore.runtime.executor import worker_count
from scripts.benchmark import cleaning, manual, pictures, planted, show
from scripts.benchmark.figure import Figure, Row, Skip, digits
from scripts.benchmark.table import ROWS
from scripts.benchmark.world import World

PAGE: Final = Path(__file__).parents[2] / "docs" / "benchmarks.md"
"""Where the table is written to."""

PARTS: Final[dict[str, Any]] = {"drawn": cleaning, "manual": manual, "planted": planted}
"""Of ``--cleaning``: each measures in an empty folder, and writes its report as text or JSON."""


def main(given: Sequence[str] | None = None) -> int:
    """Measure, print the table, and give the exit code."""
    arguments = _arguments(given)
    if arguments.cleaning or arguments.gallery is not None:
        return _cleaning(arguments)
    chosen = [row for row in ROWS if _wanted(row, arguments)]
    with tempfile.TemporaryDirectory(prefix="hpastore-bench-") as folder:
        world = World(Path(folder), arguments.quick)
        with closing(world):
            results = measure(chosen, world)
            if arguments.check:
                results = [_again(row, figure, world) for row, figure in results]
    run = show.Run.now(worker_count(None), quick=arguments.quick)
    print(
        json.dumps(show.document(run, results), indent=2)
        if arguments.json
        else show.table(run, results)
    )
    if arguments.write_docs:
        page = PAGE.read_text(encoding="utf-8")
        PAGE.write_text(show.placed(page, show.table(run, results)), encoding="utf-8")
    bad = [row.name for row, figure in results if row.fails(figure)]
    if arguments.check and bad:
        world.say(f"failed, or worse than it must be by more than a third: {', '.join(bad)}")
    broken = any(figure.broken for _, figure in results)
    return int(broken or (arguments.check and bool(bad)))


def _cleaning(arguments: argparse.Namespace) -> int:
    """Say what the shipped recipes find on drawn and on real cells, or draw what they drop."""
    if arguments.gallery is not None:
        try:
            written = pictures.write(arguments.gallery)
        except Skip as skip:
            print(skip, file=sys.stderr)
            return 1
        print(*written, sep="\n")
        return 0

    parts: dict[str, dict[str, Any]] = {}
    tables = []
    for name, part in PARTS.items():
        try:
            with tempfile.TemporaryDirectory(prefix="hpastore-bench-") as folder:
                report = part.measure(Path(folder))
        except Skip as skip:
            parts[name] = {"skipped": str(skip)}
            tables.append(f"{name}: skipped, {skip}")
        else:
            parts[name] = part.document(report)
            tables.append(part.table(report))
    print(json.dumps(parts, indent=2) if arguments.json else "\n\n".join(tables))
    missed = any(part.get("missed") for part in parts.values())
    return int(arguments.check and missed)


def _wanted(row: Row, arguments: argparse.Namespace) -> bool:
    """Choose the rows that are named; else all, for a check all that it looks at."""
    if arguments.only:
        return row.name in arguments.only
    return not arguments.check or row.is_checked


def measure(rows: Sequence[Row], world: World) -> list[tuple[Row, Figure]]:
    """Measure rows in the order of the cells that they need, and give them in their own."""
    found = {}
    for row in sorted(rows, key=lambda row: row.cells):
        world.say(f"{row.name}: {row.what}")
        found[row.name] = _measure(row, world)
    return [(row, found[row.name]) for row in rows]


def _again(row: Row, figure: Figure, world: World) -> tuple[Row, Figure]:
    """Measure a failing row once more: noise passes, a slow program stays slow."""
    if figure.broken or not row.fails(figure):
        return row, figure
    world.say(f"{row.name}: once more")
    return row, _measure(row, world)


def _measure(row: Row, world: World) -> Figure:
    try:
        figure = row.measure(world)
    except Skip as skip:
        figure = Figure(None, str(skip))
    except Exception as error:  # the other rows are not lost for it
        traceback.print_exc()
        figure = Figure(None, f"{type(error).__name__}, see above", broken=True)
    world.say(
        f"  {figure.n if figure.value is None else digits(figure.value)}: {row.verdict(figure)}"
    )
    return figure


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measure what hpastore promises."
    )
    parser.add_argument(
        "--quick", action="store_true", help="measure on less, in 3 minutes instead of 20"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument(
        "--only", nargs="+", choices=[row.name for row in ROWS], metavar="ROW", help="%(choices)s"
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help="measure only ratios, and exit 1 where one is twice worse than it must be by more "
        "than a third",
    )
    parser.add_argument(
        "--cleaning",
        action="store_true",
        help="instead: what the shipped recipes find and lose of drawn faults, hand-labelled cells "
        "and errors planted in real masks",
    )
    parser.add_argument(
        "--gallery",
        type=Path,
        metavar="FOLDER",
        help="instead: write pictures of all real cells that the recipe hpa drops and keeps",
    )
    parser.add_argument(
        "--write-docs", action="store_true", help="put the table into docs/benchmarks.md"
    )
    return parser.parse_args(given)
