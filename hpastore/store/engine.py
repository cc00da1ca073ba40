"""Connect to a store, and run its transactions."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from hpastore.errors import (
    DamagedError,
    DisconnectedError,
    HpastoreError,
    StoreError,
    UnavailableError,
    UsageError,
)
from hpastore.runtime.failpoints import failpoint
from hpastore.store import driver_errors, readonly, sqlite_connection, timeouts
from hpastore.store.database_url import parse_url

logger = logging.getLogger(__name__)

T = TypeVar("T")

_WRITER_LOCK: Final = 0x68706177
"""Key of the advisory lock that a writing transaction holds on PostgreSQL: "hpaw"."""

_KEEPALIVE: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""libpq's parameters by which a network that drops every packet is noticed within a minute."""

_SECRETS: Final[tuple[str, ...]] = ("password", "sslpassword")
"""Parameters in the query of a URL that no message shows."""


@dataclass(frozen=True)
class Store:
    """An open store: a SQLite file or a PostgreSQL database.

    Use it as a context manager, or `close` it.
    """

    engine: Engine
    read_only: bool = False
    """Whether it is a SQLite file that this user may only read."""

    @property
    def url(self) -> str:
        """The database as messages name it: the file's path, or the URL without its password."""
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
        """Give a connection that sees one state of the store, whatever others write meanwhile.

        Raises
        ------
        UnavailableError
            If the database cannot be reached.
        """
        with self._consistent(), self.translated_errors(), self.engine.connect() as connection:
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
        with self._writing() as (connection, _):
            yield connection

    def read(self, work: Callable[[Connection], T]) -> T:
        """Do work in a transaction of `reading`; do it again if the connection is lost.

        Raises
        ------
        UnavailableError
            If the database cannot be reached for `RECONNECT_TIMEOUT_S`.
        """

        def attempt() -> T:
            with self.reading() as connection:
                return work(connection)

        return retry_on_disconnect(attempt)

    def write(self, work: Callable[[Connection], T], *, durable: bool = True) -> T:
        """Do work in a transaction of `writing`; do it again if the connection is lost.

        Parameters
        ----------
        work
            May be called several times; only the last call is committed.
        durable
            Whether SQLite waits until the commit is on the disk.  Otherwise a power cut, but
            nothing less, may undo all commits since the last durable one: only for work that a
            later run does again.

        Raises
        ------
        UnavailableError
            If the database cannot be reached for `RECONNECT_TIMEOUT_S`, is locked for too long, or
            has no room left.

        Notes
        -----
        A connection may be lost after COMMIT was sent and before it was answered.  The next
        attempt waits for the writers' lock, so that the transaction before has ended, and asks
        whether it was committed.
        """
        # Of the attempts before, by PostgreSQL's number of their transaction.
        results: dict[str, T] = {}

        def attempt() -> T:
            with self._writing(durable=durable) as (connection, number):
                for earlier, result in results.items():
                    if _was_committed(connection, earlier):
                        return result
                result = work(connection)
                results[number] = result
                failpoint("store.commit")
            failpoint("store.committed")
            return result

        return retry_on_disconnect(attempt)

    @contextmanager
    def _writing(self, *, durable: bool = True) -> Iterator[tuple[Connection, str]]:
        """Give a connection in a writing transaction, and its number in PostgreSQL."""
        self.require_writable()
        with (
            self.translated_errors(),
            self.engine.connect() as connection,
            connection.execution_options(hpastore_writes=True, hpastore_durable=durable).begin(),
        ):
            number = ""
            if not self.is_sqlite:
                # One writer at a time, as with SQLite: what it reads, nobody else is changing.
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{timeouts.BUSY_TIMEOUT_S}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER_LOCK})")
                number = connection.exec_driver_sql(
                    "SELECT CAST(pg_current_xact_id() AS text)"
                ).scalar_one()
            yield connection, number

    def require_writable(self) -> None:
        """Refuse to write a file that this user may only read.

        Raises
        ------
        UnavailableError
            With what to do.
        """
        if self.read_only:
            raise UnavailableError(self.url, readonly.why_not_writable(Path(self.url)))

    def _consistent(self) -> AbstractContextManager[None]:
        """Keep what is read to one state of the file where SQLite itself cannot."""
        return readonly.consistent(Path(self.url)) if self.read_only else nullcontext()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Turn the database's errors within into ours.

        Raises
        ------
        UnavailableError, StoreError, DamagedError
        """
        try:
            yield
        except (
            DBAPIError,
            sqlite3.Error,
        ) as error:  # sqlite3's: of a pragma, which bypasses SQLAlchemy
            driver_error = error.orig if isinstance(error, DBAPIError) else error
            ours = driver_errors.translate(driver_error, self.engine.url, self.url)
            # PostgreSQL's driver could not decode a moment, and does not know its row.
            is_moment = "timestamp too" in ours.reason
            raise (self._with_damaged_row(ours) if is_moment else ours) from error
        except DamagedError as error:
            if error.where:
                raise
            raise self._with_damaged_row(error) from error
        except UnicodeDecodeError as error:  # sqlite3's, of the name of a column in a damaged file
            raise StoreError(self.url, f"{driver_errors.DAMAGED} ({error})") from error

    def _with_damaged_row(self, error: DamagedError | StoreError) -> HpastoreError:
        """Find the row of a moment that could not be decoded; else give the error back."""
        from hpastore.store.decoding import damaged_moments

        with self.engine.connect() as connection:
            return next(damaged_moments(connection), error)


def connect(url: str | Path, *, create: bool = False) -> Store:
    """Connect to a database, whatever it holds.

    Parameters
    ----------
    url
        A path of a SQLite file, or a URL: ``sqlite:///cells.db``, ``postgresql://user@host/name``.
    create
        Whether a SQLite file that does not exist is created.

    Raises
    ------
    SchemaMissingError
        If there is no such file, and `create` is false.
    StoreError
        If the system denies access to the file.
    UsageError
        If the URL is of another kind, or its driver is not installed.
    """
    try:
        parsed = parse_url(url)
        if parsed.get_backend_name() == "sqlite":
            path = Path(str(parsed.database))
            read_only = sqlite_connection.must_be_read_only(path)
            engine = sqlite_connection.make_engine(path, create=create, read_only=read_only)
            return Store(engine, read_only)
    except OSError as error:  # of the path: its name is too long, or a folder may not be searched
        reason = f"cannot be accessed ({error.strerror}); name another store with --db"
        raise StoreError(str(error.filename), reason) from error
    try:
        return _postgresql(parsed)
    except ModuleNotFoundError as error:
        raise UsageError("PostgreSQL needs its driver: pip install 'hpastore[postgres]'") from error


def _postgresql(url: URL) -> Store:
    """Connect, with the passwords of the URL's query where no message shows them."""
    query = {name: str(value) for name, value in url.query.items()}
    secrets: dict[str, str] = {name: query[name] for name in _SECRETS if name in query}
    password = secrets.pop("password", None)
    if password is not None:  # libpq too prefers it to the password before the host
        url = url.set(password=password)
    keepalive: dict[str, str] = {
        name: value for name, value in _KEEPALIVE.items() if name not in query
    }
    url = url.difference_update_query(_SECRETS)
    return Store(create_engine(url, pool_pre_ping=True, connect_args={**keepalive, **secrets}))


def _was_committed(connection: Connection, number: str) -> bool:
    """Whether PostgreSQL committed a transaction that has ended; false on SQLite."""
    if not number:
        return False
    status = text("SELECT pg_xact_status(CAST(:number AS xid8))")
    return bool(connection.execute(status, {"number": number}).scalar_one() == "committed")


def retry_on_disconnect(attempt: Callable[[], T]) -> T:
    """Call a function until its connection to PostgreSQL holds, with growing pauses.

    Parameters
    ----------
    attempt
        May be called again after a `DisconnectedError`.

    Raises
    ------
    UnavailableError
        If the database cannot be reached for `RECONNECT_TIMEOUT_S`.
    """
    end = time.monotonic() + timeouts.RECONNECT_TIMEOUT_S
    pause = 0.05
    while True:
        try:
            return attempt()
        except DisconnectedError as error:
            if time.monotonic() > end:
                raise
            logger.warning("%s: no connection (%s); trying again", error.url, error.reason)
            time.sleep(pause)
            pause = min(2 * pause, 2)
