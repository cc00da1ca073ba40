"""Percentiles per group in SQL, equal to `numpy.quantile` to the last bit on both databases."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    Select,
    and_,
    case,
    cast,
    func,
    literal,
    or_,
    select,
)

from hpastore.schema.types import BIGINT, REAL

Number = ColumnElement[Any]

AnySelect = Select[*tuple[Any, ...]]
"""A SELECT of any columns."""


def ranked(values: FromClause, key: str) -> AnySelect:
    """Number the values of each group.

    Parameters
    ----------
    values
        Has the columns `key` and ``value``, which is not NULL, and any others.
    key
        The column that makes a group.

    Returns
    -------
    Select
        The columns of `values`; ``first`` and ``last``, the places of a row's values in their
        order, from 0, which are one here; and ``n``.

    Notes
    -----
    Counting needs no order; the same order as for the places saves SQLite a second sort.
    """
    order: Any = {"partition_by": values.c[key], "order_by": values.c.value}
    place = func.row_number().over(**order) - 1
    n = func.count().over(**order, rows=(None, None))
    return select(*values.c, place.label("first"), place.label("last"), n.label("n"))


def ranked_levels(values: FromClause, key: str) -> AnySelect:
    """Number the values of each group as `ranked` does, but equal values together.

    Other columns must be the same in all of a group.  For whole numbers, which are often equal,
    this takes half the time.
    """
    group = (values.c[key], values.c.value)
    of_group = [func.max(c).label(c.name) for c in values.c if c.name not in (key, "value")]
    counted: AnySelect = select(*group, *of_group, func.count().label("cells"))
    levels = counted.group_by(*group).subquery("levels")
    order: Any = {"partition_by": levels.c[key], "order_by": levels.c.value}
    following = cast(func.sum(levels.c.cells).over(**order, rows=(None, 0)), BIGINT)
    n = cast(func.sum(levels.c.cells).over(**order, rows=(None, None)), BIGINT)
    return select(
        *(levels.c[column.name] for column in values.c),
        (following - levels.c.cells).label("first"),
        (following - 1).label("last"),
        n.label("n"),
    )


def neighbours(rows: FromClause, share: Number, name: str) -> list[ColumnElement[Any]]:
    """Aggregate, over a group of `ranked` rows, what `between` needs for one percentile.

    Parameters
    ----------
    rows
        From `ranked` or `ranked_levels`.
    share
        The percentile, 0..1; NULL gives NULLs.
    name
        Prefix of the three columns.

    Returns
    -------
    list of columns
        ``{name}_a``, the value at floor(h) with h = (n - 1) share; ``{name}_b``, the one after,
        NULL at the last; ``{name}_t`` = h - floor(h), or any number where both values are equal.

    Notes
    -----
    Comparing places with h finds floor(h) without a cast, which SQLite rounds down and PostgreSQL
    to nearest.
    """
    h = (rows.c.n - 1) * share
    a = func.max(case((rows.c.first <= h, rows.c.value)))
    b = func.min(case((rows.c.last > h, rows.c.value)))
    t = func.max(h) - func.max(case((rows.c.first <= h, rows.c.last)))
    return [a.label(f"{name}_a"), b.label(f"{name}_b"), t.label(f"{name}_t")]


def near(rows: FromClause, shares: Iterable[Number]) -> ColumnElement[bool]:
    """Choose the rows that `neighbours` needs, and the first of each group, which alone knows n if
    all shares are NULL.

    Aggregates over all rows would take as long as the sort.
    """
    chosen = [rows.c.first == 0]
    for share in shares:
        h = (rows.c.n - 1) * share
        chosen.append(and_(rows.c.last > h - 1, rows.c.first <= h + 1))
    return or_(*chosen)


def nearest(rows: FromClause, keys: Sequence[str], shares: Mapping[str, Number]) -> AnySelect:
    """Aggregate the rows of each group that its percentiles need.

    Parameters
    ----------
    rows
        From `ranked` or `ranked_levels`.
    keys
        Columns that are the same in all of a group.
    shares
        Percentiles 0..1 by name; an expression may use the columns of `rows` that are the same in
        all of a group.

    Returns
    -------
    Select
        The columns `keys`, ``n`` and those of `neighbours`.
    """
    group = [rows.c[key] for key in keys]
    found = [column for name, share in shares.items() for column in neighbours(rows, share, name)]
    statement = select(*group, func.max(rows.c.n).label("n"), *found)
    return statement.where(near(rows, shares.values())).group_by(*group)


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


def percentiles(values: FromClause, key: str, shares: Mapping[str, float]) -> AnySelect:
    """Count the values of each group and take percentiles of them.

    Parameters
    ----------
    values
        Has the columns `key` and ``value``, which is not NULL.
    key
        The column that makes a group.
    shares
        Percentiles 0..1 by the name of the column that they give.

    Returns
    -------
    Select
        The column `key`, ``n`` and one for each of `shares`.
    """
    numbers: dict[str, Number] = {name: literal(share, REAL) for name, share in shares.items()}
    rows = ranked(values, key).subquery("ranked")
    grouped = nearest(rows, [key], numbers).subquery("grouped")
    results = [between(grouped, name).label(name) for name in shares]
    return select(grouped.c[key], grouped.c.n, *results)
