"""Connections to a SQLite file: their settings, and how their transactions begin."""

from __future__ import annotations

import logging
import sqlite3
import time
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from hpastore.errors import SchemaMissingError, UsageError
from hpastore.store import readonly, timeouts

logger = logging.getLogger(__name__)

_MIN_VERSION: Final = (3, 37, 0)
"""The first version with STRICT tables."""

_STEPS_BETWEEN_SIGNALS: Final = 1_000_000
"""Steps of SQLite's virtual machine after which Python may handle signals: some 20 ms."""

_BUSY_POLL_MS: Final = 250
"""How long SQLite waits for a lock before Python may handle signals."""

_WARN_AFTER_S: Final = 5
"""After this a wait for another process that writes is reported."""

_WRITE_LOCK_BYTE: Final = "120"
"""Byte of the -shm file that SQLite locks to write (UNIX_SHM_BASE in os_unix.c)."""


def make_engine(path: Path, *, create: bool, read_only: bool) -> Engine:
    """Make an engine for a SQLite file.

    Parameters
    ----------
    path : Path
    create : bool
        Whether the file may be created.
    read_only : bool
        Whether this user may only read it.

    Raises
    ------
    SchemaMissingError
        If there is no such file, and `create` is false.
    UsageError
        If the path is a folder, the folder of a new file does not exist, or SQLite is too old.
    """
    if sqlite3.sqlite_version_info < _MIN_VERSION:
        raise UsageError(
            f"Python's SQLite is {sqlite3.sqlite_version}; hpastore needs 3.37 or newer"
        )
    if path.is_dir():
        raise UsageError(f"{path} is a folder; name a file in it")
    if not create and not path.is_file():
        raise SchemaMissingError(
            str(path), "no such store; 'hpastore ingest ROOT' makes one, or name it with --db"
        )
    if create and not path.parent.is_dir():
        raise UsageError(f"{path} cannot be created: there is no folder {path.parent}")
    options: dict[str, Any] = {"connect_args": {"timeout": timeouts.BUSY_TIMEOUT_S}}
    if read_only:
        # Each transaction opens the file anew: how depends on the files that are beside it then.
        options = {"creator": lambda: _open_read_only(path), "poolclass": NullPool}
    engine = create_engine(URL.create("sqlite", database=str(path)), **options)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def must_be_read_only(path: Path) -> bool:
    """Whether a file exists that this user may only read."""
    return path.is_file() and not readonly.is_writable(path)


def read_only_uri(path: Path) -> str:
    """Give the URI that opens a SQLite file to read it; only valid within `Store.reading`."""
    immutable = "&immutable=1" if readonly.is_immutable(path) else ""
    return f"{path.absolute().as_uri()}?mode=ro{immutable}"


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(read_only_uri(path), uri=True, timeout=timeouts.BUSY_TIMEOUT_S)


def _configure(connection: sqlite3.Connection, record: Any) -> None:  # noqa: ARG001 SQLAlchemy's signature
    connection.isolation_level = None  # transactions are begun by _begin
    connection.set_progress_handler(_keep_running, _STEPS_BETWEEN_SIGNALS)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA threads = 1")  # a long sort may use a second core
    connection.execute("PRAGMA synchronous = FULL")  # a finished commit survives a power cut


def _keep_running() -> bool:
    """Continue a statement; Python handles signals whenever SQLite calls this."""
    return False


def _begin(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("hpastore_writes", False):
        _begin_writing(connection, durable=options.get("hpastore_durable", True))
    else:
        connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection, *, durable: bool) -> None:
    """Wait for another writer in short steps, to handle signals and to report a long wait."""
    connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {_BUSY_POLL_MS}")
    start = time.monotonic()
    warned = False
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            break
        except OperationalError as error:
            waited = time.monotonic() - start
            if "locked" not in str(error) or waited > timeouts.BUSY_TIMEOUT_S:
                raise
            if waited > _WARN_AFTER_S and not warned:
                warned = True
                path = str(connection.engine.url.database)
                logger.warning("%s: waiting for %s, which is writing", path, _writing_process(path))
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {1000 * timeouts.BUSY_TIMEOUT_S}")


def _writing_process(path: str) -> str:
    """Name the process that holds SQLite's write lock; only Linux shows it."""
    try:
        inode = Path(f"{path}-shm").stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            kind, pid, file, first_byte = fields[3], fields[4], fields[5], fields[6]
            if kind == "WRITE" and file.endswith(f":{inode}") and first_byte == _WRITE_LOCK_BYTE:
                command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                shown = b" ".join(command[:6]).decode(errors="replace").strip()
                return f"process {pid} ({shown})"
    except (OSError, IndexError):
        pass
    return "another process"
