"""What people wait for in a large store: queries, a new clean set, its export, imported scores.

The other side, if any, is one plain SELECT: the label and the green fraction of each cell.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

import hpastore
from hpastore.store.engine import Store
from scripts.benchmark.figure import Figure, Guard, seconds, written
from scripts.benchmark.world import DATABASES, World
from scripts.documentation.queries import worked_queries

PLAIN_SELECT: Final = "one SELECT of label and green fraction of all cells"

_PLAIN: Final = """
    SELECT image_label.label_id, cell.green_fraction
    FROM image_label
    JOIN image ON image.id = image_label.image_id
    JOIN cell ON cell.image_id = image.id
"""

_SETS: Final = {"mine": "hpa", "plain": "notebook"}
"""The clean sets that the queries name, and their recipes."""

_NAMES: Final = {"sample-0006": "image-0000006"}
"""Images that the queries name, and those that take their place."""

_DROPPED: Final = """
    SELECT image_name, mask_id
    FROM clean_cell
    WHERE clean_set = 'mine' AND version = 1 AND NOT clean
    ORDER BY cell_id
    LIMIT 200
"""
"""Cells that somebody decides to keep."""

_SHOWN: Final = 4
"""Worked queries that are shown with their times, the slowest ones."""

_REASONS: Final = """
    SELECT label, reason, count(*)
    FROM clean_cell
    WHERE clean_set = 'mine' AND version = 1
    GROUP BY label, reason
"""

_CELLS: Final = "SELECT name, mask_id FROM cell JOIN image ON image.id = image_id"

_BOUNDS: Final = "SELECT * FROM label_threshold"

_ONE_IMAGE: Final = "SELECT * FROM image_summary WHERE image_name = 'image-0000006'"

_THREE_CHANNELS: Final = """
    SELECT image_name, mask_id
    FROM cell_stats
    WHERE green_fraction > 0.9 AND red_intensity_mean > 60 AND blue_intensity_max < 100
"""


def guard(must: float) -> Guard:
    """Compare a row of this module with one plain SELECT."""
    return Guard(PLAIN_SELECT, must)


def worked(world: World) -> Figure:
    """Answer each of the worked queries of docs/sql.md; the slowest counts."""
    taken: dict[str, float] = {}
    ratios: dict[str, float] = {}
    for database in DATABASES:
        store = _store(world, database)
        decide(store)
        plain = _plain(store)
        for query in worked_queries():
            case = f"{database}, {query.name.lower()}"
            taken[case] = _best(partial(fetch, store, adapted(query.sql)), times=2)
            ratios[case] = taken[case] / plain
    slowest = sorted(taken, key=taken.__getitem__, reverse=True)[:_SHOWN]
    cases = written({case: taken[case] for case in slowest}, "s")
    return Figure(taken[slowest[0]], _on(world), cases, ratio=max(ratios.values()))


def create(database: str, world: World) -> Figure:
    """Make a clean set by the recipe hpa."""
    store = _store(world, database)
    recipe = hpastore.load_recipe("hpa")
    work = partial(hpastore.create_clean_set, store, "timed", recipe)
    return _beside_plain(world, store, work, times=1)


def export_csv(database: str, world: World) -> Figure:
    """Export a clean set as CSV."""
    store = _store(world, database)
    options = hpastore.ExportOptions(clean="mine@1")
    with world.scratch("csv") as folder:
        work = partial(hpastore.export_csv, store, folder / "cells.csv", options, force=True)
        return _beside_plain(world, store, work, times=1)


def import_scores(world: World) -> Figure:
    """Import a value for each cell, then another one in its place; the slowest import counts."""
    cases: dict[str, float] = {}
    for database in DATABASES:
        store = world.large(database, _cells(world)).store
        with world.scratch("scores") as folder:
            path = folder / "scores.csv"
            for version in (1, 2):
                _write_scores(store, path, seed=version)
                work = partial(hpastore.import_measure, store, path, "timed", version)
                cases[f"{database}, version {version}"] = seconds(work)
    return Figure(max(cases.values()), _on(world), written(cases, "s"))


def bounds(database: str, world: World) -> Figure:
    """Read the current bounds of all clean sets."""
    store = _store(world, database)
    return _beside_plain(world, store, partial(fetch, store, _BOUNDS), times=1)


def reasons(database: str, world: World) -> Figure:
    """Count the verdicts of a clean set by label and reason."""
    store = _store(world, database)
    return _beside_plain(world, store, partial(fetch, store, _REASONS))


def one_image(world: World) -> Figure:
    """Read the summary of one image; the slower database counts."""
    return _slower(world, _ONE_IMAGE)


def three_channels(world: World) -> Figure:
    """Find cells by measures of three channels; the slower database counts."""
    return _slower(world, _THREE_CHANNELS)


def _write_scores(store: Store, path: Path, seed: int) -> None:
    cells = fetch(store, _CELLS)
    values = np.random.default_rng(seed).random(len(cells)).tolist()
    rows = [
        f"{image},{mask_id},{value}\n"
        for (image, mask_id), value in zip(cells, values, strict=True)
    ]
    path.write_text("image,mask_id,value\n" + "".join(rows))


def _slower(world: World, sql: str) -> Figure:
    found = {}
    for database in DATABASES:
        store = _store(world, database)
        found[database] = _beside_plain(world, store, partial(fetch, store, sql))
    values = {database: figure.value or 0 for database, figure in found.items()}
    ratio = max(figure.ratio or 0 for figure in found.values())
    return Figure(max(values.values()), _on(world), written(values, "s"), ratio=ratio)


def _beside_plain(
    world: World, store: Store, work: Callable[[], object], *, times: int = 3
) -> Figure:
    plain = _plain(store)
    taken = _best(work, times)
    return Figure(taken, _on(world), ratio=taken / plain)


def _plain(store: Store) -> float:
    return _best(partial(fetch, store, _PLAIN))


def _best(work: Callable[[], object], times: int = 3) -> float:
    """Take the shortest of several times, seconds: whatever else runs can only add to it."""
    return min(seconds(work) for _ in range(times))


def fetch(store: Store, sql: str) -> Sequence[Any]:
    """Fetch the rows of a query past SQLAlchemy."""
    connection = store.engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(sql)
        return cursor.fetchall()
    finally:
        connection.close()


def adapted(sql: str) -> str:
    """Name images of the large store in a worked query."""
    for name, other in _NAMES.items():
        sql = sql.replace(name, other)
    return sql


def _store(world: World, database: str) -> Store:
    """Give a large store with the clean sets that the queries are about."""
    store = world.large(database, _cells(world)).store
    make_sets(store)
    return store


def make_sets(store: Store) -> None:
    """Make the clean sets that the queries name, unless they are there."""
    there = set(hpastore.clean_sets(store)["name"])
    for name, recipe in _SETS.items():
        if name not in there:
            hpastore.create_clean_set(store, name, hpastore.load_recipe(recipe))


def decide(store: Store) -> None:
    """Decide to keep some of the dropped cells."""
    dropped = [f"{name}:{mask_id}" for name, mask_id in fetch(store, _DROPPED)]
    hpastore.override_cells(store, [hpastore.Override(cell, keep=True) for cell in dropped])


def _on(world: World) -> str:
    return f"{_cells(world):,} cells"


def _cells(world: World) -> int:
    return world.choose(100_000, 500_000)
