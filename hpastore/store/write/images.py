"""Images with all their rows: stored, replaced and deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, select

from hpastore.kernels.custom import CustomMeasure
from hpastore.kernels.definitions import CHANNEL_MEASURES
from hpastore.model import Measured
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.tables import (
    Cell,
    CellOverride,
    CleanSet,
    CleanSetCell,
    CleanSetFormer,
    Image,
    ImageChannel,
    ImageColumn,
    ImageFile,
    ImageLabel,
    StoredMask,
)
from hpastore.store import custom_measures, image_records, overrides
from hpastore.store.bulk import as_rows, change, insert_children, insert_rows
from hpastore.store.integrity import checksums
from hpastore.store.statements import batches
from hpastore.store.write.cell_labels import LabelsByMask, own_labels, restore_own_labels
from hpastore.store.write.failures import clear_failures
from hpastore.store.write.image_rows import ImageRows, image_rows, label_columns

_BEFORE: Final = select(Image.id, Image.labels, Image.relabelled_at).where(
    Image.name == bindparam("name")
)
_NEW_IMAGE: Final = insert(Image).returning(Image.id)
"""Made once: to build a statement takes longer than to run it."""


def write_image(
    connection: Connection,
    measured: Measured,
    of_run: Mapping[str, Any],
    custom: Sequence[CustomMeasure] = (),
) -> int:
    """Store one image with all its rows, in place of what the store has under its name.

    What a stored image has of the label table's columns stays, unless the run keeps or drops them.

    Parameters
    ----------
    connection
        In a writing transaction.
    measured : Measured
    of_run
        What the run gives to ``image``: root, split, settings_id, ingested_at.
    custom
        The custom measures that are installed here; values of others are not written.

    Returns
    -------
    int
        Number of cells stored.
    """
    name = measured.source.name
    before = connection.execute(_BEFORE, {"name": name}).one_or_none()
    stored_columns: dict[str, str] = {}
    labels: LabelsByMask = {}
    if before is not None:
        same = before.labels == label_columns(measured.source)["labels"]
        relabelled_at = before.relabelled_at if same else of_run["ingested_at"]
        of_run = {**of_run, "relabelled_at": relabelled_at}
        stored_columns = image_records.image_columns(connection, before.id)
        labels = own_labels(connection, name)
    rows = image_rows(measured, of_run, custom, stored_columns)

    if before is not None:
        _delete(connection, [name])
    failpoint("image.deleted")
    _insert(connection, rows, custom)
    if labels:
        restore_own_labels(connection, name, labels, of_run.get("relabelled_at"))
    clear_failures(connection, [name])
    return len(measured.cells.mask_ids)


def delete_images(connection: Connection, names: Sequence[str]) -> None:
    """Delete images with all their rows; what was decided about their cells stays."""
    overrides.warn_before_deleting(connection, names)
    for part in batches(names):
        _delete(connection, part)
        failpoint("images.pruned")


def _insert(connection: Connection, rows: ImageRows, custom: Sequence[CustomMeasure]) -> None:
    values = {**rows.image, "checksum": rows.checksum}
    image_id = connection.execute(_NEW_IMAGE, values).scalar_one()
    failpoint("image.row")
    insert_children(connection, ImageFile, image_id, rows.files)
    failpoint("image.files")
    insert_children(connection, ImageLabel, image_id, rows.labels)
    failpoint("image.labels")
    insert_children(connection, ImageColumn, image_id, rows.columns)
    failpoint("image.columns")
    channels = [
        {"channel": channel, **{name: values[0] for name, values in columns.items()}}
        for (channel,), columns in rows.channels.items()
    ]
    insert_children(connection, ImageChannel, image_id, channels)
    failpoint("image.channels")

    cell_ids = _insert_cells(connection, image_id, rows) if rows.cells["mask_id"] else ()
    if rows.custom.versions:
        custom_measures.write_measures(connection, custom, {image_id: (cell_ids, rows.custom)})
    _attach_overrides(connection, rows.image["name"], image_id)


def _insert_cells(connection: Connection, image_id: int, rows: ImageRows) -> Sequence[int]:
    """Insert an image's cells, and give their keys."""
    ids = _new_cell_ids(connection, len(rows.cells["mask_id"]))
    columns = {name: column for name, column in rows.cells.items() if name != "rle"}
    for (channel,), of_channel in rows.cell_channels.items():
        columns |= {f"{channel}_{m.name}": of_channel[m.name] for m in CHANNEL_MEASURES}
    values = as_rows(ids, image_id, *columns.values())
    insert_rows(connection, Cell, ("id", "image_id", *columns), values)
    failpoint("image.cells")
    insert_rows(connection, StoredMask, ("cell_id", "rle"), as_rows(ids, rows.cells["rle"]))
    failpoint("image.cell_masks")
    return ids


def _new_cell_ids(connection: Connection, count: int) -> Sequence[int]:
    """Take the next keys of cells, as the database would give them."""
    if connection.dialect.name == "sqlite":
        first = 1 + connection.exec_driver_sql("SELECT coalesce(max(id), 0) FROM cell").scalar_one()
        return range(first, first + count)
    following = func.nextval(func.pg_get_serial_sequence("cell", "id"))
    return (
        connection.execute(select(following).select_from(func.generate_series(1, count)))
        .scalars()
        .all()
    )


def _delete(connection: Connection, names: Sequence[str]) -> None:
    """Delete images; the verdicts on their cells are archived in their clean sets."""
    chosen = Image.name.in_(names)
    cells = select(Cell.id).join(Image).where(chosen)
    sums = checksums.verdict_sums(connection, CleanSetCell.cell_id.in_(cells))
    if sums:
        archived = _archive_verdicts(connection, chosen)
        differences = {set_id: archived[set_id] - total for set_id, total in sums.items()}
        change(connection, CleanSet, CleanSet.id.in_(sums), {}, differences)
        connection.execute(delete(CleanSetCell).where(CleanSetCell.cell_id.in_(cells)))
    connection.execute(delete(Image).where(chosen))


def _archive_verdicts(connection: Connection, chosen: ColumnElement[bool]) -> Counter[int]:
    """Archive the verdicts on cells of images, and sum up their numbers by clean set."""
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
    rows: list[dict[str, Any]] = [
        dict(zip(names, row, strict=True)) for row in connection.execute(statement).all()
    ]
    connection.execute(insert(CleanSetFormer), rows)

    numbers = Counter[int]()
    for row in rows:
        numbers[row["clean_set_id"]] += checksums.row_number(CleanSetFormer, row)
    return numbers


def _attach_overrides(connection: Connection, name: str, image_id: int) -> None:
    """Give overrides of cells of an image's former mask to the cells that are still the same."""
    for key, values in overrides.match_detached(connection, name, image_id).items():
        change(connection, CellOverride, CellOverride.id == key, values)
    failpoint("image.overrides")
