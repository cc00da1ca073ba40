"""The smallest worlds: tiny images on disk, measured images in memory, and all that a store holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from sqlalchemy import Connection, Table, select, text

from hpastore.ingestion import catalogue, run, store_state, worker
from hpastore.ingestion import remeasure as again
from hpastore.kernels import plugins
from hpastore.kernels.custom import CustomMeasure, Values
from hpastore.kernels.definitions import VERSIONS
from hpastore.kernels.image import measure
from hpastore.model import (
    Cells,
    Decoded,
    FileRecord,
    FileStamp,
    Measured,
    MeasurementSettings,
    Source,
)
from hpastore.schema.tables import Base
from hpastore.schema.views import VIEWS
from hpastore.store import write
from hpastore.store.engine import Store
from hpastore.vocabulary import CHANNELS, ROLES

Array = npt.NDArray[Any]

NOW = datetime(2024, 5, 6, 7, 8, 9, 123456, UTC)
SHAPE = (24, 32)
LABELS = ("0", "16", "0|16", "18", "7")
"""Of the images of a data set, one after the other."""


def _only(database: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("database", [database], indirect=True)


# What one database has and the other has not.
has_comments = has_collations = _only("postgresql")
has_strict_tables = has_one_writer = is_a_file = switches_foreign_keys = _only("sqlite")

TIMES = (
    *("ingested_at", "relabelled_at", "started_at", "finished_at", "first_seen", "last_seen"),
    *("created_at", "checksum"),
)
"""Columns that differ from run to run; a row's checksum covers its times."""


# Images in memory


def draw_mask(n: int = 3, shape: tuple[int, int] = SHAPE) -> Array:
    """Up to five bars of ids 1, 3, 5, ...: the first touches the border, each is longer than the last."""
    mask = np.zeros(shape, np.uint16)
    for k in range(n):
        mask[2 : 12 + k, 6 * k : 6 * k + 4] = 2 * k + 1
    return mask


