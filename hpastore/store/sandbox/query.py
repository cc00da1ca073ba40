"""The user's own SQL, which may read and nothing else.

SQLite's ``mode=ro`` still lets a query attach and write another file, and PostgreSQL's READ ONLY lets
one run programs, read the server's files and keep locks.  So a query is looked at before it runs, by
its first word and on PostgreSQL by the functions that it names, and runs in a cage: see
`hpastore.store.sandbox.process` for the process, `hpastore.store.sandbox.privileges` for PostgreSQL.

What is left: a query may keep the server of PostgreSQL busy until its time is over, and let it make
values of up to 1 GB.  Operators, casts and views are the work of those who may create them, and are
trusted.
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
from typing import TYPE_CHECKING, Any, Final

from hpastore.errors import QueryError, UnavailableError, UsageError
from hpastore.store.engine import Store, read_only_uri
from hpastore.store.sandbox.privileges import least, require_harmless
from hpastore.store.sandbox.process import Message, answering
from hpastore.store.sandbox.worker import LARGEST, MEMORY, Refused

if TYPE_CHECKING:
    import psycopg

Row = tuple[Any, ...]
Load = Callable[[bytes], Any]

MAX_BYTES: Final = 2**29
"""What the rows of an answer may take in this process's memory."""

_STATEMENTS: Final = ("SELECT", "WITH", "VALUES", "TABLE")
_OPTIONS: Final = (
    *("ANALYZE", "ANALYSE", "VERBOSE", "COSTS", "SETTINGS", "BUFFERS", "WAL", "TIMING", "SUMMARY", "MEMORY"),
    *("FORMAT", "TEXT", "JSON", "YAML", "XML", "TRUE", "FALSE", "ON", "OFF", "QUERY", "PLAN"),
)
_SPACE: Final = r"[ \t\r\n(]|--[^\r\n]*|/\*(?:(?!/\*|\*/).)*\*/"
_BEGINS: Final = re.compile(
    rf"(?>{_SPACE})*+(?:EXPLAIN\b(?>{_SPACE}|[),]|(?:{'|'.join(_OPTIONS)})\b)*+)?"
    rf"(?:{'|'.join(_STATEMENTS)})\b",
    re.I | re.S,
)
"""One of the statements after space and comments, or EXPLAIN and its options before it.  A comment is
what both databases take for one: only PostgreSQL nests them and ends a line at a carriage return.
Nothing is tried twice, so that no word of a comment passes for the first."""

_FLAT: Final = frozenset({type(None), bool, int, float, Decimal, str, bytes, date, datetime, time, timedelta})
"""Types without other values within."""

_LONGEST: Final = 100_000
"""Bytes of a query."""

