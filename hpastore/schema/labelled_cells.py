"""Cells with their labels: those of their image, or their own.

A cell that has labels of its own, rows of ``cell_label``, has these in place of its image's.  Each
statement that asks for cells by label is made twice, for both kinds of cells, and united: with both
in one join neither database would find its way by an index.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, CompoundSelect, FromClause, func, union_all

from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import Cell, CellLabel, CleanSetCell, Image, ImageLabel

Column = ColumnElement[Any]


class LabelledCells(NamedTuple):
    """Cells whose labels come from one place.

    Parameters
    ----------
    rows
        Joins ``image``, ``cell`` and the table of the labels: one row per cell and label.
    label_id
        The label.
    chosen
        Whether the cell has its labels from there.
    labels
        All labels of the cell, joined by ``|``.
    label_count
        How many there are.
    """

    rows: FromClause
    label_id: Column
    chosen: Column
    labels: Column
    label_count: Column


BY_IMAGE: Final = LabelledCells(
    Image.__table__.join(ImageLabel, ImageLabel.image_id == Image.id).join(
        Cell, Cell.image_id == Image.id
    ),
    ImageLabel.__table__.c.label_id,
    Cell.label_count.is_(None),
    Image.__table__.c.labels,
    Image.__table__.c.label_count,
)

BY_CELL: Final = LabelledCells(
    CellLabel.__table__.join(Cell, Cell.id == CellLabel.cell_id).join(
        Image, Image.id == Cell.image_id
    ),
    CellLabel.__table__.c.label_id,
    Cell.label_count.is_not(None),
    Cell.__table__.c.labels,
    Cell.__table__.c.label_count,
)

LABELS: Final = func.coalesce(Cell.labels, Image.labels)
"""All labels of a cell, joined by ``|``, wherever they come from."""


def of_both(build: Callable[[LabelledCells], AnySelect]) -> CompoundSelect[Any]:
    """Unite the rows of a statement that is made for each kind of cells."""
    return union_all(*(build(cells).where(cells.chosen) for cells in (BY_IMAGE, BY_CELL)))


def judged_cells() -> FromClause:
    """Join verdicts with their cells and images."""
    tables = CleanSetCell.__table__.join(Cell, Cell.id == CleanSetCell.cell_id)
    return tables.join(Image, Image.id == Cell.image_id)
