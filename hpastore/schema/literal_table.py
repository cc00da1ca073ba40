"""Tables that are written into a statement: a few rows of numbers and texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import FromClause, cast, literal, literal_column, null, select, union_all

from hpastore.schema.percentile import AnySelect
from hpastore.schema.types import BIGINT

_MAX_UNION: Final = 400
"""SELECTs in one union."""


def literal_table(
    rows: Sequence[Mapping[str, Any]], kinds: Mapping[str, Any], name: str
) -> FromClause:
    """Make a table of some rows.

    Parameters
    ----------
    rows
        By the names of their columns; what a row lacks is NULL.
    kinds
        The columns' types.
    name

    Notes
    -----
    Whole numbers are written into the statement: a database takes few parameters.  SQLite takes 500
    SELECTs in one union, and any number of unions in each other.
    """
    selects = [
        select(*(cast(_value(row.get(n), kind), kind).label(n) for n, kind in kinds.items()))
        for row in rows
    ]
    parts = [
        _united(selects[i : i + _MAX_UNION]).subquery(f"{name}_{i}")
        for i in range(0, len(selects), _MAX_UNION)
    ]
    if not parts:
        empty: AnySelect = select(*(cast(null(), kind).label(n) for n, kind in kinds.items()))
        return empty.where(literal_column("1") == literal_column("0")).cte(name)
    table: FromClause = _united([select(part) for part in parts]).cte(name)
    return table


def _united(selects: Sequence[AnySelect]) -> Any:
    return selects[0] if len(selects) == 1 else union_all(*selects)


def _value(value: Any, kind: Any) -> Any:
    if value is None:
        return null()
    return literal_column(str(int(value))) if kind is BIGINT else literal(value, kind)
