"""What an ingest writes, and what follows: images with all their rows, runs, failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    case,
    delete,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from hpastore.errors import DamagedError
from hpastore.kernels.custom import CustomMeasure
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.model import (
    DEFAULT_MASKS,
    Cells,
    Failure,
    FileRecord,
    MaskOptions,
    Measured,
    MeasurementSettings,
    Source,
)
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.tables import (
    Cell,
    CellChannel,
    CellOverride,
    CleanSet,
    CleanSetCell,
    CleanSetFormer,
    FailureFile,
    Image,
    ImageChannel,
    ImageFile,
    ImageLabel,
    IngestRun,
    StoredSettings,
)
from hpastore.schema.tables import Failure as FailureRow
from hpastore.store import custom_measures, overrides
from hpastore.store.bulk import analyze, as_rows, change, insert_rows, plain, plain_real, seal_rows
from hpastore.store.integrity import checksums
from hpastore.store.read import parts
from hpastore.vocabulary import CHANNELS

_Floats = npt.NDArray[np.float64]

COUNTERS: Final = {
    "new": "added",
    "changed": "changed",
    "relabelled": "relabelled",
    "rejected": "rejected",
    "cells": "cells",
    "remeasured": "remeasured",
    "gone": "gone",
    "returned": "returned",
    "moved": "moved",
    "resplit": "resplit",
}
"""Columns of a run by what is counted."""


_BEFORE: Final = select(Image.labels, Image.relabelled_at).where(Image.name == bindparam("name"))
_NEW_IMAGE: Final = insert(Image).returning(Image.id)
_FORGET: Final = delete(FailureRow).where(FailureRow.image_name == bindparam("name"))
"""Made once: to build a statement takes longer than to run it."""


def begin_run(connection: Connection, **columns: Any) -> int:
    """Record that a run begins, and return its id."""
    statement = insert(IngestRun).values(**dict.fromkeys(COUNTERS.values(), 0), **columns)
    run_id = int(connection.execute(statement.returning(IngestRun.id)).scalar_one())
    seal_rows(connection, IngestRun, IngestRun.id == run_id)
    return run_id


def count_run(connection: Connection, run_id: int, counts: Mapping[str, int]) -> None:
    """Add to what a run did; in the transaction that does it."""
    added = {counter: counts[name] for name, counter in COUNTERS.items() if counts.get(name)}
    if added:
        change(
            connection,
            IngestRun,
            IngestRun.id == run_id,
            lambda row: {counter: row[counter] + count for counter, count in added.items()},
        )


def finish_run(connection: Connection, run_id: int, now: datetime) -> None:
    """Record that a run came to its end, and let PostgreSQL's planner know the new sizes."""
    change(connection, IngestRun, IngestRun.id == run_id, {"finished_at": now})
    analyze(connection)


def adopt_settings(connection: Connection, recipe: MeasurementSettings) -> int:
    """Make a recipe the store's current one, and return its id."""
    values = asdict(recipe)
    same = and_(*(getattr(StoredSettings, name) == value for name, value in values.items()))
    change(connection, StoredSettings, and_(StoredSettings.current, ~same), {"current": False})
    change(connection, StoredSettings, and_(~StoredSettings.current, same), {"current": True})
    found = connection.execute(select(StoredSettings.id).where(same)).scalar()
    if found is None:
        statement = insert(StoredSettings).values(current=True, **values).returning(StoredSettings.id)
        found = connection.execute(statement).scalar_one()
        seal_rows(connection, StoredSettings, StoredSettings.id == found)
    return int(found)


