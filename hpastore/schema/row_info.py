"""What is declared of each table's rows: their natural key, and which checksum covers them.

Context: the canonical dump, the checksums and the doctor must know every table, and it is noticed
late if one of them forgets a table.  Decision: a table declares it once, beside its columns, in the
``info`` that SQLAlchemy keeps for such things; the three derive their statements from it.  A table
without a declaration is neither dumped nor covered.

A column may declare in its own ``info``:

``dump``
    False: it is not dumped; ``"presence"``: only whether it has a value.
``dump_as``
    Its name in the dump, if that is another one.
``dump_as_reference``
    Its name where another table refers to its row.
``checksum``
    False: no checksum covers it.
``follows_settings``
    True: it changes with the background percentile, and the checksum has a part of its own for it.
``refers_to``
    The column that it refers to without a foreign key, such as ``cell.id``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Column, ColumnElement, MetaData, Select, Table, func, select
from sqlalchemy.orm import DeclarativeBase

DECLARED_VIEWS: Final = "declared_views"
"""Where the tables' metadata keeps the views that declare their rows."""

_NO_NUMBER: Final = -1
_NO_TEXT: Final = ""
"""What stands for NULL in a key, since databases differ on where NULL sorts."""


@dataclass(frozen=True)
class RowInfo:
    """What a table declares of its rows.

    Parameters
    ----------
    natural_key
        Columns that identify a row in any store; a reference stands for the key of the row that it
        refers to. Empty: rows have none, and are not dumped.
    dumped
        Whether the table is dumped; one whose rows are only seen through references is not.
    covered_by
        Table in whose column ``checksum`` the rows are counted.
    hashed
        How: row by row; column by column, for the many rows of an image; or as the verdicts of a
        clean set, which are millions.
    grouped_by
        Of rows that are hashed column by column: one number for each of these values.
    name
        How messages name a row, such as ``image {name}``.
    """

    natural_key: tuple[str, ...] = ()
    dumped: bool = True
    covered_by: str | None = None
    hashed: Literal["rows", "columns", "verdicts"] = "rows"
    grouped_by: tuple[str, ...] = ()
    extended_by: str | None = None
    """Table with one row for each of these, whose columns are hashed along with them."""
    name: str = ""


def table_of(model: type[DeclarativeBase]) -> Table:
    """Give the table of a class."""
    table = model.__table__
    assert isinstance(table, Table)
    return table


def declared_tables(metadata: MetaData) -> tuple[Table, ...]:
    """Give all tables, and the views that declare their rows as tables do."""
    return (*metadata.tables.values(), *metadata.info.get(DECLARED_VIEWS, ()))


def row_info(table: Table) -> RowInfo:
    """Give what a table declares."""
    declared: RowInfo = table.info.get("rows", RowInfo())
    return declared


def has_checksum(table: Table) -> bool:
    """Tell whether a table's rows have a checksum, which covers the rows they own too."""
    return "checksum" in table.c


def covered_tables(owner: Table) -> list[Table]:
    """Give the other tables whose rows the checksum of an owner's row covers."""
    tables = declared_tables(owner.metadata)
    return [table for table in tables if row_info(table).covered_by == owner.name]


def covered_columns(table: Table) -> tuple[Column[Any], ...]:
    """Give the columns of a table that a checksum covers."""
    return tuple(column for column in table.c if column.info.get("checksum", True))


def key_of(table: Table) -> Column[Any]:
    """Give the only column of a primary key."""
    (key,) = table.primary_key
    return key


def refers(column: Column[Any]) -> bool:
    """Tell whether a column refers to a row, of its table or another."""
    return bool(column.foreign_keys) or "refers_to" in column.info


def referred(column: Column[Any]) -> Column[Any]:
    """Give the column that another one refers to, by a foreign key or without one."""
    for reference in column.foreign_keys:
        return reference.column
    table, name = column.info["refers_to"].split(".")
    found: Column[Any] = column.table.metadata.tables[table].c[name]
    return found


def references_of(table: Table) -> list[Column[Any]]:
    """Give the columns of a table that refer to rows, by name."""
    return sorted((column for column in table.c if refers(column)), key=lambda c: c.name)


