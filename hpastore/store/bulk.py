"""How rows are written and changed, and their seals with them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, Update, bindparam, select, update
from sqlalchemy.exc import DBAPIError

from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import Cell, CellChannel, CleanSetCell, CleanSetThreshold, Image, ImageLabel
from hpastore.store.integrity import checksums
from hpastore.store.statements import Row


def insert_rows(
    connection: Connection, table: checksums.Table, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows of plain values, as the driver takes them.

    Through SQLAlchemy's ``insert`` the 88 rows of a usual image in ``cell_channel`` take four times as
    long.
    """
    if not rows:
        return
    target = f"{table.__tablename__} ({', '.join(columns)})"
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {target} VALUES ({marks})", list(rows))  # noqa: S608 our own names
        return
    driver: Any = connection.connection.driver_connection
    statement = f"COPY {target} FROM STDIN"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as error:
        raise DBAPIError(statement, None, error) from error


def plain(measure: npt.NDArray[np.generic], kind: str) -> list[Any]:
    """Give Python's own numbers, which both drivers take; SQLite's stores NumPy's as bytes."""
    if kind == "real":
        return [None if math.isnan(v) else v + 0.0 for v in measure.tolist()]
    return list(map(bool if kind == "flag" else int, measure.tolist()))


def plain_real(value: float) -> float | None:
    """Give a number as both databases give it back: NaN is NULL, and zero has no sign."""
    return None if math.isnan(value) else value + 0.0


def as_rows(*columns: Any) -> list[tuple[Any, ...]]:
    """Make rows of columns, which must be as long as the first; a single value is that of every row."""
    n = len(columns[0])
    lists = ([column] * n if isinstance(column, int | str) else column for column in columns)
    return list(zip(*lists, strict=True))


def change(
    connection: Connection,
    table: checksums.Table,
    where: ColumnElement[bool],
    changes: Mapping[str, Any] | Callable[[Row], Mapping[str, Any]],
    **differences: int | Mapping[Any, int],
) -> None:
    """Change rows, and their seals by what that makes of them.

    Parameters
    ----------
    connection
        In a writing transaction.
    table, where
        Which rows.
    changes
        Values by column, or what makes them of a row.
    differences
        By seal: what else changes it; of each row by its key, or of all.
    """
    names = tuple(sorted({"checksum", *differences}))
    found = connection.execute(_sealed(table, names).where(where))
    changed = []
    for row in found.mappings().all():
        values = changes(row) if callable(changes) else changes
        difference = Counter({n: d if isinstance(d, int) else d[row["key"]] for n, d in differences.items()})
        difference["checksum"] += checksums.of_row(table, {**row, **values}) - checksums.of_row(table, row)
        sums = {name: checksums.add(row[name], difference[name]) for name in names}
        changed.append({"key": row["key"], **values, **sums})
    if changed:
        connection.execute(_by_key(table), changed)


@cache
def _sealed(table: checksums.Table, names: Sequence[str]) -> AnySelect:
    """Select the key of rows, some of their seals, and what these cover."""
    seals = [table.__table__.c[name] for name in names]
    return select(checksums.key_of(table).label("key"), *seals, *checksums.columns(table))


@cache
def _by_key(table: checksums.Table) -> Update:
    return update(table).where(checksums.key_of(table) == bindparam("key"))


def seal_rows(connection: Connection, table: checksums.Table, where: ColumnElement[bool]) -> None:
    """Take the seals of rows that were just written."""
    _store_seals(connection, table, "checksum", checksums.checksums(connection, table, where))


def _store_seals(
    connection: Connection, table: checksums.Table, column: str, seals: Iterable[checksums.Seal]
) -> None:
    values = [{"key": taken.key, column: taken.now} for taken in seals]
    if values:
        connection.execute(_by_key(table), values)


def take_missing_seals(connection: Connection) -> None:
    """Take the seals that were never taken: those of rows that an older version wrote."""
    if not checksums.any_missing(connection):
        return
    missing = (taken for taken in checksums.seals(connection) if taken.stored is None)
    for (table, column), found in groupby(missing, lambda taken: (taken.table, taken.column)):
        _store_seals(connection, table, column, found)


def analyze(connection: Connection) -> None:
    """Let PostgreSQL count: without statistics it plans for a few rows.

    60,000 cells: 81 s for an export of verdicts before, 3 s after.  SQLite's planner does well without.
    """
    if connection.dialect.name == "postgresql":
        tables = (Image, ImageLabel, Cell, CellChannel, CleanSetThreshold, CleanSetCell)
        connection.exec_driver_sql(f"ANALYZE {', '.join(table.__tablename__ for table in tables)}")
