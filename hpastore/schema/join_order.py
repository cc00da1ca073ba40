"""Joins whose tables SQLite takes in the order in which they are written.

Context: SQLite, which knows little of how many rows a subquery gives, begins some statements with
all cells of a store, where one index lookup would do.  Decision: a statement that knows its order
says so.  SQLite takes the tables of a CROSS JOIN as they stand, with the condition as in any other
join; PostgreSQL, which counts its rows, plans for itself.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, Join
from sqlalchemy.ext.compiler import compiles


class OrderedJoin(Join):
    """A join of which SQLite takes the left side first."""

    inherit_cache = True


def join_in_order(left: FromClause, right: Any, condition: ColumnElement[bool]) -> FromClause:
    """Join two tables, the left one first."""
    return OrderedJoin(left, right, condition)


@compiles(OrderedJoin)
def _as_join(join: OrderedJoin, compiler: Any, **options: Any) -> str:
    return str(compiler.visit_join(join, **options))


@compiles(OrderedJoin, "sqlite")
def _as_cross_join(join: OrderedJoin, compiler: Any, **options: Any) -> str:
    left, right, condition = (
        compiler.process(part, **{**options, "asfrom": asfrom})
        for part, asfrom in ((join.left, True), (join.right, True), (join.onclause, False))
    )
    return f"{left} CROSS JOIN {right} ON {condition}"
