"""``sql`` is a sandbox: a query can only read, within its time and memory, and leaves nothing."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy.engine import make_url

from hpastore.clean.create import create_clean_set
from hpastore.errors import QueryError
from hpastore.schema.tables import Base
from hpastore.store.engine import Store, connect
from hpastore.store.integrity.dump import dump
from hpastore.store.sandbox import process, worker
from hpastore.store.sandbox import query as query_module
from hpastore.store.sandbox.query import query
from tests.conftest import DATABASES, Figure, Server, Trials
from tests.store.sandbox import attacks
from tests.store.sandbox.test_query import requests_to_workers
from tests.waiting import BUSY, PATIENCE_S, cpu_seconds, wait_until
from tests.world import has_comments, measured, put

ENDLESS = f"{attacks.ENDLESS} SELECT count(*) FROM n"

TIMEOUT_S = 0.3
LEFT_BY_COPY = Path("/tmp/hpastore-attack")

REFUSED = (
    *attacks.WRITES,
    *attacks.SCHEMA,
    *attacks.TRANSACTIONS,
    *attacks.SEVERAL,
    *attacks.HIDDEN,
)
TABLE = {
    "sqlite": (*REFUSED, *attacks.SQLITE, *attacks.BOMBS, *attacks.SQLITE_BOMBS),
    "postgresql": (
        *(*REFUSED, *attacks.POSTGRESQL, *attacks.OF_MADE),
        *(*attacks.BOMBS, *attacks.POSTGRESQL_BOMBS),
    ),
}
BOMBS = frozenset((*attacks.BOMBS, *attacks.SQLITE_BOMBS, *attacks.POSTGRESQL_BOMBS))
"""May end with an answer too."""


@dataclass(frozen=True)
class World:
    """A store to be attacked, and what must be as it was afterwards."""

    store: Store
    state: Callable[[], Any]


def fill(store: Store) -> None:
    put(store, measured("a", (0,)), measured("b", (0, 16), n=2), measured("c", (16,), n=1))
    create_clean_set(store, "mine")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def sqlite_world(
    sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[World]:
    """A file whose name a careless program would read as a URI."""
    folder = tmp_path_factory.mktemp("attack")
    path = folder / "cells ?mode=rwc#1%41&vfs=x.db"
    shutil.copyfile(sqlite_template, path)
    with connect(path) as store:
        fill(store)

    def state() -> tuple[str, list[str], list[str]]:
        store.close()
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return digest, names(folder), names(Path())

    with connect(path) as store:
        yield World(store, state)


@pytest.fixture(scope="module")
def postgresql_url(server: Server, postgres_template: str) -> Iterator[str]:
    """A database with functions that a query had better not call."""
    with server.database(postgres_template) as url:
        with connect(url) as store:
            fill(store)
        with psycopg.connect(url, autocommit=True) as admin:
            for statement in attacks.MADE:
                admin.execute(statement.encode())
        yield url


@pytest.fixture(scope="module")
def postgresql_world(postgresql_url: str) -> Iterator[World]:
    """As the superuser."""
    with watched(postgresql_url, postgresql_url) as world:
        yield world


@pytest.fixture(scope="module")
def reader_url(server: Server, postgresql_url: str) -> Iterator[str]:
    """As one with only GRANT SELECT."""
    name, password = f"reader_{uuid.uuid4().hex[:8]}", f"secret_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgresql_url, autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {name}")
        made = make_url(postgresql_url).set(username=name, password=password)
        yield made.render_as_string(hide_password=False)
        admin.execute(f"DROP OWNED BY {name}")
        admin.execute(f"DROP ROLE {name}")


@pytest.fixture(scope="module")
def reader_world(postgresql_url: str, reader_url: str) -> Iterator[World]:
    with watched(postgresql_url, reader_url) as world:
        yield world


STATE = """
SELECT
  (SELECT count(*) FROM pg_class), (SELECT count(*) FROM pg_proc),
  (SELECT count(*) FROM pg_roles WHERE rolname = 'x'), (SELECT count(*) FROM pg_db_role_setting),
  (SELECT count(*) FROM pg_extension), (SELECT count(*) FROM pg_largeobject_metadata),
  (SELECT count(*) FROM pg_prepared_xacts), (SELECT count(*) FROM pg_file_settings),
  (SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'x'), pg_notification_queue_usage(),
  (SELECT count(*) FROM pg_locks JOIN pg_database ON pg_database.oid = database
    WHERE datname = current_database() AND locktype = 'advisory'),
  (SELECT sum(last_value) FROM pg_sequences), obj_description(CAST('label' AS regclass), 'pg_class')
