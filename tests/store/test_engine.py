from __future__ import annotations

import threading
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from hpastore.errors import SchemaMissingError, StoreError, UnavailableError, UsageError
from hpastore.store import migrate, timeouts, version
from hpastore.store.engine import Store, connect
from hpastore.store.write import images as writing
from tests.world import (
    dump,
    has_one_writer,
    is_a_file,
    measured,
    put,
    scalar,
    switches_foreign_keys,
)


def pragma(store: Store, name: str) -> object:
    with store.reading() as connection:
        return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()


def images(store: Store) -> int:
    return int(scalar(store, "SELECT count(*) FROM image"))


def test_what_is_written_stays(url: str, store: Store) -> None:
    put(store, measured())
    with connect(url) as other:
        assert images(other) == 1


def test_an_exception_leaves_nothing(store: Store) -> None:
    put(store, measured("a"))
    before = dump(store)
    with pytest.raises(ZeroDivisionError), store.writing() as connection:
        assert connection.execute(text("DELETE FROM image")).rowcount / 0
    assert dump(store) == before


def test_half_an_image_is_never_stored(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, measured("a"))
    before = dump(store)
    monkeypatch.setattr(writing, "_insert_cells", lambda *_: 1 / 0)
    for name in ("a", "b"):
        with pytest.raises(ZeroDivisionError):
            put(store, measured(name, (5,), n=2))
    assert dump(store) == before


def test_a_reader_sees_one_state(url: str, store: Store) -> None:
    with connect(url) as other, other.reading() as connection:
        count = text("SELECT count(*) FROM image")
        assert connection.execute(count).scalar_one() == 0
        put(store, measured())
        assert connection.execute(count).scalar_one() == 0
    assert images(store) == 1


@is_a_file
def test_a_write_waits_for_the_disk_unless_it_can_be_done_again(store: Store) -> None:
    def synchronous(connection: Connection) -> object:
        return connection.exec_driver_sql("PRAGMA synchronous").scalar_one()

    full, normal = 2, 1
    found = [store.write(synchronous, durable=durable) for durable in (True, False, False, True)]
    assert found == [full, normal, normal, full]
    with store.writing() as connection:
        assert synchronous(connection) == full


@has_one_writer
def test_a_second_writer_waits_for_the_first(url: str, store: Store) -> None:
    began, seen = threading.Event(), []

    def second() -> None:
        with connect(url) as other:
            began.set()
            with other.writing() as connection:
                seen.append(connection.execute(text("SELECT count(*) FROM image")).scalar_one())

    thread = threading.Thread(target=second)
    with store.writing() as connection:
        thread.start()
        assert began.wait(10)
        thread.join(0.2)
        assert thread.is_alive()
        connection.execute(
            text(
                "INSERT INTO measurement_settings (background_percentile, measures, current)"
                " VALUES (0.5, '{}', true)"
            )
        )
        connection.execute(
            text(
                "INSERT INTO image (name, root, width, height, bit_depth, labels, label_count, cell_count, "
                "ingested_at, settings_id) VALUES ('a', '/', 1, 1, 8, '', 0, 0, '', 1)"
            )
        )
    thread.join(10)
    assert seen == [1]


@has_one_writer
def test_who_waits_too_long_is_told_why(
    url: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeouts, "BUSY_TIMEOUT_S", 0.05)
    with store.writing(), connect(url) as other:
        with (
            pytest.raises(UnavailableError, match="another process has been writing"),
            other.writing(),
        ):
            pytest.fail("two writers at once")
        assert images(other) == 0  # who reads need not wait


@is_a_file
def test_a_file_keeps_a_log_and_syncs_it(store: Store) -> None:
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "synchronous") == 2


@switches_foreign_keys
def test_foreign_keys_hold_on_every_connection(store: Store) -> None:
    with store.reading() as first, store.reading() as second, store.engine.connect() as third:
        found = [
            c.exec_driver_sql("PRAGMA foreign_keys").scalar_one() for c in (first, second, third)
        ]
    with store.writing() as fourth:
        found.append(fourth.exec_driver_sql("PRAGMA foreign_keys").scalar_one())
    assert found == [1, 1, 1, 1]


@switches_foreign_keys
def test_foreign_keys_hold_again_after_a_migration(store: Store) -> None:
    migrate.downgrade(store, "base")
    migrate.upgrade(store)
    assert pragma(store, "foreign_keys") == 1
    with pytest.raises(ZeroDivisionError), migrate._schema_transaction(store) as connection:
        assert 1 / connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one()
    assert pragma(store, "foreign_keys") == 1


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for url in (tmp_path / "no.db", str(tmp_path / "no.db"), f"sqlite:///{tmp_path / 'no.db'}"):
        with pytest.raises(
            SchemaMissingError, match=r"no\.db: no such store; 'hpastore ingest ROOT' makes one"
        ):
            connect(url)
    with pytest.raises(UsageError, match="is a folder; name a file in it"):
        connect(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_made_only_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"a\.db cannot be created: there is no folder .*none"):
        connect(tmp_path / "none" / "a.db", create=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content", [b"this is no database, but a text of some length\n" * 100, bytes(8192)]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(
    tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "cells.db"
    path.write_bytes(content)
    for use in (version.require_current, migrate.upgrade, migrate.check, images):
        with (
            connect(path, create=True) as store,
            pytest.raises(StoreError, match="is not a SQLite database"),
        ):
            use(store)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["cells.db"]
