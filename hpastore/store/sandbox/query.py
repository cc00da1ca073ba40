"""Run a user's SQL, which may only read.

SQLite's ``mode=ro`` still lets a query attach and write another file, and PostgreSQL's READ ONLY
lets a query run programs, read the server's files and keep locks.  So a query is checked before it
runs: its first word, and on PostgreSQL the functions that it names
(`hpastore.store.sandbox.privileges`).  It then runs in a worker process with limits
(`hpastore.store.sandbox.process`).

What a query can still do: keep the PostgreSQL server busy until its timeout, and make it compute
values of up to 1 GB.  Operators, casts and views are trusted, since not everyone may create them.
"""

from __future__ import annotations

import math
import os
import re
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from hpastore.errors import QueryError, UnavailableError, UsageError
from hpastore.store.engine import Store
from hpastore.store.sandbox.privileges import refuse_side_effects, restricted_transaction
from hpastore.store.sandbox.process import Message, running_query
from hpastore.store.sandbox.worker import MAX_MEMORY, MAX_VALUE_BYTES, QueryFailed
from hpastore.store.sqlite_connection import read_only_uri

if TYPE_CHECKING:
    import psycopg

Row = tuple[Any, ...]
Load = Callable[[bytes], Any]
Limit = Literal["rows", "bytes", ""]

MAX_BYTES: Final = 2**29
"""Memory of this process that the rows of an answer may take."""

_STATEMENTS: Final = ("SELECT", "WITH", "VALUES", "TABLE")
_EXPLAIN_OPTIONS: Final = (
    *(
        "ANALYZE",
        "ANALYSE",
        "VERBOSE",
        "COSTS",
        "SETTINGS",
        "BUFFERS",
        "WAL",
        "TIMING",
        "SUMMARY",
        "MEMORY",
    ),
    *("FORMAT", "TEXT", "JSON", "YAML", "XML", "TRUE", "FALSE", "ON", "OFF", "QUERY", "PLAN"),
)
_SPACE_OR_COMMENT: Final = r"[ \t\r\n(]|--[^\r\n]*|/\*(?:(?!/\*|\*/).)*\*/"
_READING: Final = re.compile(
    rf"(?>{_SPACE_OR_COMMENT})*+(?:EXPLAIN\b(?>{_SPACE_OR_COMMENT}|[),]|(?:{'|'.join(_EXPLAIN_OPTIONS)})\b)*+)?"
    rf"(?:{'|'.join(_STATEMENTS)})\b",
    re.I | re.S,
)
"""The beginning of a reading statement: space, comments, EXPLAIN and its options, first word.

A comment is only what both databases read as a comment: only PostgreSQL nests them, and ends a line
at a
carriage return.  It never backtracks, so that no word within a comment counts as the first."""

_FLAT_TYPES: Final = frozenset(
    {type(None), bool, int, float, Decimal, str, bytes, date, datetime, time, timedelta}
)
"""Types whose values contain no other values."""

_MAX_QUERY_BYTES: Final = 100_000

_MAX_MESSAGE_LENGTH: Final = 300
"""Characters of a database's message that ours quotes."""


