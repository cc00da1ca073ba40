"""A SQLite store that one may only read: one state of it or an error, whatever its owner does."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import Connection, text

import hpastore
from hpastore.errors import StoreError, UnavailableError
from hpastore.store import migrate, readonly, write
from hpastore.store.engine import Store, connect
from tests.world import measured, put, scalar

OTHERS_WRITE: Final = """
import sqlite3, sys
path, how, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
for _ in range(times):
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("UPDATE many SET value = value + 1")
    if how == "checkpoint":
        connection.execute("PRAGMA wal_checkpoint(FULL)")  # overwrites pages that others may be reading
    if how == "leave":
        import os
        os._exit(0)
    connection.close()  # brings the log into the file and deletes it, unless somebody reads
"""


def others_write(path: Path, how: str = "close", times: int = 1) -> None:
    command = [sys.executable, "-c", OTHERS_WRITE, str(path), how, str(times)]
    subprocess.run(command, check=True, timeout=120)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of some hundred pages in which each row has the same value, closed by its owner."""
    path = tmp_path / "cells.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE many (value INTEGER, room TEXT) STRICT")
        connection.executemany("INSERT INTO many VALUES (0, ?)", [("x" * 500,)] * 3000)
    assert [file.name for file in tmp_path.iterdir()] == ["cells.db"]
    return path