def draw_channels(seed: int, mask: Array, bits: int = 8) -> dict[str, Array]:
    """Dim noise everywhere, brighter in cells."""
    rng = np.random.default_rng(seed)
    dtype = np.uint8 if bits == 8 else np.uint16
    top = np.iinfo(dtype).max
    dim = {c: rng.integers(0, top // 4, mask.shape, dtype) for c in CHANNELS}
    return {
        c: np.where(mask > 0, dim[c] + rng.integers(0, 3 * (top // 4), mask.shape, dtype), dim[c])
        for c in CHANNELS
    }


def decoded(seed: int = 0, mask: Array | None = None, nuclei: Array | None = None) -> Decoded:
    mask = draw_mask() if mask is None else mask
    return Decoded(draw_channels(seed, mask), 8, mask, nuclei, ())


def cells(n: int | None = None, *, seed: int = 0, **measures: Sequence[float]) -> Cells:
    """N bright one-pixel cells with the measures given, such as ``green_fraction=[0.5, nan]``."""
    n = len(next(iter(measures.values()), range(3))) if n is None else n
    mask = np.zeros((1, 2 * n + 1), np.int64)
    mask[0, 1::2] = np.arange(1, n + 1)
    made = measure(decoded(seed, mask), 0.99)
    shape, channels = dict(made.shape), dict(made.channels)
    for name, values in {"green_intensity_max": [200] * n, **measures}.items():
        channel, _, of_channel = name.partition("_")
        if channel in CHANNELS:
            stats = channels[channel]
            values_of = {**stats.measures, of_channel: np.array(values, float)}
            channels[channel] = replace(stats, measures=values_of)
        else:
            shape[name] = np.array(values, np.int64)
    return replace(made, shape=shape, channels=channels)


def measured(
    name: str = "a",
    labels: tuple[int, ...] = (0,),
    made: Cells | None = None,
    own: Mapping[tuple[str, str | None], Sequence[float]] | None = None,
    **measures: Any,
) -> Measured:
    """One image without files; the measures are those of `cells`, and those that users added.

    ``own={("p99", "green"): [1.0, nan, 3.0], ("offset", None): [0.5, 0.5, 2.0]}``: a value for each cell.
    """
    made = cells(**measures) if made is None else made
    custom: Values = {key: np.array(values, float) for key, values in (own or {}).items()}
    if own is not None:
        made = replace(made, custom=custom, custom_versions={name: 1 for name, _ in custom})
    stamps = tuple(FileStamp(role, f"train/{name}_{role}", 10, 20) for role in ROLES[:5])
    records = tuple(
        FileRecord(*stamp, sha256=f"{place:064x}") for place, stamp in enumerate(stamps)
    )
    return Measured(Source(name, labels, stamps), records, 2 * len(made.mask_ids) + 1, 1, 8, made)


def lacking(image: Measured, channel: str) -> Measured:
    """The same image without one of its channels."""
    channels = {name: stats for name, stats in image.cells.channels.items() if name != channel}
    custom = {key: v for key, v in image.cells.custom.items() if key[1] != channel}
    source = image.source._replace(
        files=tuple(file for file in image.source.files if file.role != channel)
    )
    files = tuple(file for file in image.files if file.role != channel)
    made = replace(image.cells, channels=channels, custom=custom)
    return replace(image, source=source, files=files, cells=made)


def put(
    store: Store,
    *images: Measured,
    background_percentile: float = 0.99,
    root: str = "/data",
    now: datetime = NOW,
) -> None:
    """Write images as ingest does, in one transaction; what users measure too, see `users_of`."""
    with store.writing() as connection:
        settings_id = write.adopt_settings(
            connection, MeasurementSettings(background_percentile, VERSIONS)
        )
        columns = {"root": root, "split": "train", "settings_id": settings_id, "ingested_at": now}
        for image in images:
            write.write_image(connection, image, columns, users_of(image.cells))


# Measures that users added


def users_of(made: Cells) -> list[CustomMeasure]:
    """The measures that cells have besides ours, of crops where they are of no channel."""
    found = {}
    for name, channel in sorted(made.custom, key=str):
        kind = "of_histogram" if channel else "of_crops"
        function: Any = {kind: lambda *_: 0.0}
        found[name] = CustomMeasure(
            name, made.custom_versions[name], "px", f"What {name} is", **function
        )
    return list(found.values())


def _spread(counts: Array) -> float:
    """Steps of grey between the darkest and the brightest pixel; NaN where the darkest level is odd."""
    levels = np.flatnonzero(counts)
    return np.nan if levels[0] % 2 else float(levels[-1] - levels[0])


def _shift(mask: Array, channels: Mapping[str, Array]) -> float:
    """Mean difference of red and green in the cell; its own 0 is -0.0, which no database keeps."""
    return -float(np.mean(channels["red"][mask].astype(float) - channels["green"][mask]))


SPREAD = CustomMeasure(
    "spread", 1, "grey level", "Range", of_histogram=_spread, channels=("red", "green")
)
SHIFT = CustomMeasure("shift", 1, "grey level", "Green above red", of_crops=_shift)


def install(patch: pytest.MonkeyPatch, *measures: CustomMeasure) -> None:
    """Let these be the measures that packages add, in this process."""
    found = tuple(sorted(measures, key=lambda user: user.name))
    for module in (catalogue, plugins, store_state, run, again, worker):
        patch.setattr(module, "load_measures", lambda: found)


def begin_run(connection: Connection) -> int:
    return write.begin_run(connection, root="/data", split=None, version="0", started_at=NOW)


# Images on disk


def name_of(i: int) -> str:
    return f"image-{i:02}"


def dataset(
    root: Path, n: int = 3, *, labels: Sequence[str] = LABELS, nuclei: bool = False, bits: int = 8
) -> Path:
    """Write N images of 24 x 32 pixels in the usual layout, of 3, 1, 2, 3 cells and so on."""
    table = {name_of(i): labels[i % len(labels)] for i in range(n)}
    for i, name in enumerate(table):
        write_image(root, name, seed=i, mask=draw_mask(i % 4 or 3), nuclei=nuclei, bits=bits)
    write_table(root, table)
    return root


def write_table(root: Path, table: Mapping[str, str]) -> Path:
    path = root / "train.csv"
    root.mkdir(parents=True, exist_ok=True)
    path.write_text("ID,Label\n" + "".join(f"{name},{labels}\n" for name, labels in table.items()))
    return path


def write_image(
    root: Path,
    name: str,
    *,
    seed: int = 0,
    mask: Array | None = None,
    nuclei: bool = False,
    bits: int = 8,
) -> None:
    """Write the files of one image, each a second younger than the one it replaces."""
    mask = draw_mask() if mask is None else mask
    for channel, pixels in draw_channels(seed, mask, bits).items():
        with replaced(root / "train" / f"{name}_{channel}.png") as path:
            assert cv2.imwrite(str(path), pixels)
    with replaced(root / "hpa_cell_mask" / f"{name}.npz") as path:
        np.savez_compressed(path, mask)
    if nuclei:
        core = np.where(np.arange(mask.shape[0])[:, None] < 6, mask, 0).astype(mask.dtype)
        with replaced(root / "hpa_nuclei_mask" / f"{name}.npz") as path:
            np.savez_compressed(path, core)


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Give a path to write to, and make its time differ from that of the file that was there."""
    before = path.stat().st_mtime_ns if path.exists() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    yield path
    if before is not None:
        os.utime(path, ns=(before + 10**9, before + 10**9))


# What a store holds


def rows(store: Store, sql: str, **values: Any) -> list[dict[str, Any]]:
    """Run SQL as people would."""
    with store.reading() as connection:
        return [dict(row) for row in connection.execute(text(sql), values).mappings()]


def scalar(store: Store, sql: str, **values: Any) -> Any:
    with store.reading() as connection:
        return connection.execute(text(sql), values).scalar_one()


def exact(value: Any) -> Any:
    """A value that is equal only if all bits are."""
    return value.hex() if isinstance(value, float) else value


def dump(
    store: Store, *, without: Sequence[str] = (), views: bool = True
) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables and views, sorted, without some columns."""
    tables: list[Table] = list(Base.metadata.sorted_tables)
    if views:
        tables += [view.table for view in VIEWS]
    with store.reading() as connection:
        return {table.name: _rows(connection, table, without) for table in tables}


def _rows(connection: Connection, table: Table, without: Sequence[str]) -> list[tuple[Any, ...]]:
    columns = [column for column in table.c if column.name not in without]
    found = [tuple(map(exact, row)) for row in connection.execute(select(*columns))]
    return sorted(found, key=repr)
