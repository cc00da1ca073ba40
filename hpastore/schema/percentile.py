"""Percentiles per group in SQL, equal to `numpy.quantile` to the last bit on both databases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Select, Subquery, and_, case, func, or_, select

Number = ColumnElement[Any]

AnySelect = Select[*tuple[Any, ...]]
"""A SELECT of any columns."""


def ranked(values: FromClause, keys: Sequence[str]) -> Subquery:
    """Number the values of each group.

    Parameters
    ----------
    values
        Has the columns `keys` and ``value``, which is not NULL, and any others.
    keys
        The columns that make a group.

    Returns
    -------
    Subquery
        The columns of `values`, ``position`` (0-based, by value) and ``n``.

    Notes
    -----
    Counting needs no order; the same order as for the positions saves SQLite a second sort.
    """
    order: Any = {"partition_by": [values.c[key] for key in keys], "order_by": values.c.value}
    position = func.row_number().over(**order) - 1
    n = func.count().over(**order, rows=(None, None))
    return select(*values.c, position.label("position"), n.label("n")).subquery("ranked")


def neighbours(rows: Subquery, share: Number, name: str) -> list[ColumnElement[Any]]:
    """Aggregate, over a group of `ranked` rows, what `between` needs for one percentile.

    Parameters
    ----------
    rows
        From `ranked`.
    share
        The percentile, 0..1; NULL gives NULLs.
    name
        Prefix of the three columns.

    Returns
    -------
    list of columns
        ``{name}_a``, the value at floor(h) with h = (n - 1) share; ``{name}_b``, the one after,
        NULL at the last; ``{name}_t`` = h - floor(h).

    Notes
    -----
    Comparing positions with h finds floor(h) without a cast, which SQLite rounds down and
    PostgreSQL to nearest.
    """
    h = (rows.c.n - 1) * share
    a = func.max(case((rows.c.position <= h, rows.c.value)))
    b = func.min(case((rows.c.position > h, rows.c.value)))
    t = func.max(h) - func.max(case((rows.c.position <= h, rows.c.position)))
    return [a.label(f"{name}_a"), b.label(f"{name}_b"), t.label(f"{name}_t")]


def near(rows: Subquery, shares: Iterable[Number]) -> ColumnElement[bool]:
    """Choose the rows that `neighbours` needs, and the first of each group, which alone knows n if
    all shares are NULL.

    Aggregates over all rows would take as long as the sort.
    """
    chosen = [rows.c.position == 0]
    for share in shares:
        h = (rows.c.n - 1) * share
        chosen.append(and_(rows.c.position > h - 1, rows.c.position <= h + 1))
    return or_(*chosen)


def between(rows: FromClause, name: str) -> Number:
    """Interpolate as NumPy does: from a for t < 0.5, else from b, so that t = 1 gives b exactly.

    Parameters
    ----------
    rows
        Has the columns of `neighbours`.
    name
        Their prefix.
    """
    a, t = rows.c[f"{name}_a"], rows.c[f"{name}_t"]
    b = func.coalesce(rows.c[f"{name}_b"], a)
    return case((t < 0.5, a + (b - a) * t), else_=b - (b - a) * (1 - t))


def percentiles(values: FromClause, keys: Sequence[str], shares: Mapping[str, Number]) -> AnySelect:
    """Count the values of each group and take percentiles of them.

    Parameters
    ----------
    values
        Has the columns `keys` and ``value``, which is not NULL.
    keys
        The columns that make a group.
    shares
        Percentiles 0..1 by the name of the column that they give.  An expression may use the
        columns of `values` that are the same in all of a group, by `sqlalchemy.literal_column`.

    Returns
    -------
    Select
        The columns `keys`, ``n`` and one for each of `shares`.
    """
    rows = ranked(values, keys)
    group = [rows.c[key] for key in keys]
    found = [column for name, share in shares.items() for column in neighbours(rows, share, name)]
    nearest = select(*group, func.max(rows.c.n).label("n"), *found).where(
        near(rows, shares.values())
    )
    grouped = nearest.group_by(*group).subquery("grouped")
    results = [between(grouped, name).label(name) for name in shares]
    return select(*(grouped.c[key] for key in keys), grouped.c.n, *results)