def write_image(
    connection: Connection,
    measured: Measured,
    columns: Mapping[str, Any],
    users: Sequence[CustomMeasure] = (),
) -> int:
    """Store one image with all its rows, in place of what the store has under its name.

    Parameters
    ----------
    connection
        In a writing transaction.
    measured : Measured
    columns
        What the run gives to ``image``: root, split, recipe_id, ingested_at.
    users
        What is known of the measures that users added; of others nothing is written.

    Returns
    -------
    int
        Number of cells stored.
    """
    source = measured.source
    before = connection.execute(_BEFORE, {"name": source.name}).one_or_none()
    cells, channels = _cell_columns(measured.cells), _channel_columns(measured.cells)
    theirs = custom_measures.known_values(measured.cells, users)
    row = {
        "name": source.name,
        "width": measured.width,
        "height": measured.height,
        "bit_depth": measured.bit_depth,
        "cell_count": len(measured.cells.mask_ids),
        **_masks(measured.masks),
        **_labels(source),
        **columns,
    }
    if before is not None:
        same = before.labels == row["labels"]
        row["relabelled_at"] = before.relabelled_at if same else columns["ingested_at"]
    seals = {
        "contents": checksums.add(
            checksums.of_contents(cells, channels),
            custom_measures.seal_of_values(cells["mask_id"], theirs.values),
        ),
        "checksum": checksums.add(
            checksums.of_row(Image, row),
            _of_files(measured.files),
            _of_labels(source),
            custom_measures.seal_of_versions(theirs.versions),
        ),
    }
    if before is not None:
        _delete(connection, [source.name])
    failpoint("image.deleted")
    image_id = connection.execute(_NEW_IMAGE, {**row, **seals}).scalar_one()
    failpoint("image.row")
    _write_files(connection, image_id, measured.files)
    failpoint("image.files")
    _write_labels(connection, image_id, source)
    failpoint("image.labels")
    of_channels = [
        (image_id, name, channel.background_level, channel.histogram) for name, channel in channels.items()
    ]
    insert_rows(
        connection, ImageChannel, ("image_id", "channel", "background_level", "histogram"), of_channels
    )
    failpoint("image.channels")
    ids = _write_cells(connection, image_id, cells, channels) if row["cell_count"] else ()
    if theirs.versions:
        custom_measures.write_measures(connection, users, {image_id: (ids, theirs)})
    _attach_overrides(connection, source.name, image_id)
    clear_failures(connection, [source.name])
    return len(measured.cells.mask_ids)


def relabel_image(connection: Connection, source: Source, root: str, split: str | None) -> None:
    """Replace the labels of a stored image, whose files are now in `root`."""
    named = Image.name == source.name
    image_id = connection.execute(select(Image.id).where(named)).scalar_one()
    mine = ImageLabel.image_id == image_id
    difference = _of_labels(source) - checksums.of_rows(connection, ImageLabel, mine)
    values = {**_labels(source), "relabelled_at": datetime.now(UTC)}
    change(connection, Image, named, values, checksum=difference)
    connection.execute(delete(ImageLabel).where(mine))
    _write_labels(connection, image_id, source)
    failpoint("image.relabelled")
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
    files, mine = list(files), ImageFile.image_id == image_id
    difference = _of_files(files) - checksums.of_rows(connection, ImageFile, mine)
    change(connection, Image, Image.id == image_id, {}, checksum=difference)
    connection.execute(delete(ImageFile).where(mine))
    _write_files(connection, image_id, files)
    failpoint("image.touched")
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
        change(connection, Image, Image.name.in_(part), values)
        failpoint("images.moved")


def move_root(connection: Connection, before: str, root: str, run_id: int) -> None:
    """Record that a root, with all its images and rejected ones, is now at another path.

    Runs keep the path that they were given.
    """
    change(connection, Image, Image.root == before, {"root": root})
    there = select(IngestRun.id).where(IngestRun.root == before)
    change(connection, FailureRow, FailureRow.run_id.in_(there), {"run_id": run_id})
    failpoint("root.moved")


def split_images(connection: Connection, names: Sequence[str], split: str | None) -> None:
    """Give stored images a split."""
    for part in parts(names):
        change(connection, Image, Image.name.in_(part), {"split": split})
        failpoint("images.split")


def mark_gone(connection: Connection, names: Sequence[str], now: datetime) -> None:
    """Record that stored images have left their inputs."""
    for part in parts(names):
        change(connection, Image, Image.name.in_(part), {"gone_at": now})
        failpoint("images.gone")


def delete_images(connection: Connection, names: Sequence[str]) -> None:
    """Delete images with all their rows; what was decided about their cells stays."""
    overrides.say_lost(connection, names)
    for part in parts(names):
        _delete(connection, part)
        failpoint("images.pruned")


def remeasure_images(
    connection: Connection, recipe_id: int, images: Mapping[int, Mapping[str, tuple[float, _Floats]]]
) -> None:
    """Replace what depends on the recipe.

    Parameters
    ----------
    connection
        In a writing transaction.
    recipe_id : int
    images
        By an image's key and the channel: its background level and the (K,) fractions of its cells, in
        ascending mask id.
    """
    before = checksums.fractions(connection, list(images))
    _check_cells(connection, before, images)
    now = {key: _now(before[key], channels) for key, channels in images.items()}
    contents = {key: _of_fractions(now[key]) - _of_fractions(before[key]) for key in images}
    change(connection, Image, Image.id.in_(images), {"recipe_id": recipe_id}, contents=contents)
    of_image = and_(ImageChannel.image_id == bindparam("image"), ImageChannel.channel == bindparam("of"))
    levels = [
        {"image": key, "of": name, "level": channel.background_level}
        for key, channels in now.items()
        for name, channel in channels.items()
    ]
    if levels:
        statement = update(ImageChannel).where(of_image).values(background_level=bindparam("level"))
        connection.execute(statement, levels)
    failpoint("image.remeasured")
    _replace_fractions(
        connection,
        [
            row
            for channels in now.values()
            for name, channel in channels.items()
            for row in as_rows(channel.measures["fraction"], channel.measures["cell_id"], name)
        ],
    )
    failpoint("image.fractions")


