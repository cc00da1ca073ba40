"""The values of a measure in the cells of single-label images, and their percentiles by label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import CompoundSelect, Connection, cast, exists, func, select

from hpastore.schema.clean_rows import RuleRow
from hpastore.schema.conditions import LIVE
from hpastore.schema.groups import GroupOfImage, is_in_group
from hpastore.schema.labelled_cells import LabelledCells, of_both
from hpastore.schema.measure_value import MeasureKey, MeasureValues
from hpastore.schema.percentile import AnySelect, percentiles
from hpastore.schema.tables import (
    Cell,
    CellMeasure,
    CleanRule,
    Image,
    ImageChannel,
    Label,
    Measure,
)
from hpastore.schema.types import BIGINT
from hpastore.store.statements import Row, rows

_ROWS: Final = 20_000
"""Rows that are held as Python's numbers at a time."""


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
    values = label_values(measure, channel, split=split, label=label).subquery("single")
    found = percentiles(values, "label_id", shares).subquery("found")
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


def label_values(
    measure: str,
    channel: str | None,
    *,
    split: str | None = None,
    label: int | None = None,
    rule: RuleRow | None = None,
) -> CompoundSelect[Any]:
    """Select the values of a measure in cells with one label: ``label_id, cell_id, value``.

    Parameters
    ----------
    measure, channel
    split
        Only images of this split, if given.
    label
        Only this label, if given.
    rule
        Only images of the group that this rule is for, if given.
    """
    tables = MeasureValues([(measure, channel)])
    value = tables.value(measure, channel)

    def values(cells: LabelledCells) -> AnySelect:
        columns = (cells.label_id, Cell.id.label("cell_id"), value.label("value"))
        single = select(*columns).select_from(tables.join_to(cells.rows))
        single = single.where(cells.label_count == 1, LIVE, value.is_not(None))
        if label is not None:
            single = single.where(cells.label_id == label)
        if rule is not None and rule.grouped_by is not None:
            single = single.where(exists().where(CleanRule.id == rule.id, is_in_group(CleanRule)))
        return single if split is None else single.where(Image.split == split)

    return of_both(values)


class LabelValues(NamedTuple):
    """Values of measures in cells with one label."""

    labels: npt.NDArray[np.int64]
    """(N,)"""
    values: npt.NDArray[np.float64]
    """(N, M), NaN where a cell has none."""
    groups: npt.NDArray[np.int64]
    """(N, G), numbers of the groups of the cells' images."""


def many_label_values(
    connection: Connection,
    measures: Sequence[MeasureKey],
    groups: Sequence[GroupOfImage] = (),
    split: str | None = None,
) -> LabelValues:
    """Read the values of M measures in cells with one label, and G groups of their images."""
    if not measures:
        return LabelValues(np.empty(0, np.int64), np.empty((0, 0)), np.empty((0, 0), np.int64))
    tables = MeasureValues(measures)
    columns = [*(tables.value(*key) for key in measures), *(group.number for group in groups)]

    def values(cells: LabelledCells) -> AnySelect:
        rows = tables.join_to(cells.rows)
        for group in groups:
            rows = group.join_to(rows)
        single = select(cells.label_id, *columns).select_from(rows)
        single = single.where(cells.label_count == 1, LIVE)
        return single if split is None else single.where(Image.split == split)

    # All rows at once would take a hundred bytes for each value; from the driver, since SQLAlchemy
    # need not decode any of these columns.
    cursor = connection.execute(of_both(values)).cursor
    parts = [np.empty((0, 1 + len(columns)))]
    while part := cursor.fetchmany(_ROWS):
        parts.append(np.array(part, np.float64))
    rows = np.concatenate(parts)
    first_group = 1 + len(measures)
    return LabelValues(
        rows[:, 0].astype(np.int64),
        rows[:, 1:first_group],
        rows[:, first_group:].astype(np.int64),
    )


def count_values(
    connection: Connection, measures: Sequence[MeasureKey], split: str | None = None
) -> dict[int, tuple[int, ...]]:
    """Count the values of measures in cells with one label, by label."""
    if not measures:
        return {}
    tables = MeasureValues(measures)
    names = [f"n_{place}" for place in range(len(measures))]

    def counts(cells: LabelledCells) -> AnySelect:
        columns = (
            func.count(tables.value(*key)).label(name)
            for name, key in zip(names, measures, strict=True)
        )
        single = select(cells.label_id, *columns).select_from(tables.join_to(cells.rows))
        single = single.where(cells.label_count == 1, LIVE)
        single = single if split is None else single.where(Image.split == split)
        return single.group_by(cells.label_id)

    both = of_both(counts).subquery("counts")
    sums = (cast(func.sum(both.c[name]), BIGINT) for name in names)
    found = connection.execute(select(both.c.label_id, *sums).group_by(both.c.label_id))
    return {label: tuple(of_label) for label, *of_label in found}


def count_multilabel(connection: Connection, split: str | None = None) -> tuple[int, int]:
    """Count the live cells with several labels, and the images that have one."""
    several = func.coalesce(Cell.label_count, Image.label_count) > 1
    columns = (func.count(func.distinct(Cell.image_id)), func.count())
    statement = select(*columns).join_from(Cell, Image).where(LIVE, several)
    if split is not None:
        statement = statement.where(Image.split == split)
    images, cells = connection.execute(statement).one()
    return int(images), int(cells)


def count_images_without(connection: Connection, channel: str, split: str | None = None) -> int:
    """Count the live images that have cells and lack a channel."""
    has_channel = exists().where(ImageChannel.image_id == Image.id, ImageChannel.channel == channel)
    statement = select(func.count(Image.id)).where(LIVE, Image.cell_count > 0, ~has_channel)
    if split is not None:
        statement = statement.where(Image.split == split)
    return int(connection.execute(statement).scalar_one())


def custom_channels(connection: Connection) -> dict[str, list[str | None]]:
    """Read the channels of each custom measure by its name; None stands for the whole cell."""
    statement = select(Measure.name, CellMeasure.channel).join(CellMeasure).distinct()
    found: dict[str, list[str | None]] = {}
    for name, channel in connection.execute(statement.order_by(Measure.name, CellMeasure.channel)):
        found.setdefault(name, []).append(channel or None)
    return found
