"""The values of a measure in the cells of single-label images, and their percentiles by label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, func, literal, select

from hpastore.schema.conditions import LIVE
from hpastore.schema.measure_value import MeasureValues
from hpastore.schema.percentile import AnySelect, percentiles
from hpastore.schema.tables import Cell, CellMeasure, Image, ImageLabel, Label, Measure
from hpastore.schema.types import REAL
from hpastore.store.statements import Row, rows


def thresholds(
    connection: Connection,
    measure: str,
    channel: str | None,
    shares: Mapping[str, float],
    label: int | None = None,
    split: str | None = None,
) -> list[Row]:
    """Compute percentiles of a measure for each label, over all cells of single-label images.

    Parameters
    ----------
    connection
    measure, channel
        The measure, and its channel; None for a measure of the cell as a whole.
    shares
        The percentiles, 0..1, by the names of their columns.
    label
        Only this label, if given.
    split
        Only images of this split, if given.

    Returns
    -------
    list of Row
        ``label_id, label, n`` and a column for each of `shares`.  A label without a value is left
        out.
    """
    values = label_values(measure, channel, split)
    if label is not None:
        values = values.where(ImageLabel.label_id == label)
    numbers: dict[str, Any] = {name: literal(share, REAL) for name, share in shares.items()}
    found = percentiles(values.subquery("single"), ["label_id"], numbers).subquery("found")
    statement = (
        select(
            found.c.label_id,
            Label.name.label("label"),
            found.c.n,
            *(found.c[name] for name in shares),
        )
        .join(Label, Label.id == found.c.label_id)
        .order_by(found.c.label_id)
    )
    return rows(connection, statement)


def label_values(measure: str, channel: str | None, split: str | None = None) -> AnySelect:
    """Select the values of a measure in single-label images: ``label_id, cell_id, value``."""
    values = MeasureValues([(measure, channel)])
    value = values.value(measure, channel)
    tables = ImageLabel.__table__.join(Image, Image.id == ImageLabel.image_id)
    tables = tables.join(Cell, Cell.image_id == Image.id)

    single = select(ImageLabel.label_id, Cell.id.label("cell_id"), value.label("value"))
    single = single.select_from(values.join_to(tables))
    single = single.where(Image.label_count == 1, LIVE, value.is_not(None))
    return single if split is None else single.where(Image.split == split)


def count_multilabel(connection: Connection, split: str | None = None) -> tuple[int, int]:
    """Count the live images with several labels and at least one cell, and their cells."""
    cells = func.coalesce(func.sum(Image.cell_count), 0)
    statement = select(func.count(), cells).where(LIVE, Image.label_count > 1, Image.cell_count > 0)
    if split is not None:
        statement = statement.where(Image.split == split)
    images, total = connection.execute(statement).one()
    return int(images), int(total)


def custom_channels(connection: Connection) -> dict[str, list[str | None]]:
    """Read the channels of each custom measure by its name; None stands for the whole cell."""
    statement = select(Measure.name, CellMeasure.channel).join(CellMeasure).distinct()
    found: dict[str, list[str | None]] = {}
    for name, channel in connection.execute(statement.order_by(Measure.name, CellMeasure.channel)):
        found.setdefault(name, []).append(channel or None)
    return found
