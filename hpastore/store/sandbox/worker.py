"""The program of a sandbox worker: it runs one query and sends the answer in chunks.

`hpastore.store.sandbox.process` starts this file by its path, in a process without Python's
settings and user packages.  It imports nothing of hpastore, and for SQLite nothing but the standard
library, so that it starts within milliseconds.  It reads a request from stdin and writes messages
to stdout: values of `marshal`, which keeps floats and bytes exactly, each after its length in four
bytes.

The messages are ``("started",)`` when the query's time begins, ``("columns", names, types)``, any
number of ``("rows", rows, bytes)`` and ``("done",)``; or at any point ``("failed", kind, detail)``.
"""

from __future__ import annotations

import contextlib
import ctypes
import marshal
import os
import resource
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

MAX_MEMORY: Final = 2**30
"""Bytes of address space, which macOS does not limit."""

MAX_VALUE_BYTES: Final = 10_000_000
"""Bytes of one value: a progress handler cannot stop the one call that makes a huge value."""

_MAX_SQLITE_MEMORY: Final = 3 * MAX_MEMORY // 4
"""Bytes that SQLite may allocate, so that its memory runs out before Python's."""

_CHUNK_BYTES: Final = 2**18
"""Bytes of rows in one message, unless one row is larger."""

_STEPS_BETWEEN_CHECKS: Final = 10_000
"""Steps of SQLite's virtual machine between two checks of the time: about a millisecond."""

_PR_SET_PDEATHSIG: Final = 1
"""From <sys/prctl.h>."""

_ALLOWED_ACTIONS: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION}
)
_ALLOWED_PRAGMAS: Final = frozenset(
    {"foreign_key_list", "index_info", "index_list", "table_info", "table_list", "table_xinfo"}
)
"""Pragmas about the columns of tables, also as functions: ``pragma_table_info('cell')``."""

_TABLE_FUNCTIONS: Final = (
    "json_each",
    "json_tree",
    *(f"pragma_{name}" for name in sorted(_ALLOWED_PRAGMAS)),
)
"""Table-valued functions, whose tables SQLite creates at the first use; later that is denied."""

_DENIED_FUNCTIONS: Final = frozenset(
    {
        "edit",
        "fts3_tokenizer",
        "load_extension",
        "lsdir",
        "readfile",
        "rtreecheck",
        "sqlite_log",
        "writefile",
    }
)
"""Functions that load code, access files or run SQL; most exist in SQLite's own shell only."""

_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: MAX_VALUE_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,  # of views too
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 1_000_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_FILE_ERROR_CODES: Final = frozenset(
    {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB),
    }
)
"""Codes of errors of the file, not of the query."""


class QueryFailed(Exception):  # noqa: N818 hpastore.store.sandbox.query makes an error of it
    """The failure of a query: its kind, which has a message in `query`, and a detail."""

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(kind, detail)
        self.kind = kind
        self.detail = detail


def main() -> None:
    """Limit this process, and run the query of the request."""
    _die_with_parent(int(sys.argv[1]))
    request = marshal.load(sys.stdin.buffer)  # noqa: S302 of our own parent process
    _limit_resources(request["timeout"])
    run = _run_on_sqlite if "uri" in request else _run_on_postgresql
    try:
        run(request)
        _send("done")
    except QueryFailed as failure:
        _send("failed", failure.kind, failure.detail)
    except MemoryError:
        _send("failed", "memory", "")


def _die_with_parent(parent: int) -> None:
    """Make this process end when its parent ends, even if the parent is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:  # macOS has no such call
        threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it ended before the call
        os._exit(1)


def _exit_with(parent: int) -> None:
    """Wait for the end of the parent, and exit."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _limit_resources(timeout: float) -> None:
    """Limit memory and processor time, and forbid to write files."""
    seconds = int(min(timeout, 1e9)) + 10  # the parent stops the query earlier, unless it hangs
    for limit, value in (
        (resource.RLIMIT_AS, MAX_MEMORY),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        allowed = value if hard == resource.RLIM_INFINITY else min(value, hard)
        with contextlib.suppress(ValueError, OSError):  # macOS refuses to limit the address space
            resource.setrlimit(limit, (allowed, allowed))


def _send(*message: Any) -> None:
    content = marshal.dumps(message)
    sys.stdout.buffer.write(len(content).to_bytes(4, "big") + content)
    sys.stdout.buffer.flush()


def _send_rows(rows: Iterable[tuple[tuple[Any, ...], int]], max_bytes: int) -> None:
    """Send rows, which come with their sizes in bytes, in chunks."""
    chunk: list[tuple[Any, ...]] = []
    chunk_size = 0
    for row, size in rows:
        if chunk and chunk_size + size > min(_CHUNK_BYTES, max_bytes):  # a large row is sent alone
            _send("rows", chunk, chunk_size)
            chunk = []
            chunk_size = 0
        if size > max_bytes:
            raise QueryFailed("row")
        chunk.append(row)
        chunk_size += size
    if chunk:
        _send("rows", chunk, chunk_size)


def _run_on_sqlite(request: dict[str, Any]) -> None:
    try:
        with contextlib.closing(_open(request["uri"])) as connection:
            _send("started")
            end = time.monotonic() + request["timeout"]
            connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS_BETWEEN_CHECKS)
            connection.set_authorizer(_authorize)
            cursor = connection.execute(request["sql"])
            _send("columns", [column[0] for column in cursor.description or ()], None)
            _send_rows(((row, _size(row)) for row in cursor), request["max_bytes"])
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        raise QueryFailed(_sqlite_failure_kind(error), str(error)) from error


