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
    Whole numbers are written into the statement: a database takes few parameters.
    """
    selects = [
        select(*(cast(_value(row.get(n), kind), kind).label(n) for n, kind in kinds.items()))
        for row in rows
    ]
    if not selects:
        empty: AnySelect = select(*(cast(null(), kind).label(n) for n, kind in kinds.items()))
        return empty.where(literal_column("1") == literal_column("0")).cte(name)
    table: FromClause = united(selects, name).cte(name)
    return table


def united(selects: Sequence[AnySelect], name: str) -> Any:
    """Unite any number of SELECTs, at least one.

    SQLite takes 500 in one union, and any number of unions in each other.
    """
    parts = [
        _union(selects[i : i + _MAX_UNION]).subquery(f"{name}_{i}")
        for i in range(0, len(selects), _MAX_UNION)
    ]
    return _union([select(part) for part in parts])


def _union(selects: Sequence[AnySelect]) -> Any:
    return selects[0] if len(selects) == 1 else union_all(*selects)


def _value(value: Any, kind: Any) -> Any:
    if value is None:
        return null()
    return literal_column(str(int(value))) if kind is BIGINT else literal(value, kind)
