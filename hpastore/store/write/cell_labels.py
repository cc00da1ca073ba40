"""Labels of single cells, which take the place of their image's labels."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, delete, select, update

from hpastore.errors import NotFoundError
from hpastore.schema.tables import Cell, CellLabel, Image, StoredMask
from hpastore.store.bulk import change, insert_rows
from hpastore.store.integrity import checksums
from hpastore.store.integrity.checksums import Columns
from hpastore.text import count_text

logger = logging.getLogger(__name__)

CellLabels = Mapping[int, Sequence[int]]
"""Label ids of some cells of an image, by mask id; without one a cell has none at all."""

LabelsByMask = Mapping[str, Sequence[int]]
"""Label ids of cells by their masks, which tell the cells of one image apart."""


def own_labels(connection: Connection, name: str) -> LabelsByMask:
    """Read the labels of an image's cells that have some of their own."""
    rows = (
        Image.__table__.join(Cell, Cell.image_id == Image.id)
        .join(StoredMask, StoredMask.cell_id == Cell.id)
        .outerjoin(CellLabel, CellLabel.cell_id == Cell.id)
    )
    statement = select(StoredMask.rle, CellLabel.label_id).select_from(rows)
    statement = statement.where(Image.name == name, Cell.label_count.is_not(None))
    found: dict[str, list[int]] = {}
    for mask, label in connection.execute(statement):
        found.setdefault(mask, []).extend([] if label is None else [label])
    return found


def restore_own_labels(
    connection: Connection, name: str, before: LabelsByMask, relabelled_at: datetime | None
) -> None:
    """Give the cells of an image that was replaced the labels of their own that they had.

    A cell is the same if its mask is; a warning counts those that are not there any more.
    """
    rows = Image.__table__.join(Cell, Cell.image_id == Image.id)
    rows = rows.join(StoredMask, StoredMask.cell_id == Cell.id)
    masks = select(Cell.mask_id, StoredMask.rle).select_from(rows).where(Image.name == name)
    labels = {
        mask_id: before[mask] for mask_id, mask in connection.execute(masks) if mask in before
    }
    if labels:
        label_cells(connection, name, labels, relabelled_at)
    if lost := len(before) - len(labels):
        logger.warning(
            "%s: the labels of %s are lost: no cell has the same mask any more",
            name,
            count_text(lost, "single cell"),
        )


def label_cells(
    connection: Connection, name: str, labels: CellLabels, now: datetime | None
) -> None:
    """Give cells of a stored image labels of their own, in place of all that they had before.

    Clean sets keep their verdicts, as when an image gets other labels.

    Parameters
    ----------
    connection
        In a writing transaction.
    name
        The image's name.
    labels
        Cells that are not among them have the labels of the image.
    now
        When the labels changed; they stay if the image is replaced and the cell has the same mask.

    Raises
    ------
    NotFoundError
        If the store has no such image or cell.
    """
    image_id = connection.scalar(select(Image.id).where(Image.name == name))
    if image_id is None:
        raise NotFoundError(f"no image {name}")
    is_of_image = Cell.image_id == image_id
    blocks = checksums.stored_blocks(connection, Cell, Image.id == image_id)
    before = blocks.get(image_id, {}).get((), {"mask_id": ()})
    after = _with_labels(name, before, labels)
    difference = checksums.blocks_number(Cell, {(): after})
    difference -= checksums.blocks_number(Cell, {(): before})

    of_keys = select(Cell.mask_id, Cell.id).where(is_of_image)
    keys = {row.mask_id: row.id for row in connection.execute(of_keys)}
    of_image = CellLabel.cell_id.in_(keys.values())
    rows = [(keys[mask_id], label) for mask_id, own in labels.items() for label in sorted({*own})]
    difference += checksums.rows_number(CellLabel, ({"label_id": label} for _, label in rows))
    difference -= checksums.stored_rows_number(connection, CellLabel, of_image)

    _update_cells(connection, image_id, after)
    connection.execute(delete(CellLabel).where(of_image))
    insert_rows(connection, CellLabel, ("cell_id", "label_id"), rows)
    change(connection, Image, Image.id == image_id, {"relabelled_at": now}, difference)


def _with_labels(name: str, cells: Columns, labels: CellLabels) -> Columns:
    """Replace the columns of an image's cells that tell their labels."""
    mask_ids = cells["mask_id"]
    for mask_id in labels:
        if mask_id not in mask_ids:
            raise NotFoundError(f"no cell {name}:{mask_id}")
    own = [sorted({*labels[mask_id]}) if mask_id in labels else None for mask_id in mask_ids]
    joined = [None if ids is None else "|".join(map(str, ids)) for ids in own]
    counts = [None if ids is None else len(ids) for ids in own]
    return {**cells, "labels": joined, "label_count": counts}


def _update_cells(connection: Connection, image_id: int, cells: Columns) -> None:
    names = ("mask_id", "labels", "label_count")
    values: list[dict[str, Any]] = [
        {f"new_{name}": value for name, value in zip(names, row, strict=True)}
        for row in zip(*(cells[name] for name in names), strict=True)
    ]
    statement = update(Cell).where(
        Cell.image_id == image_id, Cell.mask_id == bindparam("new_mask_id")
    )
    own: dict[str, Any] = {name: bindparam(f"new_{name}") for name in names[1:]}
    if values:
        connection.execute(statement.values(own), values)
