"""What histograms and the plot of drift show: rules with their bounds, and values of many cells."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, FromClause, and_, null, select

from hpastore.schema.conditions import LIVE
from hpastore.schema.measure_value import MeasureValues
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import (
    Cell,
    CellMeasure,
    CleanRule,
    CleanSetCell,
    CleanSetThreshold,
    Image,
    ImageLabel,
    Measure,
)
from hpastore.schema.threshold_view import label_threshold

_BATCH_ROWS: Final = 10_000
"""Rows that are held at once, where there may be millions."""


class RuleOfLabel(NamedTuple):
    """A rule of a clean set under one label, with its bounds."""

    label_id: int
    measure: str
    channel: str | None
    reason: str | None
    """None is ``below_lower`` and ``above_upper``."""
    condition: str | None
    shown: bool
    lower: float | None
    upper: float | None


def kept_rules(connection: Connection, set_id: int) -> list[RuleOfLabel]:
    """Read the rules of a clean set for every label, in their order, with the bounds it keeps."""
    return _rules(connection, CleanSetThreshold.__table__, set_id)


def live_rules(connection: Connection, set_id: int) -> list[RuleOfLabel]:
    """Read the rules of a clean set for every label, in their order, with the current bounds."""
    return _rules(connection, label_threshold(set_id).subquery("now"), set_id)


def _rules(connection: Connection, bounds: FromClause, set_id: int) -> list[RuleOfLabel]:
    statement = (
        select(
            *(bounds.c.label_id, CleanRule.measure, CleanRule.channel),
            *(CleanRule.reason, CleanRule.condition, CleanRule.shown),
            *(bounds.c.lower, bounds.c.upper),
        )
        .select_from(CleanRule.__table__.join(bounds, bounds.c.rule_id == CleanRule.id))
        .where(CleanRule.clean_set_id == set_id)
        .order_by(bounds.c.label_id, CleanRule.position, CleanRule.id)
    )
    return [RuleOfLabel(*row) for row in connection.execute(statement)]


def custom_measure_units(connection: Connection, measure: str) -> dict[str | None, str]:
    """Read a custom measure's unit by channel, None for the whole cell; else an empty dict."""
    statement = select(CellMeasure.channel, Measure.unit).join(
        Measure, Measure.id == CellMeasure.measure_id
    )
    found = connection.execute(statement.where(Measure.name == measure).distinct())
    return {channel or None: unit for channel, unit in found}


def values_by_label(
    connection: Connection,
    measure: str,
    channel: str | None,
    label: int | None,
    set_id: int | None,
    split: str | None = None,
) -> npt.NDArray[Any]:
    """Read a measure of many cells.

    Of a clean set these are the cells that it judged, under the label that it judged them by.
    Without one they are all cells of images with a single label, and none is clean.

    Parameters
    ----------
    connection
    measure, channel
    label
        Only cells under this label.
    set_id
        A clean set.
    split
        Only cells of images in this split.

    Returns
    -------
    (N,) of int64 ``label``, float64 ``value``, NaN where it is NULL, and bool ``clean``
    """
    values = MeasureValues([(measure, channel)])
    value = values.value(measure, channel)
    if set_id is None:
        single = and_(Image.id == ImageLabel.image_id, Image.label_count == 1, LIVE)
        tables = ImageLabel.__table__.join(Image, single).join(Cell, Cell.image_id == Image.id)
        label_id: Any = ImageLabel.label_id
        statement: AnySelect = select(label_id, value, null())
    else:
        tables = CleanSetCell.__table__.join(Cell, Cell.id == CleanSetCell.cell_id)
        tables = tables.join(Image, Image.id == Cell.image_id)
        label_id = CleanSetCell.label_id
        statement = select(label_id, value, CleanSetCell.clean)
        statement = statement.where(CleanSetCell.clean_set_id == set_id, LIVE)
    statement = statement.select_from(values.join_to(tables))

    if label is not None:
        statement = statement.where(label_id == label)
    if split is not None:
        statement = statement.where(Image.split == split)
    return _read_values(connection, statement)


def _read_values(connection: Connection, statement: AnySelect) -> npt.NDArray[Any]:
    """Run a statement that selects label, value and whether the cell is clean."""
    dtype = [("label", np.int64), ("value", np.float64), ("clean", np.bool_)]
    with connection.execute(statement, execution_options={"yield_per": _BATCH_ROWS}) as result:
        rows = (row for part in result.partitions() for row in part)
        plain = (
            (label, np.nan if value is None else value, bool(clean)) for label, value, clean in rows
        )
        return np.fromiter(plain, dtype)