def _check_cells(
    connection: Connection,
    before: Mapping[int, Mapping[str, checksums.Channel]],
    images: Mapping[int, Mapping[str, tuple[float, _Floats]]],
) -> None:
    """Refuse numbers of other cells than are stored: of a damaged store, or one of somebody else."""
    for key, channels in images.items():
        for name, (_, fractions) in channels.items():
            if len(fractions) != len(before[key][name].measures["cell_id"]):
                image = connection.scalar(select(Image.name).where(Image.id == key))
                raise DamagedError(f"image {image}", f"its cells have not all measures in {name}")


def clear_failures(connection: Connection, names: Sequence[str]) -> None:
    """Forget the failures of images that are in the store as their files are."""
    if names:
        connection.execute(_FORGET, [{"name": name} for name in names])


def forget_tries(connection: Connection, names: Sequence[str]) -> None:
    """Forget what the files of rejected images were like, so that they are tried again."""
    for name in names:
        mine = FailureFile.image_name == name
        files = checksums.of_rows(connection, FailureFile, mine)
        change(connection, FailureRow, FailureRow.image_name == name, {}, checksum=-files)
        connection.execute(delete(FailureFile).where(mine))


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
    for part in parts([failure.image_name for failure in failures]):
        seal_rows(connection, FailureRow, FailureRow.image_name.in_(part))
    failpoint("failures.written")


def _failure(failure: Failure) -> dict[str, Any]:
    return {name: getattr(failure, name) for name in ("image_name", "uri", "code", "message")}


def _upsert(connection: Connection, table: type[FailureRow]) -> Any:
    """INSERT with ON CONFLICT, which each dialect has of its own."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def _masks(masks: MaskOptions) -> dict[str, str | None]:
    """How masks were read; the defaults are stored as NULL."""
    usual = DEFAULT_MASKS._asdict()
    return {name: None if value == usual[name] else value for name, value in masks._asdict().items()}


def _labels(source: Source) -> dict[str, Any]:
    return {"labels": "|".join(map(str, source.labels)), "label_count": len(source.labels)}


def _write_files(connection: Connection, image_id: int, files: Iterable[FileRecord]) -> None:
    insert_rows(
        connection, ImageFile, ("image_id", *FileRecord._fields), [(image_id, *file) for file in files]
    )


def _write_labels(connection: Connection, image_id: int, source: Source) -> None:
    insert_rows(
        connection, ImageLabel, ("image_id", "label_id"), [(image_id, label) for label in source.labels]
    )


def _of_files(files: Iterable[FileRecord]) -> int:
    return sum(checksums.of_row(ImageFile, file._asdict()) for file in files)


def _of_labels(source: Source) -> int:
    return sum(checksums.of_row(ImageLabel, {"label_id": label}) for label in source.labels)


def _cell_columns(cells: Cells) -> dict[str, Sequence[Any]]:
    shape = {m.name: plain(cells.shape[m.name], m.kind) for m in SHAPE_MEASURES if m.name in cells.shape}
    return {"mask_id": cells.mask_ids.tolist(), **shape, "rle": cells.rles}


def _channel_columns(cells: Cells) -> dict[str, checksums.Channel]:
    """Channels by name, in an order that does not depend on who measured them."""
    mask_ids = cells.mask_ids.tolist()
    channels = {}
    for name in CHANNELS:
        stats = cells.channels[name]
        measures = {m.name: plain(stats.measures[m.name], m.kind) for m in CHANNEL_MEASURES}
        level = None if stats.background_level is None else plain_real(stats.background_level)
        channels[name] = checksums.Channel(level, stats.histogram, {"mask_id": mask_ids, **measures})
    return channels


def _write_cells(
    connection: Connection,
    image_id: int,
    columns: Mapping[str, Sequence[Any]],
    channels: Mapping[str, checksums.Channel],
) -> Sequence[int]:
    """Write an image's cells, and give their keys."""
    ids = _new_cell_ids(connection, len(columns["mask_id"]))
    insert_rows(connection, Cell, ("id", "image_id", *columns), as_rows(ids, image_id, *columns.values()))
    failpoint("image.cells")
    names = [measure.name for measure in CHANNEL_MEASURES]
    insert_rows(
        connection,
        CellChannel,
        ("cell_id", "channel", *names),
        [
            row
            for name, channel in channels.items()
            for row in as_rows(ids, name, *(channel.measures[n] for n in names))
        ],
    )
    failpoint("image.cell_channels")
    return ids