def _open(uri: str) -> sqlite3.Connection:
    """Connect with SQLite's own limits; the authorizer is set by the caller."""
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    for pragma in (
        "trusted_schema = 0",
        "query_only = 1",
        "temp_store = memory",  # this process can write no file
        "cell_size_check = 1",
        f"hard_heap_limit = {_MAX_SQLITE_MEMORY}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    for function in _TABLE_FUNCTIONS:
        with contextlib.suppress(sqlite3.OperationalError):  # this SQLite may not have it
            # Only prepared: pragma_table_list would compile each view, for an eighth of a second.
            connection.execute(f"EXPLAIN SELECT 1 FROM {function}('0')")  # noqa: S608 our own names
    return connection


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    """Allow SQLite an action of a statement, or deny it."""
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = (second or "").lower() not in _DENIED_FUNCTIONS
    elif action == sqlite3.SQLITE_PRAGMA:
        allowed = (first or "").lower() in _ALLOWED_PRAGMAS
    else:
        allowed = action in _ALLOWED_ACTIONS
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _size(row: Sequence[Any]) -> int:
    """Bytes of a row in memory."""
    return sys.getsizeof(row) + sum(map(sys.getsizeof, row))


def _sqlite_failure_kind(error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    message = str(error)
    if code == sqlite3.SQLITE_INTERRUPT:
        return "time"
    if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY) or "not authorized" in message:
        return "writes"
    if code == sqlite3.SQLITE_TOOBIG:
        return "value"
    if code in _FILE_ERROR_CODES:
        return "store"
    return "many" if "one statement" in message else "sql"


def _run_on_postgresql(request: dict[str, Any]) -> None:
    sys.path += request["path"]  # after the standard library, which no other module may replace
    import psycopg
    from psycopg import pq

    try:
        connection = pq.PGconn.connect(request["conninfo"])
        if connection.status != pq.ConnStatus.OK:
            raise QueryFailed("connection", connection.get_error_message())
        for statement in request["before"]:
            _raise_error(connection.exec_(statement), request["encoding"])
        _send("started")
        # The extended protocol takes one statement: "SELECT 1; COMMIT; DROP ..." is refused.
        connection.send_query_params(request["sql"], None)
        connection.set_single_row_mode()
        _send_rows(_postgresql_rows(connection, request["encoding"]), request["max_bytes"])
        connection.finish()  # rolls back
    except psycopg.Error as error:  # of libpq, without a code
        raise QueryFailed(_postgresql_failure_kind("", str(error)), str(error)) from error


def _postgresql_rows(
    connection: Any, encoding: str
) -> Iterator[tuple[tuple[bytes | None, ...], int]]:
    """Send the columns of the first result; then give the rows as they come, each with its size."""
    columns_sent = False
    while (result := connection.get_result()) is not None:
        _raise_error(result, encoding)
        columns = range(result.nfields)
        if not columns_sent:
            columns_sent = True
            names = [result.fname(column).decode(encoding, "replace") for column in columns]
            _send("columns", names, [result.ftype(column) for column in columns])
        for number in range(result.ntuples):
            row = tuple(result.get_value(number, column) for column in columns)
            if max(map(len, filter(None, row)), default=0) > MAX_VALUE_BYTES:
                raise QueryFailed("value")
            yield row, _size(row)


def _raise_error(result: Any, encoding: str) -> None:
    """Raise the error of a result, if it is one."""
    from psycopg import pq

    if result.status == pq.ExecStatus.FATAL_ERROR:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
        message = primary.decode(encoding, "replace") if primary else result.get_error_message()
        raise QueryFailed(_postgresql_failure_kind(state, message), message)


def _postgresql_failure_kind(state: str, message: str) -> str:
    """Name the kind of an error by its SQLSTATE, or by its message if it has none."""
    if state == "57014":
        return "time"
    if state == "25006":
        return "writes"
    if state == "55P03":
        return "locked"
    if state == "42601" and "multiple commands" in message:
        return "many"
    if state == "08P01" or (
        state and not state.startswith(("08", "57P"))
    ):  # 08P01: $1 has no value
        return "sql"
    # libpq's own errors have no code.  "lost synchronization": it has no memory for a message.
    return "memory" if "synchronization" in message or "memory" in message else "connection"


if __name__ == "__main__":
    main()
