"""Open a store, and begin its transactions."""

from __future__ import annotations

import logging
import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, OperationalError
from sqlalchemy.pool import NullPool

from hpastore.arguments import expanded
from hpastore.errors import (
    DamagedError,
    DisconnectedError,
    HpastoreError,
    SchemaMissingError,
    StoreError,
    UnavailableError,
    UsageError,
)
from hpastore.runtime.failpoints import failpoint
from hpastore.store import readonly

logger = logging.getLogger(__name__)

T = TypeVar("T")

BUSY_TIMEOUT_S: Final = 300
"""How long one waits for another who writes; a clean set of millions of cells takes a minute."""

_TOLD_AFTER_S: Final = 5
"""How long one waits before one says so."""

PATIENCE_S: Final = 30
"""How long a PostgreSQL that went away is waited for."""

_WRITER: Final = 0x68706177
"""Key of the advisory lock that one writing transaction holds on PostgreSQL: "hpaw"."""

_OUT_OF_REACH: Final = {
    "database is locked": f"another process has been writing for {BUSY_TIMEOUT_S} s; try again later",
    "lock timeout": f"another process has been writing for {BUSY_TIMEOUT_S} s; try again later",
    "could not extend": "the database's disk has no room left; free some and run the same command again",
    "disk is full": "no room left on the disk; free some and run the same command again",
    "disk I/O error": "the disk failed, or has no room left; free some and run the same command again",
    "No space left": "no room left on the disk; free some and run the same command again",
    "unable to open": "cannot be opened; SQLite must be able to write in its folder",
    "readonly": "is read-only; check the permissions of the file and its folder",
}
"""What drivers say of a database that cannot be used now, and what to do."""

_TRANSIENT: Final = ("08", "57P", "40001", "40P01")
"""PostgreSQL's codes of a lost connection, a shutdown, and a transaction that may be tried again."""

_KEEPALIVE: Final = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""So that a network that swallows everything is noticed within a minute."""

_SECRETS: Final[tuple[str, ...]] = ("password", "sslpassword")
"""Parameters in the query of a URL that are shown to nobody."""

_FORMS: Final = "--db takes a file's path, sqlite:///PATH or postgresql://USER@HOST/NAME"

_MISTAKEN: Final = re.compile(
    r"^postgres\w*(\+\w+)?:|^[^/\s]*:[^/]*@|(^|\s)(host|hostaddr|dbname|user|password|service)\s*=", re.I
)
"""What is meant as a database and would be taken for a path: a URL that lacks a part, libpq's keywords."""

_BARE_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

_HINTS: Final = {
    "not a database": "is not a SQLite database; name another file with --db",
    "malformed": "is damaged; restore a copy, or ingest into a new store",
    "permission denied": "this user may not do that; ask who looks after the database",
}
"""What they say of one that is not as it must be."""

_WRITE_LOCK: Final = "120"
"""Byte of the -shm file that SQLite locks to write (UNIX_SHM_BASE in os_unix.c)."""

_STEPS: Final = 1_000_000
"""Steps of SQLite's machine between two looks at signals: some 20 ms."""

