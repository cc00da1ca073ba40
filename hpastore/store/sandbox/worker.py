"""The program that runs in the cage: one reading statement, whose answer it says piece by piece.

`hpastore.store.sandbox.process` starts this file by its path, in a process without Python's settings and user
packages.  It imports nothing of hpastore, and for SQLite nothing but the standard library, so that it
starts in some milliseconds.  What it is asked it reads from stdin; what it says goes to stdout: values
of `marshal`, which keeps floats and bytes as they are, each after its length in four bytes.

It says ``("begun",)`` when the clock starts, ``("columns", names, types)``, any number of
``("rows", rows, bytes)`` and ``("done",)``; or at any point ``("failed", kind, message)``.
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

MEMORY: Final = 2**30
"""Bytes of address space; macOS does not count them."""

LARGEST: Final = 10_000_000
"""Bytes of one value: a progress handler cannot stop the one call that makes a huge one."""

_SQLITE_MEMORY: Final = 3 * MEMORY // 4
"""Bytes that SQLite may allocate, so that it runs out before Python does."""

_PIECE: Final = 2**18
"""Bytes of rows that are said at once, or one row."""

_STEPS: Final = 10_000
"""Steps of SQLite's machine between two looks at the clock: about a millisecond."""

_PR_SET_PDEATHSIG: Final = 1
"""From <sys/prctl.h>."""

_ACTIONS: Final = frozenset(
    {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE, sqlite3.SQLITE_FUNCTION}
)
_PRAGMAS: Final = frozenset(
    {"foreign_key_list", "index_info", "index_list", "table_info", "table_list", "table_xinfo"}
)
"""What tells of tables' columns, and can be asked for as ``pragma_table_info('cell')`` alone."""

_TABLES: Final = ("json_each", "json_tree", *(f"pragma_{name}" for name in sorted(_PRAGMAS)))
"""Functions that give rows; of others SQLite makes no table once nothing may be made."""

_FUNCTIONS_DENIED: Final = frozenset(
    {"edit", "fts3_tokenizer", "load_extension", "lsdir", "readfile", "rtreecheck", "sqlite_log", "writefile"}
)
"""What loads code, reaches files or runs SQL; most are in SQLite's own shell only."""

_LIMITS: Final = {
    sqlite3.SQLITE_LIMIT_LENGTH: LARGEST,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 1_000_000,  # views are parsed too
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 1000,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 1_000_000,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}
_STORE_CODES: Final = frozenset(
    {
        *(sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT),
        *(sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOTADB),
    }
)
"""Errors that are of the file and not of the query."""


class Refused(Exception):  # noqa: N818 not an error of this program
    """The end of a query: a kind that `hpastore.store.sandbox.query` has a sentence for, and a detail."""

    def __init__(self, kind: str, said: str = "") -> None:
        super().__init__(kind, said)
        self.kind, self.said = kind, said


def main() -> None:
    """Confine this process, and answer what it is asked."""
    _die_with(int(sys.argv[1]))
    asked = marshal.load(sys.stdin.buffer)  # noqa: S302 our parent's
    _confine(asked["timeout"])
    answer = _sqlite if "uri" in asked else _postgresql
    try:
        answer(asked)
        _say("done")
    except Refused as error:
        _say("failed", error.kind, error.said)
    except MemoryError:
        _say("failed", "memory", "")