_LONGEST_REASON: Final = 300
"""Characters of what a database says."""


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
        Whether there were more rows than a limit allows.
    limit
        Which limit cut it: ``rows``, ``bytes`` or, where nothing was cut, none.
    """

    columns: tuple[str, ...]
    rows: list[Row]
    cut: bool
    limit: str = ""


def query(
    store: Store,
    sql: str,
    *,
    timeout: float = 30,
    max_rows: int = 1_000_000,
    max_bytes: int = MAX_BYTES,
) -> Answer:
    """Run one reading statement.

    Parameters
    ----------
    store : Store
    sql : str
        One SELECT, WITH, VALUES or TABLE, or EXPLAIN of one.
    timeout : float
        Seconds.
    max_rows : int
        Rows after which the answer is cut.
    max_bytes : int
        Bytes of memory after which it is cut; one row may not need more.

    Returns
    -------
    Answer

    Raises
    ------
    QueryError
        If the statement writes, is wrong, or needs too much time or memory.
    UsageError
        If a limit makes no sense.
    UnavailableError
        If the database cannot be reached.
    """
    if not 0 < timeout < math.inf or max_rows < 1 or max_bytes < 1:
        raise UsageError("timeout takes seconds above 0, max rows and max bytes a number of 1 or more")
    _require_readable(sql)
    asked = {"sql": sql, "timeout": timeout, "max_bytes": max_bytes}
    ask = _ask_sqlite if store.is_sqlite else _ask_postgresql
    try:
        return ask(store, asked, max_rows)
    except Refused as refused:
        if refused.kind == "store":
            with store.named_errors():
                raise sqlite3.OperationalError(refused.said) from refused
        if refused.kind in ("connection", "start"):
            reason = f"no connection; run the same command again ({_one_line(refused.said)})"
            raise UnavailableError(store.url, reason) from refused
        raise QueryError(_reason(refused, timeout, max_bytes)) from refused


def _require_readable(sql: str) -> None:
    """Refuse what is not one of the statements, before any database sees it."""
    try:
        length = len(sql.encode())
    except UnicodeEncodeError as error:
        raise QueryError(str(error)) from error
    if length > _LONGEST:
        raise QueryError(f"a query has at most {_LONGEST:,} bytes, not {length:,}")
    if "\0" in sql:
        raise QueryError("a query holds no null character")
    if not _BEGINS.match(sql):
        raise QueryError(f"a query begins with {', '.join(_STATEMENTS)}, or EXPLAIN and one of them")


def _ask_sqlite(store: Store, asked: dict[str, Any], max_rows: int) -> Answer:
    path = Path(str(store.engine.url.database)).absolute()
    with store.reading() as connection:
        # This connection makes the files beside the database that SQLite needs to read it; the child cannot.
        connection.exec_driver_sql("SELECT 1 FROM sqlite_master").first()
        with answering({**asked, "uri": read_only_uri(path)}, {}) as messages:
            return _collect(messages, lambda _: None, max_rows, asked["max_bytes"])


def _ask_postgresql(store: Store, asked: dict[str, Any], max_rows: int) -> Answer:
    import psycopg

    with store.reading() as connection:
        require_harmless(connection, asked["sql"])
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        asked["before"] = least(connection, driver.info.server_version, asked["timeout"])
    encoding = driver.info.encoding
    try:
        asked["sql"] = asked["sql"].encode(encoding)
    except UnicodeEncodeError as error:
        raise QueryError(
            f"the connection's encoding is {encoding} ({error}); set PGCLIENTENCODING"
        ) from error
    asked["conninfo"] = _conninfo(driver)
    asked["encoding"] = encoding
    asked["path"] = [str(Path(psycopg.__file__).parents[1]), *filter(None, sys.path)]
    with answering(asked, os.environ) as messages:
        return _collect(messages, lambda types: _loaders(driver, types), max_rows, asked["max_bytes"])


def _conninfo(driver: psycopg.Connection) -> bytes:
    """How a connection was made, with its password."""
    from psycopg.conninfo import make_conninfo

    given = {option.keyword.decode(): option.val.decode() for option in driver.pgconn.info if option.val}
    if driver.info.password:
        given["password"] = driver.info.password
    return make_conninfo("", **given).encode()


def _loaders(driver: psycopg.Connection, types: Sequence[int]) -> list[Load]:
    """What makes Python's values of PostgreSQL's text, for each column."""
    from psycopg.adapt import Transformer
    from psycopg.pq import Format

    transformer = Transformer(driver)
    return [transformer.get_loader(oid, Format.TEXT).load for oid in types]


def _collect(
    messages: Iterator[Message], loaders: Callable[[Any], list[Load] | None], max_rows: int, max_bytes: int
) -> Answer:
    """Take rows until there are no more, or enough."""
    _, names, types = next(messages)
    if not names:
        raise QueryError("the query gives no columns; use a SELECT")
    columns, loads = tuple(names), loaders(types)
    rows: list[Row] = []
    held = 0
    try:
        for _, piece, size in messages:
            piece = piece[: max_rows + 1 - len(rows)]
            if loads is not None:
                piece, size = _loaded(piece, loads, max_bytes)
            held += size
            if held > max_bytes:
                raise Refused("row")
            rows += piece
            if len(rows) > max_rows:
                return Answer(columns, rows[:max_rows], True, "rows")
    except Refused as refused:
        if refused.kind == "row" and rows:
            return Answer(columns, rows, True, "bytes")
        raise
    return Answer(columns, rows, False)


def _loaded(piece: list[Row], loads: list[Load], most: int) -> tuple[list[Row], int]:
    """Make values of text, and say how many bytes they take, up to one that is too many."""
    columns, held = [], len(piece) * sys.getsizeof((None,) * len(loads))
    for load, texts in zip(loads, zip(*piece, strict=True), strict=True):
        values = _values(load, texts)
        flat = _FLAT.issuperset(map(type, values))
        held += sum(map(sys.getsizeof if flat else _weight, values))
        columns.append(values)
        if held > most:
            break
    return list(zip(*columns, strict=True)), held


def _values(load: Load, texts: Sequence[bytes | None]) -> list[Any]:
    import psycopg

    try:
        return [None if text is None else load(text) for text in texts]
    except (psycopg.DataError, ValueError, RecursionError) as error:  # a year 20000, JSON of 5000 digits
        raise QueryError(f"a value is none of Python's ({_one_line(str(error))}); CAST it AS text") from error


def _weight(value: Any) -> int:
    """Bytes of a value and all within; JSON takes twenty times the bytes of its text."""
    held = sys.getsizeof(value)
    if isinstance(value, tuple | list):
        held += sum(map(_weight, value))
    elif isinstance(value, dict):
        held += sum(map(_weight, value)) + sum(map(_weight, value.values()))
    return held


def _reason(refused: Refused, timeout: float, max_bytes: int) -> str:
    said = _one_line(refused.said)
    return {
        "time": f"the query took longer than {timeout:g} s; ask for less, or raise --timeout",
        "memory": f"the query needs more than {MEMORY >> 20} MiB of memory; ask for less at once",
        "value": f"a value is larger than {LARGEST:,} bytes; ask for a part of it, as with substr",
        "row": f"one row needs more than {max_bytes:,} bytes; ask for fewer columns",
        "writes": f"the query does more than read ({said}); use a SELECT",
        "many": "one statement at a time",
        "locked": f"another holds a lock on what the query reads ({said}); try again later",
        "sql": said,
    }.get(refused.kind, f"the query's process ended ({said}); ask for less at once")


def _one_line(said: str) -> str:
    """The first line of a message, without what a terminal would obey."""
    first = next(iter(said.strip().splitlines()), "no reason given")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in first[:_LONGEST_REASON])