_OLDEST_SQLITE: Final = (3, 37, 0)
"""The first with STRICT tables."""


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
        with self._unchanged(), self.named_errors(), self.engine.connect() as connection:
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
        """Do work in a transaction of `reading`; where the connection is lost, do it again.

        Raises
        ------
        UnavailableError
            If the database cannot be reached for `PATIENCE_S`.
        """

        def attempt() -> T:
            with self.reading() as connection:
                return work(connection)

        return patiently(attempt)

    def write(self, work: Callable[[Connection], T], *, lasting: bool = True) -> T:
        """Do work in a transaction of `writing`; where the connection is lost, do it again.

        Parameters
        ----------
        work
            May be called several times; only the last call is committed.
        lasting
            Whether a SQLite file waits for the disk.  Otherwise a power cut, but nothing less, may
            undo the work until the next lasting write, for what can be done again.

        Raises
        ------
        UnavailableError
            If the database cannot be reached for `PATIENCE_S`, is locked for too long, or has no
            room left.

        Notes
        -----
        A connection may be lost while COMMIT is answered.  Who redoes the work holds the writers'
        lock, so that the transaction before has ended, and asks whether it was committed.
        """
        done: dict[str, T] = {}

        def attempt() -> T:
            with self._writing(lasting=lasting) as (connection, number):
                for before, result in done.items():
                    if _committed(connection, before):
                        return result
                result = work(connection)
                done[number] = result
                failpoint("store.commit")
            failpoint("store.committed")
            return result

        return patiently(attempt)

    @contextmanager
    def _writing(self, *, lasting: bool = True) -> Iterator[tuple[Connection, str]]:
        """Give a connection in a writing transaction, and PostgreSQL's number of that."""
        self.require_writable()
        with (
            self.named_errors(),
            self.engine.connect() as connection,
            connection.execution_options(hpastore_writes=True, hpastore_lasting=lasting).begin(),
        ):
            number = ""
            if not self.is_sqlite:  # as BEGIN IMMEDIATE: who writes reads nothing that another is changing
                connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_TIMEOUT_S}s'")
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITER})")
                number = connection.exec_driver_sql("SELECT CAST(pg_current_xact_id() AS text)").scalar_one()
            yield connection, number

    def _without_password(self, message: str) -> str:
        """Hide the password in what a driver says, should it quote how it was called."""
        password = self.engine.url.password
        return message.replace(password, "***") if password else message

    def require_writable(self) -> None:
        """Refuse to write a file that this user may only read.

        Raises
        ------
        UnavailableError
            With what to do.
        """
        if self.read_only:
            raise UnavailableError(self.url, readonly.refusal(Path(self.url)))

    def _unchanged(self) -> AbstractContextManager[None]:
        """See to it that what is read is from one moment, where SQLite cannot."""
        return readonly.unchanged(Path(self.url)) if self.read_only else nullcontext()

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
            named = self._named(error.orig if isinstance(error, DBAPIError) else error)
            raise (self._named_row(named) if "timestamp too" in named.reason else named) from error
        except DamagedError as error:
            raise self._named_row(error) from error
        except UnicodeDecodeError as error:  # what sqlite3 makes of a name that is none, in a damaged file
            raise StoreError(self.url, f"{_HINTS['malformed']} ({error})") from error

    def _named_row(self, error: DamagedError | StoreError) -> HpastoreError:
        """Find the row of a moment that is none: where it is decoded, nobody knows that."""
        from hpastore.store.decoding import damaged_moments

        if isinstance(error, DamagedError) and error.where:
            return error
        with self.engine.connect() as connection:
            return next(damaged_moments(connection), error)

    def _named(self, error: BaseException | None) -> StoreError:
        said = self._without_password(next(iter(str(error).strip().splitlines()), "the connection failed"))
        if self.is_sqlite and (hint := _access_hint(Path(self.url), said)):
            return UnavailableError(self.url, f"{hint} ({said})")
        for key, hint in _OUT_OF_REACH.items():
            if key in said:
                return UnavailableError(self.url, f"{hint} ({said})")
        for key, hint in _HINTS.items():
            if key in said:
                return StoreError(self.url, f"{hint} ({said})")
        if self.is_sqlite:
            return StoreError(self.url, said)
        # The driver's own errors of a lost connection have no code.
        code = getattr(error, "sqlstate", None)
        lost = code.startswith(_TRANSIENT) if code else type(error).__name__ == "OperationalError"
        if lost:
            return DisconnectedError(self.url, said)
        return StoreError(self.url, said)


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
    StoreError
        If the system refuses to look at the file.
    UsageError
        If the URL is of another kind, or its driver is not installed.
    """
    try:
        parsed = _parse(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(Path(str(parsed.database)), create=create)
    except OSError as error:  # of a path: its name is too long, or a folder may not be searched
        reason = f"cannot be looked at ({error.strerror}); name another store with --db"
        raise StoreError(str(error.filename), reason) from error
    try:
        return _postgresql(parsed)
    except ModuleNotFoundError as error:
        raise UsageError("PostgreSQL needs its driver: pip install 'hpastore[postgres]'") from error


def _parse(url: str | Path) -> URL:
    text = str(url)
    if "://" not in text and text != ":memory:":
        if _MISTAKEN.search(text) and not expanded(text).exists():
            raise UsageError(_FORMS)  # without the text, which may hold a password
        return URL.create("sqlite", database=str(expanded(text)))
    if text.startswith("postgres"):
        _refuse_unencoded(text)
    try:
        parsed = make_url(text)
        backend = parsed.get_backend_name()
    except (ArgumentError, NoSuchModuleError, ValueError):
        raise UsageError(_FORMS) from None  # the cause may quote a part of a password
    if backend == "sqlite" and parsed.database and parsed.database != ":memory:":
        return parsed.set(database=str(expanded(parsed.database)))
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    raise UsageError(_FORMS)


def _refuse_unencoded(text: str) -> None:
    """Refuse a URL that would be read otherwise than it is meant, with a part of a password as the host."""
    place, _, query = text.partition("://")[2].partition("?")
    pieces = [piece for piece in query.split("&") if piece]
    if place.count("@") > 1 or _BARE_PERCENT.search(place) or any("=" not in piece for piece in pieces):
        raise UsageError(
            "the URL of --db cannot be read; percent-encode @ (%40), % (%25), / (%2F), ? (%3F) and & (%26) "
            "in the user, the password and the database's name"
        )


def _postgresql(url: URL) -> Store:
    """Connect, with passwords kept where no message shows them."""
    given = {name: str(value) for name, value in url.query.items()}
    secrets: dict[str, str] = {name: given.pop(name) for name in _SECRETS if name in given}
    password = secrets.pop("password", None)
    if password is not None:  # as libpq has it, that of the query counts
        url = url.set(password=password)
    alive: dict[str, str] = {key: value for key, value in _KEEPALIVE.items() if key not in given}
    url = url.difference_update_query(_SECRETS)
    return Store(create_engine(url, pool_pre_ping=True, connect_args={**alive, **secrets}))


def _sqlite(path: Path, *, create: bool) -> Store:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise UsageError(f"Python's SQLite is {sqlite3.sqlite_version}; hpastore needs 3.37 or newer")
    if not create and not path.is_file():
        raise SchemaMissingError(
            str(path), "no such store; 'hpastore ingest ROOT' makes one, or name it with --db"
        )
    if create and not path.parent.is_dir():
        raise UsageError(f"{path.parent} is not a folder, so that {path.name} cannot be made in it")
    read_only = path.is_file() and not readonly.is_writable(path)
    options: dict[str, Any] = {"connect_args": {"timeout": BUSY_TIMEOUT_S}}
    if read_only:  # each transaction opens the file anew, as the files beside it then ask for
        options = {"creator": lambda: _open_read_only(path), "poolclass": NullPool}
    engine = create_engine(URL.create("sqlite", database=str(path)), **options)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return Store(engine, read_only)


def _open_read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(read_only_uri(path), uri=True, timeout=BUSY_TIMEOUT_S)


def read_only_uri(path: Path) -> str:
    """How to open a SQLite file to read it; asked within `Store.reading`."""
    immutable = "&immutable=1" if readonly.is_immutable(path) else ""
    return f"{path.absolute().as_uri()}?mode=ro{immutable}"


def _access_hint(path: Path, text: str) -> str | None:
    """Say which file is in the way of a user, where that is why SQLite failed."""
    if "readonly" in text and path.exists():
        return readonly.refusal(path)
    if "unable to open" in text and path.exists():
        return readonly.obstacle(path)
    return None


def _configure(connection: sqlite3.Connection, record: Any) -> None:  # noqa: ARG001 SQLAlchemy's signature
    connection.isolation_level = None  # we begin transactions, see _begin
    connection.set_progress_handler(_hear_signals, _STEPS)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut


def _hear_signals() -> bool:
    """Let Python run its handlers of signals while SQLite works on one long statement; go on."""
    return False


def _begin(connection: Connection) -> None:
    if connection.get_execution_options().get("hpastore_writes", False):
        _begin_writing(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _begin_writing(connection: Connection) -> None:
    """Wait in short steps for another who writes: signals are heard between them, and one can say so."""
    began, told = time.monotonic(), False
    lasting = connection.get_execution_options().get("hpastore_lasting", True)
    connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if lasting else 'NORMAL'}")
    connection.exec_driver_sql("PRAGMA busy_timeout = 250")
    while True:
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            break
        except OperationalError as error:
            waited = time.monotonic() - began
            if "locked" not in str(error) or waited > BUSY_TIMEOUT_S:
                raise
            if waited > _TOLD_AFTER_S and not told:
                told = True
                path = str(connection.engine.url.database)
                logger.warning("%s: waiting for %s, which is writing", path, _holder(path))
    connection.exec_driver_sql(f"PRAGMA busy_timeout = {1000 * BUSY_TIMEOUT_S}")


def _holder(path: str) -> str:
    """Name the process that holds SQLite's lock of writers; only Linux tells."""
    try:
        node = Path(f"{path}-shm").stat().st_ino
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[3] == "WRITE" and fields[5].endswith(f":{node}") and fields[6] == _WRITE_LOCK:
                command = Path(f"/proc/{fields[4]}/cmdline").read_bytes().split(b"\0")
                return f"process {fields[4]} ({b' '.join(command[:6]).decode(errors='replace').strip()})"
    except (OSError, IndexError):
        pass
    return "another process"


def _committed(connection: Connection, number: str) -> bool:
    """Whether PostgreSQL committed a transaction, which has ended."""
    if not number:
        return False
    status = text("SELECT pg_xact_status(CAST(:number AS xid8))")
    return bool(connection.execute(status, {"number": number}).scalar_one() == "committed")


def patiently(attempt: Callable[[], T]) -> T:
    """Do something that may be done again, until the connection lasts; ever more rarely.

    Raises
    ------
    UnavailableError
        If the database cannot be reached for `PATIENCE_S`.
    """
    end, pause = time.monotonic() + PATIENCE_S, 0.05
    while True:
        try:
            return attempt()
        except DisconnectedError as error:
            if time.monotonic() > end:
                raise
            logger.warning("%s: no connection (%s); trying again", error.url, error.reason)
            time.sleep(pause)
            pause = min(2 * pause, 2)
