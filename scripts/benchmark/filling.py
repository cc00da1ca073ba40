"""Large stores, written by ingest's own writer from images that were measured once.

The first images of a store are real-shaped: drawn at 2048², about 20 cells each, with histograms
and masks of their own size.  What is to have more cells gets images of 200 small cells, whose masks
are short. Labels are as frequent as in the Kaggle data; about half of the images have one.  Each
image has the column ``plate``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

import hpastore
from hpastore.ingestion.worker import Task, measure_source
from hpastore.kernels.definitions import VERSIONS
from hpastore.kernels.image import measure
from hpastore.model import Cells, Decoded, Measured, MeasurementSettings, Source
from hpastore.store import measurement_settings, status, write
from hpastore.store.engine import Store
from hpastore.vocabulary import CHANNELS

PERCENTILE: Final = 0.99

_FREQUENCIES: Final = np.array(
    [
        8797,
        1095,
        2451,
        1262,
        1425,
        1792,
        775,
        1846,
        964,
        998,
        818,
        78,
        1734,
        3111,
        2013,
        252,
        5685,
        593,
        34,
    ],
    float,
)
"""Images of each label in the Kaggle data."""

_SINGLE: Final = 0.47
"""Share of images with one label; the others have two."""

_DENSE: Final = 200
"""Cells of an image of small cells."""

_ON_PLATE: Final = 96
"""Images of a plate."""

_IN_ONE: Final = 100
"""Images written in one transaction."""


def templates(root: Path) -> list[Measured]:
    """Measure the images of a data set."""
    found = []
    for source in hpastore.plan(None, root).new:
        result = measure_source(Task(source, {}), root, PERCENTILE)
        if not isinstance(result, Measured):
            raise TypeError(f"{source.name} was not measured: {result}")
        found.append(result)
    return found


def dense(like: Measured, seed: int) -> Measured:
    """Measure an image of 200 cells of 8 x 8 pixels; its files are those of another."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((100, 200), np.uint16)
    for k in range(_DENSE):
        row, column = divmod(k, 20)
        mask[10 * row : 10 * row + 8, 10 * column : 10 * column + 8] = k + 1
    channels = {c: rng.gamma(2, 15, mask.shape).clip(0, 255).astype(np.uint8) for c in CHANNELS}
    cells = measure(Decoded(channels, 8, mask, None, ()), PERCENTILE)
    return replace(like, width=200, height=100, cells=cells)


def vary(images: list[Measured], numbers: Iterator[int]) -> Iterator[Measured]:
    """Give images again and again under new names, with varying labels and fractions."""
    for number in numbers:
        rng = np.random.default_rng(number)
        image = images[number % len(images)]
        several = 1 if rng.random() < _SINGLE else 2
        labels = rng.choice(19, several, replace=False, p=_FREQUENCIES / _FREQUENCIES.sum())
        name = f"image-{number:07}"
        plate = ("plate", f"P{number // _ON_PLATE:04}")
        files = image.source.files
        source = Source(name, tuple(sorted(labels.tolist())), files, columns=(plate,))
        yield replace(image, source=source, cells=_shaken(image.cells, rng))


def fill(store: Store, images: Iterator[Measured], cells: int) -> None:
    """Write images until the store has so many cells."""
    stored = store.read(status.counts)["cells"]
    if stored >= cells:
        return
    now = datetime.now(UTC)
    with store.writing() as connection:
        columns = given(connection)
        version = hpastore.__version__
        run = write.begin_run(connection, root="/data", split=None, version=version, started_at=now)
    while stored < cells:
        with store.writing() as connection:
            for image in islice(images, _IN_ONE):
                stored += write.write_image(connection, image, columns)
    with store.writing() as connection:
        write.finish_run(connection, run, datetime.now(UTC))


def given(connection: Connection) -> dict[str, Any]:
    """What a run gives to its images, by the store's own settings."""
    settings = measurement_settings.current_settings(connection) or MeasurementSettings(
        PERCENTILE, VERSIONS
    )
    settings_id = write.adopt_settings(connection, settings)
    return {
        "root": "/data",
        "split": "train",
        "settings_id": settings_id,
        "ingested_at": datetime.now(UTC),
    }


def _shaken(cells: Cells, rng: np.random.Generator) -> Cells:
    """Move green fractions a little, so that a label has as many values as cells."""
    green = cells.channels["green"]
    fraction = green.measures["fraction"]
    moved = (fraction + rng.normal(0, 0.02, fraction.shape)).clip(0, 1)
    shaken = replace(green, measures={**green.measures, "fraction": moved})
    return replace(cells, channels={**cells.channels, "green": shaken})
