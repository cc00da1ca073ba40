"""Open a store, and begin its transactions."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from hpastore.errors import SchemaMissingError, StoreError, UnavailableError, UsageError

BUSY_TIMEOUT_S: Final = 30

_WRITER: Final = 0x68706177
"""Key of the advisory lock that one writing transaction holds on PostgreSQL: "hpaw"."""

_OUT_OF_REACH: Final = {
    "database is locked": f"another process has been writing for {BUSY_TIMEOUT_S} s; try again later",
    "disk is full": "no room left on the disk; free some and run the same command again",
    "disk I/O error": "the disk failed, or has no room left; free some and run the same command again",
    "No space left": "no room left on the disk; free some and run the same command again",
    "unable to open": "cannot be opened; SQLite must be able to write in its folder",
    "readonly": "is read-only; check the permissions of the file and its folder",
}
"""What drivers say of a database that cannot be used now, and what to do."""

_HINTS: Final = {
    "not a database": "is not a SQLite database; name another file with --db",
    "malformed": "is damaged; restore a copy, or ingest into a new store",
    "permission denied": "this user may not do that; ask who looks after the database",
}
"""What they say of one that is not as it must be."""

_OLDEST_SQLITE: Final = (3, 37, 0)
"""The first with STRICT tables."""


@dataclass(frozen=True)
class Store:
    """An open store: a SQLite file or a PostgreSQL database.

    Use it as a context manager, or `close` it.
    """

    engine: Engine

    @property
    def url(self) -> str:
        """The database as people may see it: the file's path, or the URL without its password."""
        url = self.engine.url
        if self.is_sqlite:
            return str(url.database)
        return url.set(drivername="postgresql").render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        """Whether the store is a SQLite file."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection that sees one state of the store, whatever is written meanwhile.

        Raises
        ------
        UnavailableError
            If the database cannot be reached.
        """
        with self.named_errors(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in a transaction that commits at the end, or leaves no trace.

        Raises
        ------
        UnavailableError
            If the database cannot be reached, is locked for too long, or has no room left.
        """
        with (
            self.named_errors(),
            self.engine.connect() as connection,
            connection.execution_options(hpastore_writes=True).begin(),
        ):
            if not self.is_sqlite:  # as BEGIN IMMEDIATE: who writes reads nothing that another is changing
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER})")
            yield connection

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def named_errors(self) -> Iterator[None]:
        """Turn the database's errors within into ours.

        Raises
        ------
        UnavailableError, StoreError
        """
        try:
            yield
        except (DBAPIError, sqlite3.Error) as error:  # sqlite3's of a pragma, which goes past SQLAlchemy
            raise self._named(error.orig if isinstance(error, DBAPIError) else error) from error

    def _named(self, error: BaseException | None) -> StoreError:
        said = next(iter(str(error).strip().splitlines()), "the connection failed")
        for key, hint in _OUT_OF_REACH.items():
            if key in said:
                return UnavailableError(self.url, f"{hint} ({said})")
        for key, hint in _HINTS.items():
            if key in said:
                return StoreError(self.url, f"{hint} ({said})")
        # PostgreSQL's driver calls a lost connection operational, SQLite's also a mistyped column.
        lost = type(error).__name__ in ("OperationalError", "AdminShutdown") and not self.is_sqlite
        return UnavailableError(self.url, said) if lost else StoreError(self.url, said)


def connect(url: str | Path, *, create: bool = False) -> Store:
    """Connect to a database, whatever it holds.

    Parameters
    ----------
    url
        A path of a SQLite file, or a URL: ``sqlite:///cells.db``, ``postgresql://user@host/name``.
    create
        Whether a SQLite file that does not exist is made.

    Raises
    ------
    SchemaMissingError
        If there is no such file, and `create` is false.
    UsageError
        If the URL is of another kind, or its driver is not installed.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() == "sqlite":
        return Store(_sqlite(Path(str(parsed.database)), create=create))
    try:
        return Store(create_engine(parsed, pool_pre_ping=True))
    except ModuleNotFoundError as error:
        raise UsageError("PostgreSQL needs its driver: pip install 'hpastore[postgres]'") from error


def _parse(url: str | Path) -> URL:
    text = str(url)
    if "://" not in text and text != ":memory:":
        return URL.create("sqlite", database=text)
    try:
        parsed = make_url(text)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise UsageError("--db takes a file's path, sqlite:///PATH or postgresql://USER@HOST/NAME") from error
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise UsageError("--db takes a file's path, sqlite:///PATH or postgresql://USER@HOST/NAME")


def _sqlite(path: Path, *, create: bool) -> Engine:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise UsageError(f"Python's SQLite is {sqlite3.sqlite_version}; hpastore needs 3.37 or newer")
    if not create and not path.is_file():
        raise SchemaMissingError(
            str(path), "no such store; 'hpastore ingest ROOT' makes one, or name it with --db"
        )
    if create and not path.parent.is_dir():
        raise UsageError(f"{path.parent} is not a folder, so that {path.name} cannot be made in it")
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: sqlite3.Connection, record: Any) -> None:  # noqa: ARG001 SQLAlchemy's signature
    connection.isolation_level = None  # we begin transactions, see _begin
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("hpastore_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
