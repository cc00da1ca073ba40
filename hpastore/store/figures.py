"""What histograms and the plot of drift show: rules with their bounds, and values of many cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import CompoundSelect, Connection, FromClause, null, select

from hpastore.classes import Classes
from hpastore.schema.clean_rows import BoundRow, RuleRow
from hpastore.schema.conditions import LIVE
from hpastore.schema.labelled_cells import judged_cells, of_both
from hpastore.schema.measure_value import MeasureValues
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import CellMeasure, CleanSetCell, Image, Measure
from hpastore.store.clean_sets.bounds import current_bounds
from hpastore.store.clean_sets.rows import read_bounds, read_clean_set, read_rules

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


def kept_rules(connection: Connection, set_id: int, classes: Classes) -> list[RuleOfLabel]:
    """Read the rules of a clean set for every label, in their order, with the bounds it keeps."""
    rules = read_rules(connection, set_id, classes)
    return _rules(rules, read_bounds(connection, set_id, classes))


def live_rules(connection: Connection, set_id: int, classes: Classes) -> list[RuleOfLabel]:
    """Read the rules of a clean set for every label, in their order, with the current bounds."""
    clean_set = read_clean_set(connection, set_id)
    if clean_set.frozen:
        return kept_rules(connection, set_id, classes)
    rules = read_rules(connection, set_id, classes)
    return _rules(rules, current_bounds(connection, clean_set, rules))


def _rules(rules: Sequence[RuleRow], bounds: Sequence[BoundRow]) -> list[RuleOfLabel]:
    """Join rules and bounds; a rule that groups the images is here once, without a bound."""
    by_id = {rule.id: rule for rule in rules}
    pairs = [(bound, by_id[bound.rule_id]) for bound in bounds]
    pairs = [(b, r) for b, r in pairs if r.grouped_by is None or r.group_value is None]
    pairs.sort(key=lambda pair: (pair[0].label_id, pair[1].position, pair[1].id))
    return [
        RuleOfLabel(
            *(bound.label_id, rule.measure, rule.channel, rule.reason, rule.condition),
            rule.shown,
            *((bound.lower, bound.upper) if rule.grouped_by is None else (None, None)),
        )
        for bound, rule in pairs
    ]


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

    def chosen(rows: FromClause, label_id: Any, clean: Any, *where: Any) -> AnySelect:
        statement = select(label_id, value, clean).select_from(values.join_to(rows))
        statement = statement.where(LIVE, *where)
        if label is not None:
            statement = statement.where(label_id == label)
        return statement if split is None else statement.where(Image.split == split)

    if set_id is None:
        single = of_both(
            lambda cells: chosen(cells.rows, cells.label_id, null(), cells.label_count == 1)
        )
        return _read_values(connection, single)
    verdict, in_set = CleanSetCell, CleanSetCell.clean_set_id == set_id
    judged = chosen(judged_cells(), verdict.label_id, verdict.clean, in_set)
    return _read_values(connection, judged)


def _read_values(
    connection: Connection, statement: AnySelect | CompoundSelect[Any]
) -> npt.NDArray[Any]:
    """Run a statement that selects label, value and whether the cell is clean."""
    dtype = [("label", np.int64), ("value", np.float64), ("clean", np.bool_)]
    with connection.execute(statement, execution_options={"yield_per": _BATCH_ROWS}) as result:
        rows = (row for part in result.partitions() for row in part)
        plain = (
            (label, np.nan if value is None else value, bool(clean)) for label, value, clean in rows
        )
        return np.fromiter(plain, dtype)
