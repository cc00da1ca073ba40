"""A PostgreSQL that goes away is waited for, and its work is done again, once."""

from __future__ import annotations

import os
import random
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text

import hpastore
from hpastore.errors import UnavailableError
from hpastore.store import timeouts
from hpastore.store.engine import Store, connect
from tests.conftest import Figure, MakeStore, Server, Trials, start_server
from tests.crash.harness import dump
from tests.world import dataset, scalar

on_a_server = pytest.mark.parametrize("database", ["postgresql"], indirect=True)


@contextmanager
def cut_after_commit(store: Store, nth: int) -> Iterator[list[int]]:
    """Lose the connection after the N-th COMMIT, before its answer comes; give how often that was."""
    commits, cut = 0, []
    dialect: Any = store.engine.dialect
    real = dialect.do_commit

    def do_commit(connection: Any) -> None:
        nonlocal commits
        real(connection)
        commits += 1
        if commits == nth:
            cut.append(nth)
            connection.driver_connection.close()
            raise psycopg.OperationalError(
                "consuming input failed: server closed the connection unexpectedly"
            )

    dialect.do_commit = do_commit
    try:
        yield cut
    finally:
        del dialect.do_commit


def insert_one(connection: Connection) -> int:
    connection.execute(text("INSERT INTO counted VALUES (1)"))
    return 7


@on_a_server
def test_a_commit_whose_answer_was_lost_is_not_done_twice(store: Store) -> None:
    with store.writing() as connection:
        connection.execute(text("CREATE TABLE counted (n INTEGER)"))
    with cut_after_commit(store, 1) as cut:
        assert store.write(insert_one) == 7
    assert cut == [1]
    assert scalar(store, "SELECT count(*) FROM counted") == 1


@on_a_server
def test_work_whose_connection_was_lost_is_done_again(store: Store, server: Server) -> None:
    with store.writing() as connection:
        connection.execute(text("CREATE TABLE counted (n INTEGER)"))
    tries = []

    def work(connection: Connection) -> int:
        result = insert_one(connection)
        tries.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        if len(tries) < 4:
            server.admin.execute("SELECT pg_terminate_backend(%s, 5000)", [tries[-1]])
        return result

    assert store.write(work) == 7
    assert len(set(tries)) == 4
    assert scalar(store, "SELECT count(*) FROM counted") == 1


@on_a_server
def test_an_error_of_the_work_is_not_tried_again(store: Store) -> None:
    tries = []

    def work(connection: Connection) -> None:
        tries.append(1)
        connection.execute(text("SELECT 1 / 0"))

    with pytest.raises(hpastore.HpastoreError, match="division by zero"):
        store.write(work)
    assert tries == [1]


@on_a_server
def test_a_server_that_stays_away_is_named_and_not_waited_for_for_ever(
    store: Store, url: str, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "RECONNECT_TIMEOUT_S", 0.3)
    name = str(store.engine.url.database)
    with store.reading():
        pass
    server.admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
    server.admin.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", [name]
    )
    try:
        with pytest.raises(UnavailableError, match="not currently accepting connections"):
            store.write(insert_one)
    finally:
        server.admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


@on_a_server
def test_every_commit_of_an_ingest_may_lose_its_answer(
    make_store: MakeStore, tmp_path: Path, database: str
) -> None:
    root = dataset(tmp_path / "data", 4)
    with make_store(database) as undisturbed:
        hpastore.ingest(undisturbed, root, executor="serial")
        expected = list(hpastore.dump(undisturbed))
        runs = scalar(undisturbed, "SELECT added + changed + cells FROM ingest_run")
    lost = 0
    for nth in range(1, 20):
        with make_store(database) as store:
            with cut_after_commit(store, nth) as cut:
                summary = hpastore.ingest(store, root, executor="serial")
            assert (summary.new, summary.cells) == (4, 9)
            assert list(hpastore.dump(store)) == expected
            assert scalar(store, "SELECT added + changed + cells FROM ingest_run") == runs
            lost += len(cut)
    assert lost >= 7  # two readings, the run's beginning, four images, its end, ...


@on_a_server
def test_an_ingest_outlives_terminated_connections(
    url: str, tmp_path: Path, server: Server, figure: Figure
) -> None:
    root = dataset(tmp_path / "data", 60)
    killed, rng = [0], random.Random(2)
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"

    def terminate() -> None:
        with psycopg.connect(server.url, autocommit=True) as admin:
            killed[0] += admin.execute(others, [url.rpartition("/")[2].partition("?")[0]]).rowcount

    timers: list[threading.Timer] = []

    def soon(done: int, total: int) -> None:  # amid the statements that write the next image
        if done % 5 == 0:
            timers.append(threading.Timer(rng.uniform(0, 0.03), terminate))
            timers[-1].start()

    with connect(url) as store:
        summary = hpastore.ingest(store, root, executor="serial", progress=soon)
        for timer in timers:
            timer.join()
        assert summary.new == 60
        assert killed[0] >= 5
        assert scalar(store, "SELECT count(*) FROM image") == 60
        assert scalar(store, "SELECT sum(added) FROM ingest_run") == 60
        cells = "SELECT count(*) FROM cell WHERE image_id = i.id"
        assert scalar(store, f"SELECT count(*) FROM image i WHERE cell_count <> ({cells})") == 0
    figure(f"connections: {killed[0]} ended during an ingest of 60 images: none lost or double")


@pytest.mark.soak
def test_an_ingest_outlives_a_server_that_crashes_and_starts_again(
    server: Server, tmp_path: Path, figure: Figure, trials: Trials
) -> None:
    assert server.url  # whose start has made the system's user for the next one
    root, restarts = dataset(tmp_path / "data", 100), trials(quick=1, full=1, soak=5)
    with tempfile.TemporaryDirectory(prefix="hpa") as folder:
        own = start_server(Path(folder))
        try:
            with hpastore.open_store(own.get_uri(), create=True) as store:
                crashed = [0]

                def crash(done: int, total: int) -> None:
                    if done % (total // (restarts + 1)) == 0 and crashed[0] < restarts:
                        crashed[0] += 1
                        os.kill(
                            own.get_postmaster_info().pid, signal.SIGQUIT
                        )  # as pg_ctl -m immediate
                        threading.Timer(0.5, own.ensure_postgres_running).start()

                summary = hpastore.ingest(store, root, executor="serial", progress=crash)
                assert (summary.new, crashed[0]) == (100, restarts)
                assert scalar(store, "SELECT sum(added) FROM ingest_run") == 100
                assert hpastore.doctor(store, deep=True) == []
                found = list(hpastore.dump(store))
        finally:
            own.cleanup()
    undisturbed = f"sqlite:///{tmp_path / 'undisturbed.db'}"
    with hpastore.open_store(undisturbed, create=True) as store:
        hpastore.ingest(store, root, executor="serial")
    assert found == dump(undisturbed)
    figure(
        f"connections: {restarts} crashes of the server during an ingest of 100 images: dumps equal"
    )
