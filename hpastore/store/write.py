"""Every statement that changes rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, and_, bindparam, case, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from hpastore.failpoints import reach
from hpastore.kernels.measures import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.model import CHANNELS, ChannelStats, Failure, FileRecord, Measured, Recipe, Source
from hpastore.schema.tables import (
    Cell,
    CellChannel,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetThreshold,
    FailureFile,
    Image,
    ImageChannel,
    ImageFile,
    ImageLabel,
    IngestRun,
)
from hpastore.schema.tables import Failure as FailureRow
from hpastore.schema.tables import Recipe as RecipeRow
from hpastore.schema.views import LABEL_THRESHOLD, verdict
from hpastore.store.read import parts


def begin_run(connection: Connection, **columns: Any) -> int:
    """Record that a run begins, and return its id."""
    zeros = dict.fromkeys(("added", "changed", "relabelled", "rejected", "cells"), 0)
    statement = insert(IngestRun).values(**zeros, **columns).returning(IngestRun.id)
    return int(connection.execute(statement).scalar_one())


def count_run(connection: Connection, run_id: int, counts: Mapping[str, int]) -> None:
    """Add to what a run did; in the transaction that does it."""
    counters = {
        "new": IngestRun.added,
        "changed": IngestRun.changed,
        "relabelled": IngestRun.relabelled,
        "rejected": IngestRun.rejected,
        "cells": IngestRun.cells,
        "remeasured": IngestRun.remeasured,
        "gone": IngestRun.gone,
    }
    added = {counter: counter + counts[name] for name, counter in counters.items() if counts.get(name)}
    if added:
        connection.execute(update(IngestRun).where(IngestRun.id == run_id).values(added))


def finish_run(connection: Connection, run_id: int, now: datetime) -> None:
    """Record that a run came to its end, and let PostgreSQL's planner know the new sizes."""
    connection.execute(update(IngestRun).where(IngestRun.id == run_id).values(finished_at=now))
    _analyze(connection)


def adopt_recipe(connection: Connection, recipe: Recipe) -> int:
    """Make a recipe the store's current one, and return its id."""
    connection.execute(update(RecipeRow).where(RecipeRow.current).values(current=False))
    values = asdict(recipe)
    same = [getattr(RecipeRow, name) == value for name, value in values.items()]
    statement = update(RecipeRow).where(*same).values(current=True).returning(RecipeRow.id)
    found = connection.execute(statement).scalar()
    if found is None:
        found = connection.execute(
            insert(RecipeRow).values(current=True, **values).returning(RecipeRow.id)
        ).scalar_one()
    return int(found)


def write_image(connection: Connection, measured: Measured, columns: Mapping[str, Any]) -> int:
    """Store one image with all its rows, in place of what the store has under its name.

    Parameters
    ----------
    connection
        In a writing transaction.
    measured : Measured
    columns
        What the run gives to ``image``: root, split, recipe_id, ingested_at.

    Returns
    -------
    int
        Number of cells stored.
    """
    source, cells = measured.source, measured.cells
    connection.execute(delete(Image).where(Image.name == source.name))
    reach("image.deleted")
    image_id = connection.execute(
        insert(Image)
        .values(
            name=source.name,
            width=measured.width,
            height=measured.height,
            bit_depth=measured.bit_depth,
            cell_count=len(cells.mask_ids),
            **_labels(source),
            **columns,
        )
        .returning(Image.id)
    ).scalar_one()
    reach("image.row")
    connection.execute(insert(ImageFile), [{"image_id": image_id, **f._asdict()} for f in measured.files])
    reach("image.files")
    _write_labels(connection, image_id, source)
    reach("image.labels")
    connection.execute(
        insert(ImageChannel), [_image_channel(image_id, c, cells.channels[c]) for c in CHANNELS]
    )
    reach("image.channels")
    if len(cells.mask_ids):
        _write_cells(connection, image_id, measured)
    clear_failures(connection, [source.name])
    return len(cells.mask_ids)


def relabel_image(connection: Connection, source: Source, root: str, split: str | None) -> None:
    """Replace the labels of a stored image, whose files are now in `root`."""
    values = _labels(source)
    statement = update(Image).where(Image.name == source.name).values(**values).returning(Image.id)
    image_id = connection.execute(statement).scalar_one()
    connection.execute(delete(ImageLabel).where(ImageLabel.image_id == image_id))
    _write_labels(connection, image_id, source)
    reach("image.relabelled")
    move_images(connection, [source.name], root, split)
    clear_failures(connection, [source.name])


