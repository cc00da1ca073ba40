"""How rows are inserted and changed, and their checksums with them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, Table, Update, bindparam, delete, select, update
from sqlalchemy.exc import DBAPIError

from hpastore.schema.percentile import AnySelect
from hpastore.schema.row_info import Natural, key_of, row_info, table_of
from hpastore.schema.tables import (
    Base,
    Cell,
    CleanSetCell,
    CleanSetThreshold,
    Image,
    ImageLabel,
    StoredMask,
)
from hpastore.store.integrity import checksums
from hpastore.store.integrity.checksums import Comparison, Model


def insert_rows(
    connection: Connection, model: Model, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Insert rows of plain values, as the driver takes them.

    Through SQLAlchemy's ``insert`` the rows of a usual image take four times as long.
    """
    if not rows:
        return
    target = f"{model.__tablename__} ({', '.join(columns)})"
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"INSERT INTO {target} VALUES ({marks})", list(rows))  # noqa: S608 names of columns
        return
    driver: Any = connection.connection.driver_connection
    statement = f"COPY {target} FROM STDIN"
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except connection.dialect.loaded_dbapi.Error as error:
        raise DBAPIError(statement, None, error) from error


def insert_children(
    connection: Connection, model: Model, owner_key: Any, rows: Sequence[Mapping[str, Any]]
) -> None:
    """Insert rows that belong to another, all with the same columns."""
    if rows:
        names = list(rows[0])
        values = [(owner_key, *(row[name] for name in names)) for row in rows]
        insert_rows(connection, model, (_owner_column(model).name, *names), values)


def plain(measure: npt.NDArray[np.generic], kind: str) -> list[Any]:
    """Give Python's own numbers, which both drivers take; SQLite's stores NumPy's as bytes."""
    if kind == "real":
        return [None if math.isnan(v) else v + 0.0 for v in measure.tolist()]
    return list(map(bool if kind == "flag" else int, measure.tolist()))


def plain_real(value: float) -> float | None:
    """Give a number as both databases give it back: NaN is NULL, and zero has no sign."""
    return None if math.isnan(value) else value + 0.0


def as_rows(*columns: Any) -> list[tuple[Any, ...]]:
    """Make rows of columns as long as the first; a single value stands in every row."""
    n = len(columns[0])
    lists = ([column] * n if isinstance(column, int | str) else column for column in columns)
    return list(zip(*lists, strict=True))


def change(
    connection: Connection,
    model: Model,
    where: ColumnElement[bool],
    changes: Mapping[str, Any],
    differences: int | Mapping[Any, int] = 0,
) -> None:
    """Change rows that have a checksum, and the checksum with them.

    Parameters
    ----------
    connection
        In a writing transaction.
    model, where
        Which rows.
    changes
        New values by column.
    differences
        What the checksum gains by rows that belong to these: by their keys, or the same for all.
    """
    changed = []
    for row in connection.execute(_with_checksum(model).where(where)).mappings().all():
        difference = checksums.row_number(model, {**row, **changes}) - checksums.row_number(
            model, row
        )
        difference += differences if isinstance(differences, int) else differences[row["owner"]]
        checksum = checksums.add(row["checksum"], difference)
        changed.append({"owner": row["owner"], **changes, "checksum": checksum})
    if changed:
        connection.execute(_update_by_key(model), changed)


def replace_children(
    connection: Connection,
    owner: Model,
    owner_key: Any,
    model: Model,
    rows: Sequence[Mapping[str, Any]],
    changes: Mapping[str, Any] | None = None,
) -> None:
    """Replace all rows of a table that belong to one row, and change that row.

    Parameters
    ----------
    connection
        In a writing transaction.
    owner, owner_key
        Table with checksums, and which of its rows.
    model, rows
        Table and its new rows, without the column that refers to the owner.
    changes
        New values of the owner's row.
    """
    belongs = _owner_column(model) == owner_key
    before = checksums.stored_rows_number(connection, model, belongs)
    difference = checksums.rows_number(model, rows) - before
    change(connection, owner, key_of(table_of(owner)) == owner_key, changes or {}, difference)
    connection.execute(delete(model).where(belongs))
    insert_children(connection, model, owner_key, rows)


def store_checksums(connection: Connection, model: Model, where: ColumnElement[bool]) -> None:
    """Compute the checksums of rows that were just written, and store them."""
    table = table_of(model)
    _store(connection, table, checksums.compare(connection, table, where))


def verify_checksums(connection: Connection) -> list[str]:
    """Compare all checksums with the stored values, and store those that were never computed.

    Returns
    -------
    list of str
        The names of rows that do not match.
    """
    mismatches = []
    found = checksums.compare_all(connection)
    for table, of_table in groupby(found, lambda one: one.table):
        missing = []
        for one in of_table:
            if one.stored is None:
                missing.append(one)
            elif one.stored != one.computed:
                mismatches.append(one.name)
        _store(connection, table, missing)
    return mismatches


def analyze(connection: Connection) -> None:
    """Let PostgreSQL count: without statistics it plans for a few rows.

    60,000 cells: 81 s for an export of verdicts before, 3 s after.  SQLite's planner does well
    without.
    """
    if connection.dialect.name == "postgresql":
        tables = (Image, ImageLabel, Cell, StoredMask, CleanSetThreshold, CleanSetCell)
        connection.exec_driver_sql(f"ANALYZE {', '.join(table.__tablename__ for table in tables)}")


def _store(connection: Connection, table: Table, found: Iterable[Comparison]) -> None:
    values = [{"owner": one.key, "checksum": one.computed} for one in found]
    if values:
        statement = update(table).where(key_of(table) == bindparam("owner"))
        connection.execute(statement.values(checksum=bindparam("checksum")), values)


@cache
def _with_checksum(model: Model) -> AnySelect:
    """Select the key of rows, their checksum, and what it covers of the row."""
    table = table_of(model)
    return select(key_of(table).label("owner"), table.c.checksum, *checksums.raw_columns(model))


@cache
def _update_by_key(model: Model) -> Update:
    return update(model).where(key_of(table_of(model)) == bindparam("owner"))


@cache
def _owner_column(model: Model) -> ColumnElement[Any]:
    """Give the column that refers to the row whose checksum covers a row of this table."""
    table = table_of(model)
    return Natural(table).join_to(Base.metadata.tables[str(row_info(table).covered_by)])