class Natural:
    """Columns of a table and of the rows that it refers to, by name, and how they are joined.

    Parameters
    ----------
    table
        Where to begin.
    """

    def __init__(self, table: Table) -> None:
        self.table = table
        self.columns: dict[str, ColumnElement[Any]] = {}
        self._joins: dict[Table, ColumnElement[bool]] = {}

    @classmethod
    def dumped(cls, table: Table) -> Natural:
        """Take the columns that the canonical dump has of a table."""
        natural = cls(table)
        columns = [column for column in table.c if column.info.get("dump", True)]
        own = {_dump_name(column) for column in columns if not natural._reference(column)}
        for column in columns:
            natural._add_dumped(column, own)
        return natural

    def key_names(self) -> list[str]:
        """Name the columns of the natural key."""
        names: list[str] = []
        for name in row_info(self.table).natural_key:
            column = self.table.c[name]
            names += (
                self._referred_names(column) if self._reference(column) else [_dump_name(column)]
            )
        return list(dict.fromkeys(names))

    def join_to(self, target: Table) -> Column[Any]:
        """Join the way of references to a table, and give the last of them."""
        references = _way(self.table, target)
        for column in references[:-1]:
            self._join(column)
        return references[-1]

    def add_reference(self, column: Column[Any], without: Table | None = None) -> None:
        """Add the natural key of the row that a column refers to, but for columns of `without`."""
        self._expand(column, set(), without)

    def extend(self, extension: Table) -> None:
        """Join a table that has one row for each of these."""
        self._joins[extension] = key_of(extension) == key_of(self.table)

    def select(self, *first: ColumnElement[Any]) -> Select[Any]:
        """Select columns, and all that were added."""
        chosen = [*first, *(column.label(name) for name, column in self.columns.items())]
        statement = select(*chosen).select_from(self.table)
        for target, condition in self._joins.items():
            statement = statement.join(target, condition)
        return statement

    def _add_dumped(self, column: Column[Any], own: set[str]) -> None:
        name = _dump_name(column)
        if column.info.get("dump") == "presence":
            self.columns[name] = column.is_not(None)
        elif self._reference(column):
            self._expand(column, own, None)
        elif column.nullable and column.name in row_info(self.table).natural_key:
            is_text = column.type.python_type is str
            self.columns[name] = func.coalesce(column, _NO_TEXT if is_text else _NO_NUMBER)
        else:
            self.columns[name] = column

    def _expand(self, column: Column[Any], own: set[str], without: Table | None) -> None:
        target = _target(column)
        self._join(column)
        for name in row_info(target).natural_key:
            part = target.c[name]
            if not self._reference(part):
                known_as = part.info.get("dump_as_reference", _dump_name(part))
                if known_as not in own:
                    self.columns.setdefault(known_as, part)
            elif _target(part) is not without:
                self._expand(part, own, without)

    def _referred_names(self, column: Column[Any]) -> Iterator[str]:
        for name in row_info(_target(column)).natural_key:
            part = _target(column).c[name]
            if self._reference(part):
                yield from self._referred_names(part)
            else:
                yield part.info.get("dump_as_reference", _dump_name(part))

    def _join(self, column: Column[Any]) -> None:
        target = _target(column)
        self._joins.setdefault(target, key_of(target) == column)

    @staticmethod
    def _reference(column: Column[Any]) -> bool:
        """Tell whether a column refers to a row by a key that differs from store to store."""
        if not refers(column) or column.info.get("dump") == "presence":
            return False
        target = _target(column)
        return tuple(key.name for key in target.primary_key) != row_info(target).natural_key


def _dump_name(column: Column[Any]) -> str:
    return str(column.info.get("dump_as", column.name))


def _target(column: Column[Any]) -> Table:
    """Give the table that a column refers to."""
    return referred(column).table


def _way(table: Table, target: Table) -> list[Column[Any]]:
    """Give the references that lead to a table, through tables that the same checksum covers."""
    owned = {target, *covered_tables(target)}
    references = references_of(table)
    for reference in references:
        if _target(reference) is target:
            return [reference]
    for reference in references:
        if _target(reference) in owned:
            return [reference, *_way(_target(reference), target)]
    raise LookupError(f"{table.name} does not refer to {target.name}")
