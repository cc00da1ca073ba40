"""Exports of a large store: time against serialising the same rows, and memory."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import orjson

import hpastore
from hpastore.store.engine import Store
from scripts.benchmark.figure import Figure, in_turns, worst, written
from scripts.benchmark.memory import peaks
from scripts.benchmark.world import DATABASES, World

_ROWS: Final = """
    SELECT image.name, image.width, image.height, cell.mask_id, image_label.label_id,
           cell.x, cell.y, cell.width, cell.height, cell.area, cell_mask.rle, cell.green_fraction
    FROM image
    JOIN cell ON cell.image_id = image.id
    JOIN cell_mask ON cell_mask.cell_id = cell.id
    JOIN image_label ON image_label.image_id = image.id
    WHERE image.gone_at IS NULL
    ORDER BY image.name, cell.mask_id, image_label.label_id
"""
"""What an export holds."""

_ENDINGS: Final = {"coco": "json", "mmdet": "pkl"}


def coco(world: World) -> Figure:
    """COCO export of all cells ÷ fetching its rows at once, `orjson.dumps`, writing to the disk."""
    return _time(world, "coco", hpastore.export_coco, orjson.dumps)


def mmdet(world: World) -> Figure:
    """MMDetection export of all cells ÷ fetching its rows at once, pickling, writing."""
    return _time(world, "mmdet", hpastore.export_mmdet, lambda rows: pickle.dumps(rows, 4))


def memory(world: World) -> Figure:
    """Peak of a process that exports all cells."""
    cells, cases = _cells(world), {}
    for database in DATABASES:
        url = world.large(database, cells).store.engine.url.render_as_string(hide_password=False)
        for kind, ending in _ENDINGS.items():
            with world.scratch("export") as folder:
                cases[f"{kind}, {database}"] = peaks(kind, url, folder / f"cells.{ending}")["main"]
    return Figure(worst(cases), f"{cells:,} cells", written(cases, "MB"))


def _time(
    world: World, kind: str, export: Callable[..., object], dump: Callable[[Sequence[Any]], bytes]
) -> Figure:
    cells, cases = _cells(world), {}
    for database in DATABASES:
        store = world.large(database, cells).store
        with world.scratch("export") as folder:
            ours = partial(export, store, folder / f"cells.{_ENDINGS[kind]}", force=True)
            taken, theirs = in_turns(
                world.choose(3, 2), ours, partial(_dump, store, folder / "rows", dump)
            )
        cases[database] = taken / theirs
    return Figure(worst(cases), f"{cells:,} cells", written(cases))


def _dump(store: Store, out: Path, dump: Callable[[Sequence[Any]], bytes]) -> None:
    """Write the rows past SQLAlchemy, and wait for the disk as an export does."""
    connection = store.engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(_ROWS)
        data = dump(cursor.fetchall())
    finally:
        connection.close()
    with out.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _cells(world: World) -> int:
    return world.choose(200_000, 500_000)
