"""After an upgrade a SQLite file gives its free pages back, whenever that is possible."""

from __future__ import annotations

import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from hpastore.store import disk_space, migrate, vacuum
from hpastore.store.engine import connect
from hpastore.store.integrity.doctor import doctor
from tests.conftest import Trials
from tests.store.test_decoding import contents, load
from tests.store.test_disk_space import leave_free

KILLED = """
import os, signal, sys
from sqlalchemy import event
from hpastore.store import vacuum
from hpastore.store.engine import connect

calls = 0

def kill():
    global calls
    calls += 1
    if calls == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

real = vacuum.failpoint

def arm(place):
    if place == "schema.vacuum":
        driver.set_progress_handler(kill, 50)
    real(place)

vacuum.failpoint = arm
with connect(sys.argv[1]) as store:
    @event.listens_for(store.engine, "checkout")
    def take(connection, *_):
        global driver
        driver = connection
    vacuum.vacuum_if_worthwhile(store)
"""
"""Kill itself at the nth of the steps of VACUUM; argv: the store and n."""


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the pages of a former table."""
    path = tmp_path_factory.mktemp("loose") / "cells.db"
    load(f"sqlite:///{path}", "0005", "sqlite")
    with connect(path) as store:
        migrate.upgrade(store)
    leave_pages(path)
    return path


@pytest.fixture
def path(loose: Path, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(loose, tmp_path / "cells.db"))


def free_pages(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("PRAGMA freelist_count").fetchone()[0])


def leave_pages(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE former AS SELECT zeroblob(1200000)")
        connection.execute("DROP TABLE former")
    assert free_pages(path) > 250


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]


def test_an_upgraded_file_is_as_small_as_it_can_be(tmp_path: Path) -> None:
    path = tmp_path / "cells.db"
    load(f"sqlite:///{path}", "0005", "sqlite")
    leave_pages(path)
    with connect(path) as store:
        migrate.upgrade(store)
        assert doctor(store, deep=True) == []
    assert free_pages(path) == 0


def test_an_upgrade_at_the_same_schema_gives_pages_back(path: Path) -> None:
    before, size = contents(f"sqlite:///{path}"), path.stat().st_size
    with connect(path) as store:
        assert not migrate.upgrade(store)
    assert free_pages(path) == 0
    assert path.stat().st_size < 0.8 * size
    assert contents(f"sqlite:///{path}") == before


def test_a_store_of_few_free_pages_is_left(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vacuum, "_MAX_FREE", 0.9)
    before = path.read_bytes()
    with connect(path) as store:
        vacuum.vacuum_if_worthwhile(store)
    assert path.read_bytes() == before


def test_without_room_the_pages_stay_and_a_warning_says_so(
    path: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    leave_free(monkeypatch, 10)
    before = path.read_bytes()
    with connect(path) as store:
        vacuum.vacuum_if_worthwhile(store)
    assert path.read_bytes() == before
    (text,) = warnings(caplog)
    assert text.startswith(
        f"{path} works, and keeps 2 MB that are free and will be used again: it could not be made "
        "smaller (this takes "
    )
    # The tables and views themselves are near to 1.5 MB.
    assert re.search(rf"takes [12] MB in {re.escape(str(tmp_path))}, where 1 MB are free\)", text)
    assert text.endswith("; 'hpastore db upgrade' tries again")


def test_another_writer_only_keeps_the_file_from_shrinking(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(vacuum, "_BUSY_TIMEOUT_MS", 10)
    with closing(sqlite3.connect(path, isolation_level=None)) as writer, connect(path) as store:
        writer.execute("BEGIN IMMEDIATE")
        vacuum.vacuum_if_worthwhile(store)
        writer.execute("ROLLBACK")
        [warning] = warnings(caplog)
        assert "could not be made smaller (database is locked)" in warning
        vacuum.vacuum_if_worthwhile(store)
    assert free_pages(path) == 0


def test_a_full_temporary_folder_does_not_matter(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fill(store: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(vacuum, "_vacuum", fill)
    with connect(path) as store:
        assert not migrate.upgrade(store)
        assert doctor(store, deep=True) == []
    [warning] = warnings(caplog)
    assert "(database or disk is full)" in warning


def test_a_kill_during_vacuum_leaves_the_store_whole(path: Path, trials: Trials) -> None:
    before = contents(f"sqlite:///{path}")
    killed = 0
    for n in range(1, 10_000, trials(quick=40, full=8, soak=1)):
        shutil.copyfile(path, trial := path.with_name("trial.db"))
        command = [sys.executable, "-c", KILLED, str(trial), str(n)]
        code = subprocess.run(command, check=False).returncode
        assert contents(f"sqlite:///{trial}") == before
        with connect(trial) as store:
            assert migrate.check(store) == []
            vacuum.vacuum_if_worthwhile(store)
        assert free_pages(trial) == 0
        if code == 0:
            break
        assert code == -signal.SIGKILL
        killed += 1
    assert killed >= 2


def test_sizes_are_those_of_the_file(path: Path) -> None:
    with connect(path) as store, store.reading() as connection:
        size, used = disk_space.file_sizes(connection)
    assert size == path.stat().st_size
    assert used == size - 4096 * free_pages(path)
