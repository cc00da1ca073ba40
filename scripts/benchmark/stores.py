"""Large stores: other fractions, thresholds, clean sets, and what a new image costs there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Final

import numpy as np
import pandas as pd
from sqlalchemy import text

import hpastore
from hpastore.model import Measured
from hpastore.schema.tables import Cell
from hpastore.store import status, write
from hpastore.store.engine import Store
from scripts.benchmark import filling
from scripts.benchmark.figure import Figure, Skip, digits, in_turns, seconds, worst, written
from scripts.benchmark.world import DATABASES, World

REAL_SHAPED: Final = 20_000
"""Images of the store that is measured again: 430,000 cells."""

_VALUES: Final = text(
    """
    SELECT image_label.label_id, cell.green_fraction AS value
    FROM image_label
    JOIN image ON image.id = image_label.image_id
    JOIN cell ON cell.image_id = image.id
    WHERE image.label_count = 1 AND image.gone_at IS NULL AND cell.green_fraction IS NOT NULL
    """
)
"""What the thresholds are taken from."""

_SIZES: Final = text(
    """
    SELECT (SELECT page_count * page_size FROM pragma_page_count, pragma_page_size) AS size,
           (SELECT count(*) FROM cell) AS cells,
           (SELECT sum(length(rle)) FROM cell_mask)
             + (SELECT sum(length(histogram)) FROM image_channel) AS content
    """
)


def remeasure(world: World) -> Figure:
    """Fractions of 20,000 images at another percentile, from histograms; fewer are scaled up."""
    cells = world.choose(20_000, 430_000)
    cases, images = {}, 0
    for database in DATABASES:
        store = world.large(database, cells).store
        images = store.read(status.counts)["images"]
        cases[database] = seconds(partial(hpastore.remeasure, store, 0.98)) * REAL_SHAPED / images
    return Figure(worst(cases), _scaled(images, REAL_SHAPED), written(cases, "s"))


def thresholds(world: World) -> Figure:
    """Two percentiles of 19 labels ÷ reading the same values with pandas and `groupby.quantile`.

    Beside it, ``clean create`` ÷ the same.
    """
    return _thresholds(world, world.choose(100_000, 500_000))


def thresholds_of_many(world: World) -> Figure:
    """The same over 2 million cells."""
    if world.quick:
        raise Skip("only in a full run")
    return _thresholds(world, 2_000_000)


def bytes_per_cell(world: World) -> Figure:
    """Size of a SQLite file without clean sets, by its cells.

    The ratio is to the lengths of its masks and histograms, and eight bytes for each number.
    """
    store = world.large("SQLite", world.choose(50_000, 430_000)).store
    with store.reading() as connection:
        size, cells, content = connection.execute(_SIZES).one()
    content += 8 * cells * len(Cell.__table__.c)
    return Figure(size / cells, f"{cells:,} cells", ratio=size / content)


def write_image(world: World) -> Figure:
    """Writing an image's rows into a store of a million cells ÷ into one of 10,000."""
    few, many = 10_000, world.choose(100_000, 1_000_000)
    images, cases = world.choose(40, 100), {}
    for database in DATABASES:
        large = world.large(database, many)
        small = world.new_store(database)
        filling.fill(small, large.more(), few)
        taken: dict[Store, list[float]] = {small: [], large.store: []}
        for _, image in zip(range(images), large.more(), strict=False):
            for store, times in taken.items():
                times.append(seconds(_writing(store, image)))
        cases[database] = median(taken[large.store]) / median(taken[small])
    return Figure(worst(cases), f"{images} images, {many:,} cells", written(cases))


def _thresholds(world: World, cells: int) -> Figure:
    ours, beside = {}, {}
    for database in DATABASES:
        store = world.large(database, cells).store
        taken, theirs = in_turns(3, partial(hpastore.thresholds, store), partial(_pandas, store))
        ours[database] = taken / theirs
        created = seconds(partial(hpastore.create_clean_set, store, "bench"))
        beside[f"clean create, {database}"] = f"{digits(created / theirs)} ({digits(created)} s)"
    return Figure(worst(ours), f"{cells:,} cells", {**written(ours), **beside})


def _pandas(store: Store) -> pd.DataFrame:
    with store.reading() as connection:
        values = pd.read_sql(_VALUES, connection)
    return values.groupby("label_id")["value"].quantile(np.array([0.001, 0.999])).unstack()  # noqa: PD010


def _writing(store: Store, image: Measured) -> Callable[[], object]:
    """Write one image in a transaction of its own, as ingest does."""
    return lambda: store.write(lambda c: write.write_image(c, image, filling.given(c)))


def _scaled(n: int, wanted: int) -> str:
    return f"{n:,} images" if n >= wanted else f"{n:,} images, scaled to {wanted:,}"
