"""Masks of cells with their boxes, and the verdicts on an image's cells: what a figure draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from hpastore.errors import DamagedError, NotFoundError
from hpastore.schema.labelled_cells import judged_cells
from hpastore.schema.tables import Cell, CleanSetCell, Image, StoredMask
from hpastore.store import arrays


class CellMask(NamedTuple):
    """A cell's mask and its box, half-open, in pixels of the image."""

    mask_id: int
    x: int
    y: int
    width: int
    height: int
    rle: str
    image_width: int
    image_height: int


class ImageCells(NamedTuple):
    """An image's size, labels and masks."""

    width: int
    height: int
    labels: str
    """Ids joined by ``|``."""
    masks: dict[int, CellMask]
    """By the cells' keys."""


def read_masks(connection: Connection, cells: Sequence[int]) -> dict[int, CellMask]:
    """Read the masks of cells, by their keys.

    Raises
    ------
    DamagedError
        If a mask does not fill its image, or its box is not the stored one.
    """
    columns: tuple[Any, ...] = (Cell.mask_id, Cell.x, Cell.y, Cell.width, Cell.height)
    columns += (StoredMask.rle,)
    columns += (Image.width.label("image_width"), Image.height.label("image_height"))
    statement = select(Cell.id, *columns, Image.name).join(Image, Image.id == Cell.image_id)
    statement = statement.join(StoredMask, StoredMask.cell_id == Cell.id)
    found = connection.execute(statement.where(Cell.id.in_(cells))).all()
    _check_masks(found)
    return {row[0]: CellMask(*row[1:-1]) for row in found}


def _check_masks(found: Sequence[Any]) -> None:
    def where(place: int) -> str:
        return f"cell {found[place].name}:{found[place].mask_id}"

    pixels = [row.image_width * row.image_height for row in found]
    arrays.check_masks([row.rle for row in found], pixels, where)
    for place, row in enumerate(found):
        box = (row.x, row.y, row.width, row.height)
        if not arrays.has_box(row.rle, row.image_height, row.image_width, box):
            raise DamagedError(where(place), "its stored box is not the box of its mask")


def read_image_cells(connection: Connection, name: str) -> ImageCells:
    """Read an image's size and labels, and the masks of its cells.

    Raises
    ------
    NotFoundError
        If the store has no such image.
    """
    columns = (Image.id, Image.width, Image.height, Image.labels)
    image = connection.execute(select(*columns).where(Image.name == name)).one_or_none()
    if image is None:
        raise NotFoundError(
            f"no image {name}; the table image of 'hpastore sql' holds the names of all images"
        )
    cells = list(connection.scalars(select(Cell.id).where(Cell.image_id == image.id)))
    return ImageCells(image.width, image.height, image.labels, read_masks(connection, cells))


def read_image_verdicts(
    connection: Connection, name: str, set_id: int
) -> list[tuple[int, int, bool, str | None]]:
    """Read the verdicts on an image's cells: ``mask_id, label_id, clean, reason``, by label."""
    columns = (Cell.mask_id, CleanSetCell.label_id, CleanSetCell.clean, CleanSetCell.reason)
    statement = select(*columns).select_from(judged_cells())
    statement = statement.where(CleanSetCell.clean_set_id == set_id, Image.name == name)
    found = connection.execute(statement.order_by(CleanSetCell.label_id, Cell.mask_id))
    return [(mask_id, label, clean, reason) for mask_id, label, clean, reason in found]
