"""Where the value of a measure is stored.

Built-in measures are columns of ``cell``, and custom measures are rows of ``cell_measure``.
Statements that know their measures beforehand join that table once each, with `MeasureValues`; the
views, whose measures are named by rows of ``clean_rule``, use `named_value`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import ColumnElement, FromClause, and_, case, cast, func, select
from sqlalchemy.orm import aliased

from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES
from hpastore.schema.tables import Cell, CellMeasure, Measure, channel_column
from hpastore.schema.types import REAL
from hpastore.vocabulary import CHANNELS

SHAPE_NAMES: Final = tuple(m.name for m in SHAPE_MEASURES)
CHANNEL_NAMES: Final = tuple(m.name for m in CHANNEL_MEASURES)

_FLAG_NAMES: Final = frozenset(m.name for m in SHAPE_MEASURES if m.kind == "flag")
_FEW_VALUED: Final = frozenset(
    m.name for m in (*SHAPE_MEASURES, *CHANNEL_MEASURES) if m.kind == "integer"
) | {"intensity_median"}

Column = ColumnElement[Any]

MeasureKey = tuple[str, str | None]
"""A measure's name and channel; the channel of a measure of a whole cell is None."""


class MeasureValues:
    """The values of some measures of `Cell`, custom ones from a table that is joined once each.

    Parameters
    ----------
    measures
        Names and channels; built-in and custom measures.
    """

    def __init__(self, measures: Iterable[MeasureKey]) -> None:
        keys = sorted(set(measures), key=str)
        customs = dict.fromkeys(_custom_key(*key) for key in keys if not _is_built_in(key[0]))

        self._customs = {
            key: aliased(CellMeasure, name=f"custom_{i}") for i, key in enumerate(customs)
        }

    def join_to(self, rows: FromClause) -> FromClause:
        """Join the values of custom measures to rows of `Cell`."""
        for (measure, channel), values in self._customs.items():
            named = select(Measure.id).where(Measure.name == measure)
            of_cell = and_(values.cell_id == Cell.id, values.channel == channel)
            rows = rows.outerjoin(values, and_(of_cell, values.measure_id.in_(named)))
        return rows

    def value(self, measure: str, channel: str | None) -> Column:
        """Value of one of the measures, as a real number; NULL where a cell has none."""
        if measure in SHAPE_NAMES:
            return _shape_value(measure)
        if measure in CHANNEL_NAMES:
            return cast(channel_column(measure, str(channel)), REAL)
        return cast(self._customs[_custom_key(measure, channel)].value, REAL)


def named_value(name: Any, channel: Any) -> Column:
    """Value of the measure that columns of another table name, as a real number."""
    shape = {m: _shape_value(m) for m in SHAPE_NAMES}
    levels = {
        m: case({c: cast(channel_column(m, c), REAL) for c in CHANNELS}, value=channel)
        for m in CHANNEL_NAMES
    }
    custom = select(CellMeasure.value).join(Measure, Measure.id == CellMeasure.measure_id)
    custom = custom.where(
        CellMeasure.cell_id == Cell.id,
        Measure.name == name,
        CellMeasure.channel == func.coalesce(channel, ""),
    )
    custom = custom.correlate_except(CellMeasure, Measure)
    return case({**shape, **levels}, value=name, else_=custom.scalar_subquery())


def built_in_values() -> dict[MeasureKey, Column]:
    """Value of each built-in measure, as a real number."""
    shape: dict[MeasureKey, Column] = {(name, None): _shape_value(name) for name in SHAPE_NAMES}
    levels: dict[MeasureKey, Column] = {
        (m.name, channel): _real(channel_column(m.name, channel), m.kind)
        for m in CHANNEL_MEASURES
        for channel in m.channels
    }
    return {**shape, **levels}


def _real(column: Column, kind: str) -> Column:
    """Make a real number of a column; SQLite would convert each that is one already."""
    return column if kind == "real" else cast(column, REAL)


def is_few_valued(measure: str) -> bool:
    """Tell whether many cells have the same value: whole numbers, and medians of whole numbers."""
    return measure in _FEW_VALUED


def flag_value(flag: str) -> Column:
    """Whether a cell has one of the flags that rules know."""
    return Cell.nucleus_area == 0 if flag == "no_nucleus" else getattr(Cell, flag)


def lacks_channel(channel: str) -> Column:
    """Whether a cell's image has no such channel: each cell has a brightest pixel in others."""
    return channel_column("intensity_max", channel).is_(None)


def lacks_named_channel(channel: Any) -> Column:
    """Whether a cell's image lacks the channel that a column names; not so for NULL."""
    lacks = {c: case((lacks_channel(c), 1), else_=0) for c in CHANNELS}
    return case(lacks, value=channel, else_=0) == 1


def _shape_value(measure: str) -> Column:
    """Value of a measure of a cell's mask, as a real number; 1 for a flag that is set."""
    column = getattr(Cell, measure)
    return cast(case((column, 1), else_=0) if measure in _FLAG_NAMES else column, REAL)


def _is_built_in(measure: str) -> bool:
    return measure in SHAPE_NAMES or measure in CHANNEL_NAMES


def _custom_key(measure: str, channel: str | None) -> tuple[str, str]:
    """Name and channel of a custom measure as they are stored."""
    return measure, channel or ""