"""
CONTENTS = "SELECT " + ", ".join(
    f"(SELECT sum(hashtextextended(CAST(t AS text), 0)) FROM {table.name} AS t)"
    for table in Base.metadata.sorted_tables
)
"""Quicker than a dump, which is compared at the end."""


@contextmanager
def watched(admin_url: str, url: str) -> Iterator[World]:
    with (
        psycopg.connect(admin_url, autocommit=True) as admin,
        connect(admin_url) as owned,
        connect(url) as store,
    ):

        def state() -> tuple[Any, ...]:
            wait_until(lambda: admin.execute(BUSY).fetchone() == (0,))
            return (
                admin.execute(STATE).fetchone(),
                admin.execute(CONTENTS).fetchone(),
                LEFT_BY_COPY.exists(),
            )

        *_, checksum = dump(owned)
        yield World(store, state)
        assert [*dump(owned)][-1] == checksum


def outcome(store: Store, sql: str, timeout: float = TIMEOUT_S) -> str:
    """Refused, or bounded: what came of an attack; unbounded, each takes many minutes or for ever."""
    began = time.monotonic()
    try:
        answer = query(store, sql, timeout=timeout)
    except QueryError as error:
        assert re.fullmatch(r"[^\n]{5,400}", str(error))
        assert str(error).isprintable()
        result = "refused"
    else:
        result = f"cut at {len(answer.rows)} {answer.limit}" if answer.cut else "answered"
    assert time.monotonic() - began < PATIENCE_S
    return result


@pytest.fixture(scope="module")
def before() -> dict[str, Any]:
    """States before the first attack."""
    return {}


def cases() -> Iterator[Any]:
    for database in DATABASES:
        for number, sql in enumerate(TABLE[database]):
            yield pytest.param(f"{database}_world", sql, id=f"{database}-{number}")
    for number, sql in enumerate((*attacks.WRITES, *attacks.POSTGRESQL, *attacks.OF_MADE)):
        # The owner, who may do more, is refused in a quick run.
        yield pytest.param(
            "reader_world", sql, id=f"reader-{number}", marks=[pytest.mark.full] * (number % 5 > 0)
        )


@pytest.mark.parametrize(("world", "sql"), [*cases()])
def test_an_attack_is_refused_or_bounded_and_leaves_nothing(
    world: str, sql: str, before: dict[str, Any], request: pytest.FixtureRequest
) -> None:
    attacked: World = request.getfixturevalue(world)
    if world not in before:
        before[world] = attacked.state()
    came = outcome(attacked.store, sql)
    assert came == "refused" or sql in BOMBS
    assert attacked.state() == before[world]


def test_the_table_of_attacks_is_long(figure: Figure) -> None:
    counts = {database: len(set(table)) for database, table in TABLE.items()}
    assert min(counts.values()) > 110
    figure(f"sql sandbox: attacks {counts}: 0 writes, 0 files, all refused or bounded")


@pytest.mark.soak
@pytest.mark.parametrize("world", ["sqlite_world", "postgresql_world"])
def test_pieces_of_attacks_put_together_leave_nothing(
    world: str,
    before: dict[str, Any],
    request: pytest.FixtureRequest,
    trials: Trials,
    figure: Figure,
) -> None:
    attacked: World = request.getfixturevalue(world)
    if world not in before:
        before[world] = attacked.state()
    rng = random.Random(0)
    short = [sql for sql in TABLE[world.removesuffix("_world")] if sql not in BOMBS]
    number = trials(quick=10, full=25, soak=4000)
    for _ in range(number):
        parts = [rng.choice(("SELECT ", "WITH x AS (", "EXPLAIN ", "VALUES (", ""))]
        for sql in rng.choices(short, k=3):
            start, end = sorted(rng.choices(range(len(sql) + 1), k=2))
            parts += [
                sql[start:end],
                rng.choice((" ", ";", "(", ")", "'", '"', "/*", "*/", "--", "\n", "$$")),
            ]
        outcome(attacked.store, "".join(parts))
        assert attacked.state() == before[world], parts
    figure(
        f"sql sandbox: {number} splices of attacks on {world.removesuffix('_world')}: nothing left"
    )


# Each wall alone


@pytest.mark.parametrize(
    "sql", [*attacks.WRITES, *attacks.SCHEMA, *attacks.TRANSACTIONS, *attacks.SQLITE]
)
def test_sqlites_child_alone_lets_nothing_be_changed(
    sqlite_world: World, sql: str, before: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before.setdefault("sqlite_world", sqlite_world.state())
    monkeypatch.setattr(query_module, "_require_reading_statement", lambda _: None)
    came = outcome(sqlite_world.store, sql)
    assert came == "refused" or sql == "PRAGMA table_info(label)"
    assert sqlite_world.state() == before["sqlite_world"]


CALLS = [
    *(
        sql
        for sql in attacks.POSTGRESQL
        if sql.startswith("SELECT") and "pg_sleep" not in sql and "lo_" in sql
    ),
    "SELECT set_config('transaction_read_only', 'off', true)",
    "SELECT set_config('role', 'none', false), pg_read_file('/etc/passwd')",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT pg_ls_dir('/')",
    "SELECT pg_sleep(600)",
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_notify('x', 'y')",
    "SELECT nextval('image_id_seq')",
    "SELECT setval('image_id_seq', 1)",
    "SELECT pg_reload_conf()",
    "SELECT pg_stat_reset()",
    "SELECT pg_switch_wal()",
    "SELECT pg_create_physical_replication_slot('x', true)",
    "SELECT waits(1)",
    "SELECT runs('SELECT pg_advisory_lock(1)')",
    "SELECT runs('SELECT nextval(''image_id_seq'')')",
    "SELECT runs('DELETE FROM label')",
    "SELECT runs('COPY label TO PROGRAM ''touch /tmp/hpastore-attack''')",
    "SELECT runs('CREATE TABLE x (y int)')",
    "COPY label TO '/tmp/hpastore-attack'",
    "COPY (SELECT 1) TO PROGRAM 'touch /tmp/hpastore-attack'",
    "DO $$ BEGIN DELETE FROM label; END $$",
    "CREATE TEMP TABLE x (y int)",
    "LOCK TABLE label IN ACCESS EXCLUSIVE MODE",
    "DELETE FROM label",
    "COMMIT; DELETE FROM label",
    "SELECT 1; COMMIT; DELETE FROM label",
]


@pytest.mark.parametrize("sql", CALLS, ids=range(len(CALLS)))
@pytest.mark.parametrize("world", ["postgresql_world", "reader_world"])
def test_postgresqls_transaction_alone_lets_nothing_be_changed(
    world: str,
    sql: str,
    before: dict[str, Any],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attacked: World = request.getfixturevalue(world)
    if world not in before:
        before[world] = attacked.state()
    monkeypatch.setattr(query_module, "_require_reading_statement", lambda _: None)
    monkeypatch.setattr(query_module, "refuse_side_effects", lambda *_: None)
    outcome(attacked.store, sql)
    assert attacked.state() == before[world]


NAMED = [
    *attacks.OF_MADE,
    *(
        sql
        for sql in attacks.POSTGRESQL
        if re.search("pg_sleep|_to_xml|set_config|advisory|lo_|authid", sql)
    ),
]


@pytest.mark.parametrize("sql", NAMED, ids=range(len(NAMED)))
@pytest.mark.parametrize("world", ["postgresql_world", "reader_world"])
def test_postgresql_names_what_it_refuses(
    world: str, sql: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(
        QueryError, match=r"which can do more than read|which PostgreSQL does not show to everyone"
    ):
        query(request.getfixturevalue(world).store, sql)


@pytest.mark.parametrize(
    "sql", ['SELECT U&"\\0070g_sleep"(10)', 'SELECT 1 AS u&"d\\0061ta"', "SELECT 'U&\"'"]
)
def test_escapes_in_names_are_refused(postgresql_world: World, sql: str) -> None:
    with pytest.raises(QueryError, match="the query escapes a name"):
        query(postgresql_world.store, sql)


@pytest.mark.parametrize("world", ["sqlite_world", "postgresql_world", "reader_world"])
def test_the_database_itself_ends_a_query(
    world: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "_GRACE_S", 600)
    assert outcome(request.getfixturevalue(world).store, ENDLESS) == "refused"


def test_a_query_that_its_database_cannot_end_is_killed(sqlite_world: World) -> None:
    """Within one call SQLite looks at no clock."""
    assert outcome(sqlite_world.store, attacks.ONE_CALL) == "refused"


WALLS = """
import json, sqlite3, sys
sys.path.insert(0, sys.argv[1])
import worker

