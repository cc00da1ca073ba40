"""The user's own SQL, which may read and nothing else.

SQLite's ``mode=ro`` still lets a query attach and write another file, so an authorizer allows
nothing but reading.  PostgreSQL gets one statement in a read-only transaction, which alone would
let COPY write the server's files; hence the look at the first word.
"""

from __future__ import annotations

import math
import re
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy.exc import OperationalError

from hpastore.errors import QueryError, UnavailableError, UsageError
from hpastore.store.engine import Store

_READS: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION}
)
_LOADS_CODE: Final = frozenset({"load_extension", "fts3_tokenizer"})
_STATEMENTS: Final = ("SELECT", "WITH", "VALUES", "TABLE", "EXPLAIN")

_BEGINS: Final = re.compile(
    rf"(?>[ \t\r\n(]|--[^\r\n]*|/\*(?:(?!/\*|\*/).)*\*/)*+(?:{'|'.join(_STATEMENTS)})\b", re.I | re.S
)
"""One of the statements after space and comments.  A comment is what both databases take for one: only
PostgreSQL nests them and ends a line at a carriage return.  Nothing is tried twice, so that no word of
a comment passes for the first."""

_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: 10_000_000,  # a handler cannot stop one call that makes a huge value
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_STEPS: Final = 10_000
"""Steps of SQLite's machine between two looks at the clock: about a millisecond."""

_MOST: Final = 2**31 - 1
"""Rows that SQLite's driver counts, and milliseconds that PostgreSQL does."""


@dataclass(frozen=True)
class Answer:
    """What a query gave.

    Parameters
    ----------
    columns
        Their names.
    rows
        Values as the database has them.
    cut
        Whether there were more rows than asked for.
    """

    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    cut: bool


def query(store: Store, sql: str, *, timeout: float = 30, max_rows: int = 1_000_000) -> Answer:
    """Run one reading statement.

    Parameters
    ----------
    store : Store
    sql : str
        One SELECT, WITH, VALUES, TABLE or EXPLAIN.
    timeout : float
        Seconds.
    max_rows : int
        Rows after which the answer is cut.

    Returns
    -------
    Answer

    Raises
    ------
    QueryError
        If the statement writes, is wrong, or takes too long.
    UsageError
        If a limit makes no sense.
    """
    if not 0 < timeout < math.inf or max_rows < 1:
        raise UsageError("timeout takes seconds above 0, max rows a number of 1 or more")
    if not _BEGINS.match(sql):
        raise QueryError(f"a query begins with {', '.join(_STATEMENTS)}")
    ask = _ask_sqlite if store.is_sqlite else _ask_postgresql
    columns, rows = ask(store, sql, timeout, min(max_rows, _MOST - 1) + 1)
    if not columns:
        raise QueryError("the query gives no columns; use a SELECT")
    return Answer(columns, rows[:max_rows], len(rows) > max_rows)


def _ask_sqlite(
    store: Store, sql: str, timeout: float, most: int
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    path = Path(str(store.engine.url.database)).absolute()
    connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, isolation_level=None)
    try:
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        end = time.monotonic() + timeout
        connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
        connection.set_authorizer(_authorize)
        cursor = connection.execute(sql)
        columns = tuple(column[0] for column in cursor.description or ())
        return columns, cursor.fetchmany(most)
    except (sqlite3.Error, sqlite3.Warning, ValueError) as error:
        raise QueryError(_sqlite_reason(str(error), timeout)) from error
    finally:
        connection.close()


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    reads = action in _READS and (second or first or "").lower() not in _LOADS_CODE
    return sqlite3.SQLITE_OK if reads else sqlite3.SQLITE_DENY


def _sqlite_reason(said: str, timeout: float) -> str:
    if said == "interrupted":
        return f"the query took longer than {timeout:g} s; ask for less, or raise --timeout"
    if said in ("not authorized", "attempt to write a readonly database") or "prohibited" in said:
        return f"the query does more than read ({said}); use a SELECT"
    if "one statement" in said:
        return "one statement at a time"
    return said


def _ask_postgresql(
    store: Store, sql: str, timeout: float, most: int
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    import psycopg

    milliseconds = math.ceil(min(timeout * 1000, _MOST))  # 0 would be none
    try:
        with store.engine.connect() as connection:
            driver = connection.connection.driver_connection
            assert isinstance(driver, psycopg.Connection)
            try:
                driver.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                driver.execute(f"SET LOCAL statement_timeout = {milliseconds}")
                # Prepared, hence one statement: "SELECT 1; COMMIT; DROP ..." is refused.
                cursor = driver.execute(sql.encode(), prepare=True)
                columns = tuple(column.name for column in cursor.description or ())
                return columns, cursor.fetchmany(most)
            finally:
                connection.invalidate()  # whatever the query set goes with the connection
    except psycopg.errors.QueryCanceled as error:
        raise QueryError(
            f"the query took longer than {timeout:g} s; ask for less, or raise --timeout"
        ) from error
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise QueryError("the query does more than read; use a SELECT") from error
    except (psycopg.Error, ValueError) as error:  # the latter of a query that is not UTF-8
        raise QueryError(str(error).splitlines()[0] if str(error) else type(error).__name__) from error
    except OperationalError as error:
        raise UnavailableError(store.url, str(error.orig).strip()) from error
