"""A store beside its input files: looking for changes, and size."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import hpastore
from hpastore.ingestion.discover import discover
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.worker import Task, measure_source
from hpastore.kernels.definitions import VERSIONS
from hpastore.model import FileRecord, Measured, MeasurementSettings, Source
from hpastore.store import write
from hpastore.store.engine import Store
from scripts.benchmark import drawing
from scripts.benchmark.figure import Figure, in_turns, written
from scripts.benchmark.world import World


def reingest(world: World) -> Figure:
    """Ingest of images that did not change ÷ one `os.stat` of each of their files."""
    images = world.choose(2_000, 20_000)
    tiny = world.drawn(10, size=64, cells=20)
    with world.scratch("unchanged") as folder:
        root = drawing.repeat(tiny, folder / "data", images // 10)
        paths = [str(f) for name in drawing.names(root) for f in drawing.files(root, name)]
        with hpastore.open_store(folder / "cells.db", create=True) as store:
            _store_as_found(store, tiny, root)

            def again() -> None:
                if hpastore.ingest(store, root).unchanged != images:
                    raise RuntimeError("images that did not change were not seen as such")

            ours, stats = in_turns(world.choose(3, 5), again, lambda: list(map(os.stat, paths)))
    return Figure(
        ours / stats, f"{images:,} images", written({"ingest": ours, "os.stat": stats}, "s")
    )


def size(world: World) -> Figure:
    """Bytes that images add to a SQLite store ÷ bytes of their files, of real images."""
    root, times = world.real(), world.choose(4, 8)
    bytes_of = sum(
        file.stat().st_size for name in drawing.names(root) for file in drawing.files(root, name)
    )
    with world.scratch("size") as folder:
        empty = _stored(folder / "empty.db", None)
        once = _stored(folder / "once.db", root)
        many = _stored(folder / "many.db", drawing.repeat(root, folder / "data", times))
    cases = {
        "the three images once": 100 * (once - empty) / bytes_of,
        "and with the empty schema": 100 * once / bytes_of,
    }
    value = 100 * (many - empty) / (times * bytes_of)
    return Figure(value, f"{times * len(drawing.names(root))} images", written(cases, "%"))


def _store_as_found(store: Store, tiny: Path, root: Path) -> None:
    """Write all images as ingest would, but measure each of the tiny ones once."""
    measured = {}
    for source in discover(Layout(tiny)).sources:
        result = measure_source(Task(source, {}), tiny, 0.99)
        if not isinstance(result, Measured):
            raise TypeError(f"{source.name} was not measured")
        measured[source.name] = result
    found = discover(Layout(root)).sources
    with store.writing() as connection:
        settings_id = write.adopt_settings(connection, MeasurementSettings(0.99, VERSIONS))
        columns = {
            "root": str(root),
            "split": None,
            "settings_id": settings_id,
            "ingested_at": datetime.now(UTC),
        }
        for image in _renamed(found, measured):
            write.write_image(connection, image, columns)


def _renamed(found: Iterable[Source], measured: dict[str, Measured]) -> Iterator[Measured]:
    for source in found:
        image = measured[source.name.partition("-")[2]]
        hashes = {file.role: file.sha256 for file in image.files}
        records = tuple(FileRecord(*stamp, sha256=hashes[stamp.role]) for stamp in source.files)
        yield Measured(source, records, image.width, image.height, image.bit_depth, image.cells)


def _stored(path: Path, root: Path | None) -> int:
    """Bytes of a store; closing it leaves all in the one file."""
    with hpastore.open_store(path, create=True) as store:
        if root is not None:
            hpastore.ingest(store, root)
    return path.stat().st_size