@dataclass(frozen=True)
class Answer:
    """The rows of a query.

    Parameters
    ----------
    columns
        The names of the columns.
    rows
        Values as the database's driver gives them.
    cut
        Whether there were more rows than a limit allows.
    limit
        The limit that cut the rows, ``rows`` or ``bytes``; empty if there were no more.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    cut: bool
    limit: Limit = ""


def query(
    store: Store,
    sql: str,
    *,
    timeout: float = 30,
    max_rows: int = 1_000_000,
    max_bytes: int = MAX_BYTES,
) -> Answer:
    """Run one statement that only reads.

    Parameters
    ----------
    store : Store
    sql : str
        One SELECT, WITH, VALUES or TABLE, or EXPLAIN of one.
    timeout : float
        Seconds.
    max_rows : int
        The answer is cut after this number of rows.
    max_bytes : int
        The answer is cut when its rows take more memory than this, in bytes.  A single row that
        takes more is an error.

    Returns
    -------
    Answer

    Raises
    ------
    QueryError
        If the statement does more than read, is invalid, or needs too much time or memory.
    UsageError
        If a limit is out of range.
    UnavailableError
        If the database cannot be reached.
    """
    if not 0 < timeout < math.inf or max_rows < 1 or max_bytes < 1:
        raise UsageError(
            "timeout must be a finite number of seconds above 0, and max_rows and max_bytes at "
            "least 1"
        )
    _require_reading_statement(sql)
    request = {"sql": sql, "timeout": timeout, "max_bytes": max_bytes}
    run = _run_on_sqlite if store.is_sqlite else _run_on_postgresql
    try:
        return run(store, request, max_rows)
    except QueryFailed as failure:
        if failure.kind == "store":
            with store.translated_errors():
                raise sqlite3.OperationalError(failure.detail) from failure
        if failure.kind in ("connection", "start"):
            reason = f"no connection; run the same command again ({_one_line(failure.detail)})"
            raise UnavailableError(store.url, reason) from failure
        raise QueryError(_failure_message(failure, timeout, max_bytes)) from failure


def _require_reading_statement(sql: str) -> None:
    """Refuse a query that is too long or begins with another word, before a database parses it."""
    try:
        length = len(sql.encode())
    except UnicodeEncodeError as error:
        raise QueryError(str(error)) from error
    if length > _MAX_QUERY_BYTES:
        raise QueryError(
            f"the query has {length:,} bytes; at most {_MAX_QUERY_BYTES:,} are allowed"
        )
    if "\0" in sql:
        raise QueryError("a query cannot contain a null character")
    if not _READING.match(sql):
        choices = ", ".join(_STATEMENTS)
        raise QueryError(
            f"a query must begin with one of {choices}, or with EXPLAIN and one of them"
        )


def _run_on_sqlite(store: Store, request: dict[str, Any], max_rows: int) -> Answer:
    path = Path(str(store.engine.url.database)).absolute()
    with store.reading() as connection:
        # SQLite needs files beside the database to read it, which the worker could not create.
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master").first()
        with running_query({**request, "uri": read_only_uri(path)}, {}) as messages:
            return _collect(messages, lambda _: None, max_rows, request["max_bytes"])


def _run_on_postgresql(store: Store, request: dict[str, Any], max_rows: int) -> Answer:
    import psycopg

    with store.reading() as connection:
        refuse_side_effects(connection, request["sql"])
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        version = driver.info.server_version
        request["before"] = restricted_transaction(connection, version, request["timeout"])

    encoding = driver.info.encoding
    try:
        request["sql"] = request["sql"].encode(encoding)
    except UnicodeEncodeError as error:
        reason = f"the connection's encoding {encoding} cannot express the query ({error})"
        raise QueryError(f"{reason}; set PGCLIENTENCODING=UTF8") from error

    request["conninfo"] = _conninfo(driver)
    request["encoding"] = encoding
    request["path"] = [str(Path(psycopg.__file__).parents[1]), *filter(None, sys.path)]

    with running_query(request, os.environ) as messages:
        return _collect(
            messages, lambda types: _loaders(driver, types), max_rows, request["max_bytes"]
        )


def _conninfo(driver: psycopg.Connection) -> bytes:
    """Give the parameters of a connection, with its password, to make it again."""
    from psycopg.conninfo import make_conninfo

    parameters = {
        option.keyword.decode(): option.val.decode() for option in driver.pgconn.info if option.val
    }
    if driver.info.password:
        parameters["password"] = driver.info.password
    return make_conninfo("", **parameters).encode()


def _loaders(driver: psycopg.Connection, types: Sequence[int]) -> list[Load]:
    """Give the function for each column that makes Python's values of PostgreSQL's text."""
    from psycopg.adapt import Transformer
    from psycopg.pq import Format

    transformer = Transformer(driver)
    return [transformer.get_loader(oid, Format.TEXT).load for oid in types]


def _collect(
    messages: Iterator[Message],
    loaders: Callable[[Any], list[Load] | None],
    max_rows: int,
    max_bytes: int,
) -> Answer:
    """Collect rows until there are no more, or one of the limits is reached."""
    _, names, types = next(messages)
    if not names:
        raise QueryError("the query returns no columns; use a SELECT")
    columns = tuple(names)
    loads = loaders(types)
    rows: list[Row] = []
    total_size = 0
    try:
        for _, chunk, size in messages:
            chunk = chunk[: max_rows + 1 - len(rows)]
            if loads is not None:
                chunk, size = _load_rows(chunk, loads, max_bytes)
            total_size += size
            if total_size > max_bytes:
                raise QueryFailed("row")
            rows += chunk
            if len(rows) > max_rows:
                return Answer(columns, rows[:max_rows], True, "rows")
    except QueryFailed as failure:
        if failure.kind == "row" and rows:
            return Answer(columns, rows, True, "bytes")
        raise
    return Answer(columns, rows, False)


def _load_rows(chunk: list[Row], loads: list[Load], max_bytes: int) -> tuple[list[Row], int]:
    """Make rows of Python's values from rows of text, and give their size in bytes.

    Stops at the column with which the size exceeds `max_bytes`, since the rows are not needed then.
    """
    columns = []
    size = len(chunk) * sys.getsizeof((None,) * len(loads))
    for load, texts in zip(loads, zip(*chunk, strict=True), strict=True):
        values = _values(load, texts)
        is_flat = _FLAT_TYPES.issuperset(map(type, values))
        size += sum(map(sys.getsizeof if is_flat else _deep_size, values))
        columns.append(values)
        if size > max_bytes:
            break
    return list(zip(*columns, strict=True)), size


def _values(load: Load, texts: Sequence[bytes | None]) -> list[Any]:
    import psycopg

    try:
        return [None if text is None else load(text) for text in texts]
    except (
        psycopg.DataError,
        ValueError,
        RecursionError,
    ) as error:  # a year 20000, JSON of 5000 digits
        reason = f"a value cannot be converted to Python ({_one_line(str(error))})"
        raise QueryError(f"{reason}; CAST it AS text") from error


def _deep_size(value: Any) -> int:
    """Bytes of a value and all values in it; JSON takes twenty times the bytes of its text."""
    size = sys.getsizeof(value)
    if isinstance(value, tuple | list):
        size += sum(map(_deep_size, value))
    elif isinstance(value, dict):
        size += sum(map(_deep_size, value)) + sum(map(_deep_size, value.values()))
    return size


def _failure_message(failure: QueryFailed, timeout: float, max_bytes: int) -> str:
    detail = _one_line(failure.detail)
    messages = {
        "time": f"the query took longer than {timeout:g} s; select less, or raise --timeout",
        "memory": f"the query needs more than {MAX_MEMORY >> 20} MiB of memory; select less",
        "value": f"a value is larger than {MAX_VALUE_BYTES:,} bytes; select a part, as with substr",
        "row": f"one row needs more than {max_bytes:,} bytes; select fewer columns",
        "writes": f"the query does more than read ({detail}); use a SELECT",
        "many": "the query holds several statements; run them one at a time",
        "locked": f"another session has locked a table of the query ({detail}); try again later",
        "sql": detail,
    }
    return messages.get(failure.kind, f"the query's process ended ({detail}); select less")


def _one_line(message: str) -> str:
    """Give the first line of a message, without control characters."""
    lines = message.strip().splitlines()
    first = lines[0] if lines else "no reason given"
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in first[:_MAX_MESSAGE_LENGTH])