@pytest.fixture
def reader(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """The store of somebody who may only read; only the question whether one may write is answered for us."""
    monkeypatch.setattr(readonly, "is_writable", lambda _: False)
    with connect(path) as store:
        assert store.read_only
        yield store


def values(connection: Connection) -> set[int]:
    return set(connection.execute(text("SELECT DISTINCT value FROM many")).scalars())


def last_value(connection: Connection) -> int:
    return int(
        connection.execute(text("SELECT value FROM many ORDER BY rowid DESC LIMIT 1")).scalar_one()
    )


def first_value(connection: Connection) -> int:
    return int(
        connection.execute(text("SELECT value FROM many ORDER BY rowid LIMIT 1")).scalar_one()
    )


def test_it_is_read_and_nothing_is_made_beside_it(reader: Store, path: Path) -> None:
    with reader.reading() as connection:
        assert values(connection) == {0}
        assert [file.name for file in path.parent.iterdir()] == ["cells.db"]
    assert [file.name for file in path.parent.iterdir()] == ["cells.db"]


@pytest.mark.parametrize("how", ["close", "checkpoint", "leave"])
def test_a_commit_during_a_read_is_an_error_and_never_a_mixture(
    reader: Store, path: Path, how: str
) -> None:
    changed = pytest.raises(
        UnavailableError, match="another process changed it while it was being read"
    )
    with changed as caught, reader.reading() as connection:
        assert first_value(connection) == 0
        others_write(path, how)
        assert last_value(connection) == (
            how == "checkpoint"
        )  # what SQLite alone would have answered
    assert "run the same command again" in str(caught.value)
    with reader.reading() as connection:
        assert values(connection) == {1}


def test_a_commit_that_was_brought_into_the_file_is_seen_by_the_log_that_cannot_be_deleted(
    reader: Store, path: Path
) -> None:
    """Without the lock the writer would delete the log, and only the file's time would show it."""
    times = path.stat()
    with (
        pytest.raises(UnavailableError, match="another process changed it"),
        reader.reading() as connection,
    ):
        assert first_value(connection) == 0
        others_write(path)
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
        assert path.stat().st_size == times.st_size


def test_what_half_a_page_leads_to_is_the_same_error(reader: Store, path: Path) -> None:
    with (
        pytest.raises(UnavailableError, match="another process changed it") as caught,
        reader.reading(),
    ):
        others_write(path)
        raise StoreError(str(path), "is damaged")
    assert isinstance(caught.value.__cause__, StoreError)


def test_an_error_of_a_reader_stays_what_it_is(reader: Store) -> None:
    with pytest.raises(ZeroDivisionError), reader.reading() as connection:
        assert 1 / first_value(connection)


def test_a_file_that_is_replaced_meanwhile_is_an_error(reader: Store, path: Path) -> None:
    with (
        pytest.raises(UnavailableError, match="another process changed it"),
        reader.reading() as connection,
    ):
        assert first_value(connection) == 0
        path.with_name("copy").write_bytes(path.read_bytes())
        path.with_name("copy").replace(path)


def test_an_owner_who_only_reads_meanwhile_is_no_matter(reader: Store, path: Path) -> None:
    with reader.reading() as connection:
        assert first_value(connection) == 0
        with closing(sqlite3.connect(path)) as owner:
            assert owner.execute("SELECT max(value) FROM many").fetchone() == (0,)
        assert last_value(connection) == 0
    with reader.reading() as connection:
        assert values(connection) == {0}


def test_under_constant_writing_each_answer_is_of_one_state(reader: Store, path: Path) -> None:
    command = [sys.executable, "-c", OTHERS_WRITE, str(path), "checkpoint", "40"]
    seen, refused = [], 0
    with subprocess.Popen(command) as writer:
        while writer.poll() is None:
            try:
                with reader.reading() as connection:
                    found = {first_value(connection), *values(connection), last_value(connection)}
                seen.append(found)
            except UnavailableError as error:
                assert "run the same command again" in str(error)
                refused += 1
    assert writer.returncode == 0
    assert seen
    assert all(len(found) == 1 for found in seen)
    assert sorted(seen, key=min) == seen
    with reader.reading() as connection:
        assert values(connection) == {40}


def test_commits_in_a_log_that_an_owner_keeps_open_are_read(reader: Store, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.execute("UPDATE many SET value = 7")
        assert Path(f"{path}-wal").stat().st_size
        with reader.reading() as connection:
            assert values(connection) == {7}
            owner.execute("UPDATE many SET value = 8")
            assert values(connection) == {7}
    with reader.reading() as connection:
        assert values(connection) == {8}


def test_commits_without_an_index_of_their_log_are_not_left_out(reader: Store, path: Path) -> None:
    others_write(path, "leave")
    Path(f"{path}-shm").unlink()
    assert not readonly.is_immutable(path)
    hint = readonly.why_not_readable(path)
    assert hint is not None
    assert f"the newest changes are in {path}-wal, which this user cannot read" in hint
    assert "to run 'hpastore status' on the store" in hint
    with reader.reading() as connection:  # who tests may write, so that SQLite finds the commits
        assert values(connection) == {1}


def test_a_file_that_cannot_be_locked_is_not_trusted(
    reader: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readonly, "_SET_LOCK", None)
    with (
        pytest.raises(UnavailableError, match="copy it while nobody writes to it"),
        reader.reading(),
    ):
        pytest.fail("read without a lock")


def test_a_file_that_somebody_holds_alone_is_waited_for(
    reader: Store, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readonly, "_LOCK_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(path, isolation_level=None)) as owner:
        owner.execute("PRAGMA locking_mode = EXCLUSIVE")
        owner.execute("BEGIN IMMEDIATE")
        with (
            pytest.raises(UnavailableError, match="another process has locked it"),
            reader.reading(),
        ):
            pytest.fail("two at once")


WRITERS: dict[str, Callable[[Store], object]] = {
    "write": lambda store: store.write(lambda connection: write.forget_tries(connection, [])),
    "writing": lambda store: put(store, measured()),
    "upgrade": migrate.upgrade,
    "clean set": lambda store: hpastore.create_clean_set(store, "mine"),
}


@pytest.mark.parametrize("what", WRITERS)
def test_who_may_not_write_is_told_whom_to_ask(
    sqlite_template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    path = tmp_path / "cells.db"
    path.write_bytes(sqlite_template.read_bytes())
    monkeypatch.setattr(readonly, "_has_access", lambda _, mode: mode != os.W_OK)
    monkeypatch.setattr(readonly, "_owner", lambda _: "kim")
    with connect(path) as store, pytest.raises(UnavailableError) as caught:
        WRITERS[what](store)
    message = str(caught.value)
    assert f"this user cannot write {path}; ask its owner kim for access" in message
    assert f"hpastore --db {path} db backup COPY" in message


def test_a_file_beside_the_store_that_is_in_the_way_is_named(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others_write(path, "leave")
    monkeypatch.setattr(readonly, "_owner", lambda _: "root")
    for mode, say in ((os.R_OK, readonly.why_not_readable), (os.W_OK, readonly.why_not_writable)):
        monkeypatch.setattr(
            readonly,
            "_has_access",
            lambda file, asked, mode=mode: asked != mode or not str(file).endswith("-shm"),
        )
        message = say(path)
        assert message is not None
        assert f"{path}-shm" in message
        assert "ask its owner root" in message


def test_the_copy_of_one_who_may_only_read_may_be_written(
    sqlite_template: Path, tmp_path: Path
) -> None:
    path, copy = tmp_path / "cells.db", tmp_path / "copy.db"
    path.write_bytes(sqlite_template.read_bytes())
    path.chmod(0o444)
    with connect(path) as store:
        hpastore.backup(store, copy)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o644
    with connect(copy) as store:
        put(store, measured())
        assert scalar(store, "SELECT count(*) FROM image") == 1


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    urls: tuple[str | Path, ...] = ("~/a.db", "sqlite:///~/b.db", Path("~/c.db"))
    for number, url in enumerate(urls):
        with hpastore.open_store(url, create=True) as store:
            assert store.url == str(tmp_path / f"{'abc'[number]}.db")
            assert hpastore.backup(store, f"~/copy-{number}.db") == tmp_path / f"copy-{number}.db"
    monkeypatch.setenv("HPASTORE_DB", "~/a.db")
    with hpastore.open_store() as store:
        assert store.url == str(tmp_path / "a.db")
    monkeypatch.chdir(tmp_path)
    with suppress(StoreError):
        hpastore.open_store("~no-such-user/a.db")
    assert not Path("~").exists()
