"""Run a statement: all rows at once, as a stream, or in batches of names."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from typing import Any, Final

from sqlalchemy import Connection
from sqlalchemy.engine import RowMapping

from hpastore.schema.percentile import AnySelect

Row = RowMapping

_MAX_NAMES: Final = 10_000
"""Names in one statement, of which SQLite takes 32,766 at most."""


def rows(connection: Connection, statement: AnySelect) -> list[Row]:
    """Run a statement and return its rows."""
    return list(connection.execute(statement).mappings())


def stream(connection: Connection, statement: AnySelect, size: int = 1000) -> Generator[Any]:
    """Run a statement and yield its rows as they come, `size` of them in memory.

    A caller that may stop before the last row closes the generator, and with it the database's
    cursor.
    """
    with connection.execute(statement, execution_options={"yield_per": size}) as result:
        yield from result


def batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list of names into batches that fit into one statement."""
    return (names[start : start + _MAX_NAMES] for start in range(0, len(names), _MAX_NAMES))