def touch_image(
    connection: Connection, source: Source, files: Iterable[FileRecord], root: str, split: str | None
) -> bool:
    """Record other times of a stored image's files, whose bytes are the same.

    Returns
    -------
    bool
        Whether its labels were replaced too.
    """
    named = select(Image.id, Image.labels).where(Image.name == source.name)
    image_id, labels = connection.execute(named).one()
    connection.execute(delete(ImageFile).where(ImageFile.image_id == image_id))
    connection.execute(insert(ImageFile), [{"image_id": image_id, **file._asdict()} for file in files])
    reach("image.touched")
    if labels != _labels(source)["labels"]:
        relabel_image(connection, source, root, split)
        return True
    move_images(connection, [source.name], root, split)
    clear_failures(connection, [source.name])
    return False


def move_images(connection: Connection, names: Sequence[str], root: str, split: str | None) -> None:
    """Record that stored images are in a root, not gone, and in a split if one is given."""
    values: dict[str, Any] = {"root": root, "gone_at": None}
    if split is not None:
        values["split"] = split
    for part in parts(names):
        connection.execute(update(Image).where(Image.name.in_(part)).values(values))
        reach("images.moved")


def mark_gone(connection: Connection, names: Sequence[str], now: datetime) -> None:
    """Record that stored images have left their inputs."""
    for part in parts(names):
        connection.execute(update(Image).where(Image.name.in_(part)).values(gone_at=now))
        reach("images.gone")


def delete_images(connection: Connection, names: Sequence[str]) -> None:
    """Delete images with all their rows."""
    for part in parts(names):
        connection.execute(delete(Image).where(Image.name.in_(part)))
        reach("images.pruned")


def remeasure_image(
    connection: Connection, image_id: int, recipe_id: int, cells: Sequence[int], channels: Mapping[str, Any]
) -> None:
    """Replace what depends on the recipe.

    Parameters
    ----------
    connection
        In a writing transaction.
    image_id, recipe_id : int
    cells : sequence of int
        Keys of the image's K cells in ascending mask id.
    channels : mapping of channel to (background level, (K,) fractions)
    """
    mine = ImageChannel.image_id == image_id
    for channel, (level, fractions) in channels.items():
        statement = update(ImageChannel).where(mine, ImageChannel.channel == channel)
        connection.execute(statement.values(background_level=None if math.isnan(level) else level))
        values = [
            {"cell": cell, "value": value}
            for cell, value in zip(cells, _values(fractions, "real"), strict=True)
        ]
        if values:
            of_cell = and_(CellChannel.cell_id == bindparam("cell"), CellChannel.channel == channel)
            connection.execute(update(CellChannel).where(of_cell).values(fraction=bindparam("value")), values)
        reach("image.remeasured")
    connection.execute(update(Image).where(Image.id == image_id).values(recipe_id=recipe_id))


def clear_failures(connection: Connection, names: Sequence[str]) -> None:
    """Forget the failures of images that are in the store as their files are."""
    for part in parts(names):
        connection.execute(delete(FailureRow).where(FailureRow.image_name.in_(part)))


def forget_tries(connection: Connection, names: Sequence[str]) -> None:
    """Forget what the files of rejected images were like, so that they are tried again."""
    for part in parts(names):
        connection.execute(delete(FailureFile).where(FailureFile.image_name.in_(part)))


def write_failures(
    connection: Connection, failures: Iterable[Failure], *, run_id: int, now: datetime
) -> None:
    """Record rejected images; one row each, with the latest fault."""
    failures = list(failures)
    rows = [_failure(f) | {"first_seen": now, "last_seen": now, "run_id": run_id} for f in failures]
    if not rows:
        return
    statement = _upsert(connection, FailureRow)
    new = statement.excluded
    same = and_(FailureRow.code == new.code, FailureRow.uri == new.uri)
    statement = statement.on_conflict_do_update(
        index_elements=["image_name"],
        set_={
            "uri": new.uri,
            "code": new.code,
            "message": new.message,
            "first_seen": case((same, FailureRow.first_seen), else_=new.first_seen),
            "last_seen": new.last_seen,
            "run_id": new.run_id,
        },
    )
    connection.execute(statement, rows)
    for part in parts([failure.image_name for failure in failures]):
        connection.execute(delete(FailureFile).where(FailureFile.image_name.in_(part)))
    files = [{"image_name": f.image_name, **file._asdict()} for f in failures for file in f.files]
    if files:
        connection.execute(insert(FailureFile), files)
    reach("failures.written")