def _die_with(parent: int) -> None:
    """End this process when its parent is gone, however that ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    else:  # no such call on macOS
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()
    if os.getppid() != parent:  # it went before we asked
        os._exit(1)


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def _confine(timeout: float) -> None:
    seconds = int(min(timeout, 1e9)) + 10  # the parent is earlier, unless it hangs
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(limit)
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        with contextlib.suppress(ValueError, OSError):  # of macOS, for the first
            resource.setrlimit(limit, (most, most))


def _say(*message: Any) -> None:
    said = marshal.dumps(message)
    sys.stdout.buffer.write(len(said).to_bytes(4, "big") + said)
    sys.stdout.buffer.flush()


def _say_rows(rows: Iterable[tuple[tuple[Any, ...], int]], most: int) -> None:
    """Say rows that come with their sizes in bytes."""
    piece: list[tuple[Any, ...]] = []
    held = 0
    for row, size in rows:
        if piece and held + size > min(_PIECE, most):  # so that a large row comes alone
            _say("rows", piece, held)
            piece, held = [], 0
        if size > most:
            raise Refused("row")
        piece.append(row)
        held += size
    if piece:
        _say("rows", piece, held)


def _sqlite(asked: dict[str, Any]) -> None:
    try:
        with contextlib.closing(_open(asked["uri"])) as connection:
            _say("begun")
            end = time.monotonic() + asked["timeout"]
            connection.set_progress_handler(lambda: time.monotonic() > end, _STEPS)
            connection.set_authorizer(_authorize)
            cursor = connection.execute(asked["sql"])
            _say("columns", [column[0] for column in cursor.description or ()], None)
            _say_rows(((row, _size(row)) for row in cursor), asked["max_bytes"])
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as error:
        raise Refused(_sqlite_kind(error), str(error)) from error


def _open(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, isolation_level=None)
    for limit, value in _LIMITS.items():
        connection.setlimit(limit, value)
    for pragma in (
        "trusted_schema = 0",
        "query_only = 1",
        "temp_store = memory",  # no file may grow
        "cell_size_check = 1",
        f"hard_heap_limit = {_SQLITE_MEMORY}",
    ):
        connection.execute(f"PRAGMA {pragma}")
    for table in _TABLES:
        with contextlib.suppress(sqlite3.OperationalError):  # an SQLite without it
            connection.execute(f"SELECT 1 FROM {table}('0')").fetchone()  # noqa: S608 names of ours
    return connection


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    if action == sqlite3.SQLITE_FUNCTION:
        allowed = (second or "").lower() not in _FUNCTIONS_DENIED
    elif action == sqlite3.SQLITE_PRAGMA:
        allowed = (first or "").lower() in _PRAGMAS
    else:
        allowed = action in _ACTIONS
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _size(row: Sequence[Any]) -> int:
    return sys.getsizeof(row) + sum(map(sys.getsizeof, row))


def _sqlite_kind(error: Exception) -> str:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    said = str(error)
    if code == sqlite3.SQLITE_INTERRUPT:
        return "time"
    if code in (sqlite3.SQLITE_AUTH, sqlite3.SQLITE_READONLY) or "not authorized" in said:
        return "writes"
    if code == sqlite3.SQLITE_TOOBIG:
        return "value"
    if code in _STORE_CODES:
        return "store"
    return "many" if "one statement" in said else "sql"


def _postgresql(asked: dict[str, Any]) -> None:
    sys.path += asked["path"]  # after the standard library, which nothing may stand in for
    import psycopg
    from psycopg import pq

    try:
        connection = pq.PGconn.connect(asked["conninfo"])
        if connection.status != pq.ConnStatus.OK:
            raise Refused("connection", connection.get_error_message())
        for statement in asked["before"]:
            _check(connection.exec_(statement), asked["encoding"])
        _say("begun")
        # The extended protocol takes one statement: "SELECT 1; COMMIT; DROP ..." is refused.
        connection.send_query_params(asked["sql"], None)
        connection.set_single_row_mode()
        _say_rows(_postgresql_rows(connection, asked["encoding"]), asked["max_bytes"])
        connection.finish()  # which rolls back
    except psycopg.Error as error:  # libpq's, without a code
        raise Refused(_postgresql_kind("", str(error)), str(error)) from error


def _postgresql_rows(connection: Any, encoding: str) -> Iterator[tuple[tuple[bytes | None, ...], int]]:
    """Say the columns, which the first result has; then give rows as they come, each with its size."""
    told = False
    while (result := connection.get_result()) is not None:
        _check(result, encoding)
        places = range(result.nfields)
        if not told:
            told = True
            names = [result.fname(i).decode(encoding, "replace") for i in places]
            _say("columns", names, [result.ftype(i) for i in places])
        for number in range(result.ntuples):
            row = tuple(result.get_value(number, i) for i in places)
            if max(map(len, filter(None, row)), default=0) > LARGEST:
                raise Refused("value")
            yield row, _size(row)


def _check(result: Any, encoding: str) -> None:
    """Raise what a result says of an error."""
    from psycopg import pq

    if result.status == pq.ExecStatus.FATAL_ERROR:
        state = (result.error_field(pq.DiagnosticField.SQLSTATE) or b"").decode()
        primary = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
        said = primary.decode(encoding, "replace") if primary else result.get_error_message()
        raise Refused(_postgresql_kind(state, said), said)


def _postgresql_kind(state: str, said: str) -> str:
    if state == "57014":
        return "time"
    if state == "25006":
        return "writes"
    if state == "55P03":
        return "locked"
    if state == "42601" and "multiple commands" in said:
        return "many"
    if state == "08P01" or (state and not state.startswith(("08", "57P"))):  # the first of $1 without a value
        return "sql"
    # libpq's own errors have no code; of a message that its memory is too small for it says the first.
    return "memory" if "synchronization" in said or "memory" in said else "connection"


if __name__ == "__main__":
    main()