connection = worker._open(sys.argv[2])
said = {}
for name in ("trusted_schema", "query_only", "temp_store", "cell_size_check", "hard_heap_limit"):
    (said[name],) = connection.execute(f"PRAGMA {name}").fetchone()
for sql in ("DELETE FROM label", "PRAGMA query_only = 0", "DELETE FROM cell", "ATTACH ':memory:' AS x"):
    try:
        connection.execute(sql)
    except sqlite3.Error as error:
        said[sql] = str(error)
print(json.dumps(said))
"""


def test_sqlites_connection_is_walled_before_its_authorizer(
    sqlite_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = requests_to_workers(monkeypatch)
    query(sqlite_world.store, "SELECT 1")
    command = [sys.executable, "-c", WALLS, str(Path(worker.__file__).parent), requests[0]["uri"]]
    assert json.loads(subprocess.run(command, capture_output=True, check=True).stdout) == {
        "trusted_schema": 0,
        "query_only": 1,
        "temp_store": 2,
        "cell_size_check": 1,
        "hard_heap_limit": 3 * 2**28,
        "DELETE FROM label": "attempt to write a readonly database",
        "DELETE FROM cell": "attempt to write a readonly database",
        "ATTACH ':memory:' AS x": "too many attached databases - max 0",
    }


# The process


ASKS = "import sys, hpastore; hpastore.query(hpastore.open_store(sys.argv[1]), sys.argv[2], timeout=600)"
linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def children(parent: int) -> list[Path]:
    """The sandbox workers of a process."""
    command = [worker.__file__, str(parent)]
    return [
        entry
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and said_of(entry / "cmdline").split("\0")[-3:-1] == command
    ]


def said_of(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def has_begun(url: str, child: Path) -> bool:
    """Whether the database works on a query: SQLite in the child itself."""
    if url.startswith("sqlite"):
        return cpu_seconds(int(child.name)) > 1
    with psycopg.connect(url) as other:
        return other.execute(BUSY).fetchone() != (0,)


@contextmanager
def asking(url: str, program: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Start a program that asks for ever, and wait until it does."""
    with subprocess.Popen(
        [sys.executable, *program, url, ENDLESS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            wait_until(lambda: len(children(process.pid)) == 1)
            wait_until(lambda: has_begun(url, children(process.pid)[0]))
            yield process
        finally:
            process.kill()


@linux
def test_a_query_dies_with_its_parent(url: str) -> None:
    with asking(url, ["-c", ASKS]) as process:
        process.kill()
        process.wait()
        wait_until(lambda: not children(process.pid))


@linux
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_command_and_its_query(
    url: str, number: signal.Signals, code: int
) -> None:
    main = "import sys; from hpastore.cli.app import main; main(['--db', sys.argv[1], 'sql', sys.argv[2]])"
    with asking(url, ["-c", main]) as process:
        process.send_signal(number)
        out, err = process.communicate(timeout=PATIENCE_S)
        assert (process.returncode, out) == (code, "")
        assert err == "hpastore: stopped; what was finished is kept\n"
        assert not children(process.pid)


@has_comments
@linux
def test_the_server_ends_a_query_whose_client_is_gone(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as admin, asking(url, ["-c", ASKS]) as process:
        wait_until(lambda: admin.execute(BUSY).fetchone() == (1,))
        process.kill()
        wait_until(lambda: admin.execute(BUSY).fetchone() == (0,))


@linux
def test_a_password_goes_to_the_child_unseen(reader_url: str) -> None:
    password = str(make_url(reader_url).password)
    with connect(reader_url) as store, store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        assert f"password={password}".encode() in query_module._conninfo(driver)
    with asking(reader_url, ["-c", ASKS]) as process:
        (child,) = children(process.pid)
        for name in ("cmdline", "environ"):
            assert said_of(child / name)
            assert password not in said_of(child / name)


# The memory


MEASURES = """
import json, resource, sys
import hpastore
from hpastore.errors import QueryError

url, *bombs = json.load(sys.stdin)
came = []
with hpastore.open_store(url) as store:
    for sql in bombs:
        try:
            came.append(hpastore.query(store, sql, timeout=600).limit)
        except QueryError as error:
            came.append(str(error))
used = [resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps([came, *used]))
"""
HEAVY = {
    "sqlite": (
        f"{attacks.ENDLESS} SELECT zeroblob(5000000) AS z, i FROM n ORDER BY i DESC",
        "SELECT " + ",".join(["zeroblob(9999999)"] * 1900),
        f"{attacks.ENDLESS} SELECT zeroblob(9000000) FROM n",
    ),
    "postgresql": (
        "SELECT repeat('x', 500000000)",
        "SELECT repeat('x', 9000000) FROM generate_series(1, 1000000)",
    ),
}
GIB = 2**20
"""In the unit of ru_maxrss, which is a KiB but on macOS."""


@pytest.mark.full  # values of hundreds of MB
@linux
def test_memory_is_bounded(url: str, database: str, figure: Figure) -> None:
    run = subprocess.run(
        [sys.executable, "-c", MEASURES],
        input=json.dumps([url, *HEAVY[database]]),
        capture_output=True,
        text=True,
        check=True,
    )
    came, own, childs = json.loads(run.stdout)
    assert all("memory" in said or "bytes" in said for said in came)
    assert childs < GIB
    assert own < 1.2 * GIB
    figure(
        f"sql sandbox: memory bombs on {database}: parent {own >> 10} MiB, child {childs >> 10} MiB"
    )


def test_a_child_may_make_no_file_and_no_core(tmp_path: Path) -> None:
    program = f"""
import sys; sys.path.insert(0, {str(Path(worker.__file__).parent)!r})
import worker, pathlib, resource
worker._limit_resources(3.5)
for limit in (resource.RLIMIT_FSIZE, resource.RLIMIT_CORE, resource.RLIMIT_CPU):
    print(resource.getrlimit(limit))
try:
    pathlib.Path('x').write_text('x')
except OSError:
    print('no file')
"""
    command = [sys.executable, "-I", "-S", "-c", program]
    said = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    assert said.splitlines() == ["(0, 0)", "(0, 0)", "(13, 13)", "no file"]
    assert (tmp_path / "x").stat().st_size == 0