def _failure(failure: Failure) -> dict[str, Any]:
    return {name: getattr(failure, name) for name in ("image_name", "uri", "code", "message")}


def write_clean_set(
    connection: Connection, clean_set: Mapping[str, Any], rules: Iterable[Mapping[str, Any]]
) -> tuple[int, int]:
    """Store a new version of a clean set, and materialise its thresholds and verdicts.

    Returns
    -------
    id, version : int
    """
    taken = select(func.coalesce(func.max(CleanSet.version), 0) + 1).where(CleanSet.name == clean_set["name"])
    version = connection.execute(taken).scalar_one()
    made = insert(CleanSet).values(version=version, **clean_set).returning(CleanSet.id)
    set_id = connection.execute(made).scalar_one()
    connection.execute(insert(CleanRule), [{"clean_set_id": set_id, **rule} for rule in rules])
    _materialise(connection, set_id)
    return int(set_id), int(version)


def _materialise(connection: Connection, set_id: int) -> None:
    live, kept = LABEL_THRESHOLD.table, CleanSetThreshold.__table__
    columns = ["clean_set_id", "rule_id", "label_id", "n", "lower", "upper"]
    bounds = select(*(live.c[name] for name in columns)).where(live.c.clean_set_id == set_id)
    connection.execute(insert(CleanSetThreshold).from_select(columns, bounds))
    reach("clean_set.thresholds")
    columns = ["clean_set_id", "cell_id", "label_id", "clean", "reason"]
    judged = verdict(kept).where(CleanSet.id == set_id).subquery()
    rows = select(*(judged.c[name] for name in columns))
    connection.execute(insert(CleanSetCell).from_select(columns, rows))
    reach("clean_set.cells")
    _analyze(connection)


def _analyze(connection: Connection) -> None:
    """Let PostgreSQL count: without statistics it plans for a few rows.

    60,000 cells: 81 s for an export of verdicts before, 3 s after.  SQLite's planner does well without.
    """
    if connection.dialect.name == "postgresql":
        tables = (Image, ImageLabel, Cell, CellChannel, CleanSetThreshold, CleanSetCell)
        connection.exec_driver_sql(f"ANALYZE {', '.join(table.__tablename__ for table in tables)}")


def _labels(source: Source) -> dict[str, Any]:
    return {"labels": "|".join(map(str, source.labels)), "label_count": len(source.labels)}


def _write_labels(connection: Connection, image_id: int, source: Source) -> None:
    if source.labels:
        rows = [{"image_id": image_id, "label_id": label} for label in source.labels]
        connection.execute(insert(ImageLabel), rows)


def _image_channel(image_id: int, channel: str, stats: ChannelStats) -> dict[str, Any]:
    return {
        "image_id": image_id,
        "channel": channel,
        "background_level": stats.background_level,
        "histogram": stats.histogram,
    }


def _write_cells(connection: Connection, image_id: int, measured: Measured) -> None:
    cells = measured.cells
    shape = {m.name: _values(cells.shape[m.name], m.kind) for m in SHAPE_MEASURES if m.name in cells.shape}
    columns = {"mask_id": cells.mask_ids.tolist(), **shape, "rle": cells.rles}
    rows = _rows(columns, {"image_id": image_id})
    ids = (
        connection.execute(insert(Cell).returning(Cell.id, sort_by_parameter_order=True), rows)
        .scalars()
        .all()
    )
    reach("image.cells")
    for channel in CHANNELS:
        measures = cells.channels[channel].measures
        levels = {m.name: _values(measures[m.name], m.kind) for m in CHANNEL_MEASURES}
        connection.execute(insert(CellChannel), _rows({"cell_id": ids, **levels}, {"channel": channel}))
        reach("image.cell_channels")


def _rows(columns: Mapping[str, Iterable[Any]], same: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**same, **dict(zip(columns, row, strict=True))} for row in zip(*columns.values(), strict=True)]


def _values(measure: npt.NDArray[np.generic], kind: str) -> list[Any]:
    """Python's own numbers, which both drivers take (SQLite's stores NumPy's as bytes); NaN is NULL."""
    if kind == "real":
        return [None if math.isnan(v) else v for v in measure.tolist()]
    return list(map(bool if kind == "flag" else int, measure.tolist()))


def _upsert(connection: Connection, table: type[FailureRow]) -> Any:
    """INSERT with ON CONFLICT, which each dialect has of its own."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)