def _new_cell_ids(connection: Connection, count: int) -> Sequence[int]:
    """Take the next keys of cells, as the database would give them."""
    if connection.dialect.name == "sqlite":
        first = 1 + connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM cell").scalar_one()
        return range(first, first + count)
    following = func.nextval(func.pg_get_serial_sequence("cell", "id"))
    return connection.execute(select(following).select_from(func.generate_series(1, count))).scalars().all()


def _delete(connection: Connection, names: Sequence[str]) -> None:
    """Delete images; the verdicts on their cells are kept as former ones of their clean sets."""
    chosen = Image.name.in_(names)
    cells = select(Cell.id).join(Image).where(chosen)
    totals = checksums.verdicts(connection, CleanSetCell.cell_id.in_(cells))
    if totals:
        former = _former(connection, chosen)
        for set_id, total in totals.items():
            change(connection, CleanSet, CleanSet.id == set_id, {}, checksum=former[set_id], verdicts=-total)
    connection.execute(delete(Image).where(chosen))


def _former(connection: Connection, chosen: ColumnElement[bool]) -> Counter[int]:
    """Copy the verdicts on cells of images to where they outlive them, and sum up their seals by set."""
    verdict = CleanSetCell
    columns = (
        verdict.clean_set_id,
        Image.name,
        Cell.mask_id,
        verdict.label_id,
        verdict.clean,
        verdict.reason,
    )
    statement = select(*columns).join(Cell, Cell.id == verdict.cell_id).join(Image).where(chosen)
    names = ("clean_set_id", "image_name", "mask_id", "label_id", "clean", "reason")
    found = connection.execute(statement).all()
    rows: list[dict[str, Any]] = [dict(zip(names, row, strict=True)) for row in found]
    connection.execute(insert(CleanSetFormer), rows)
    seals = Counter[int]()
    for row in rows:
        seals[row["clean_set_id"]] += checksums.of_row(CleanSetFormer, row)
    return seals


def _attach_overrides(connection: Connection, name: str, image_id: int) -> None:
    """Give what was decided about cells of an image's former mask to the cells that are still the same."""
    for key, values in overrides.attach_again(connection, name, image_id).items():
        change(connection, CellOverride, CellOverride.id == key, values)
    failpoint("image.overrides")


def _replace_fractions(connection: Connection, rows: Sequence[tuple[float | None, int, str]]) -> None:
    """Replace fractions: each with its cell's key and its channel."""
    if not rows:
        return
    if connection.dialect.name == "sqlite":
        statement = "UPDATE cell_channel SET fraction = ? WHERE cell_id = ? AND channel = ?"
        connection.exec_driver_sql(statement, list(rows))
        return
    # As text, which the database takes apart: to adapt each value takes the driver a third of all the time.
    statement = (
        "UPDATE cell_channel SET fraction = new.fraction"
        " FROM unnest(CAST(string_to_array(%s, ',', '') AS float8[]),"
        " CAST(string_to_array(%s, ',') AS bigint[]), string_to_array(%s, ','))"
        " AS new(fraction, cell_id, channel)"
        " WHERE cell_channel.cell_id = new.cell_id AND cell_channel.channel = new.channel"
    )
    fractions, cells, channels = zip(*rows, strict=True)
    texts = ("" if value is None else repr(value) for value in fractions), map(str, cells), channels
    connection.exec_driver_sql(statement, tuple(map(",".join, texts)))


def _now(
    before: Mapping[str, checksums.Channel], channels: Mapping[str, tuple[float, _Floats]]
) -> dict[str, checksums.Channel]:
    """Channels of an image with other background levels and fractions."""
    return {
        name: checksums.Channel(
            plain_real(level), None, {**before[name].measures, "fraction": plain(fractions, "real")}
        )
        for name, (level, fractions) in channels.items()
    }


def _of_fractions(channels: Mapping[str, checksums.Channel]) -> int:
    return sum(checksums.of_fractions(name, c.background_level, c.measures) for name, c in channels.items())
