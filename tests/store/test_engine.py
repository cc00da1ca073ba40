from __future__ import annotations

import threading
import traceback
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.engine import make_url

from hpastore.errors import SchemaMissingError, StoreError, UnavailableError, UsageError
from hpastore.store import engine, migrate, version
from hpastore.store.engine import Store, connect
from hpastore.store.open import open_store
from hpastore.store.write import images as writing
from tests.conftest import Server
from tests.world import dump, has_one_writer, is_a_file, measured, put, rows, scalar, switches_foreign_keys


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
    asked = [store.write(synchronous, lasting=lasting) for lasting in (True, False, False, True)]
    assert asked == [full, normal, normal, full]
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
                "INSERT INTO measurement_settings (background_percentile, version, current)"
                " VALUES (0.5, 1, true)"
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
def test_who_waits_too_long_is_told_why(url: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.05)
    with store.writing(), connect(url) as other:
        with pytest.raises(UnavailableError, match="another process has been writing"), other.writing():
            pytest.fail("two writers at once")
        assert images(other) == 0  # who reads need not wait


@is_a_file
def test_a_file_keeps_a_log_and_syncs_it(store: Store) -> None:
    assert pragma(store, "journal_mode") == "wal"
    assert pragma(store, "synchronous") == 2


@switches_foreign_keys
def test_foreign_keys_hold_on_every_connection(store: Store) -> None:
    with store.reading() as first, store.reading() as second, store.engine.connect() as third:
        found = [c.exec_driver_sql("PRAGMA foreign_keys").scalar_one() for c in (first, second, third)]
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
    with pytest.raises(SchemaMissingError):
        connect(tmp_path)  # a folder
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_made_only_in_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none is not a folder, so that a\.db cannot be made in it"):
        connect(tmp_path / "none" / "a.db", create=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"this is no database, but a text of some length\n" * 100, bytes(8192)])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "cells.db"
    path.write_bytes(content)
    for use in (version.require_current, migrate.upgrade, migrate.check, images):
        with connect(path, create=True) as store, pytest.raises(StoreError, match="is not a SQLite database"):
            use(store)
    assert path.read_bytes() == content
    assert [file.name for file in tmp_path.iterdir()] == ["cells.db"]


@pytest.mark.parametrize(
    "url",
    [
        *(
            "mysql://a/b",
            "nonsense://a",
            "sqlite://",
            "sqlite:///:memory:",
            ":memory:",
            "://",
            "postgresql://a:b:c:d/e",
        ),
        "http://example.org/cells.db",
    ],
)
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(
        UsageError, match="--db takes a file's path, sqlite:///PATH or postgresql://USER@HOST/NAME"
    ):
        connect(url)


def test_a_server_that_is_not_there_is_said_without_its_password(tmp_path: Path) -> None:
    url = f"postgresql://somebody:secret@/cells?host={tmp_path}"
    with connect(url) as store:
        with pytest.raises(UnavailableError) as caught:
            images(store)
        with pytest.raises(UnavailableError):
            migrate.upgrade(store)
    assert "secret" not in str(caught.value)
    assert "somebody" in str(caught.value)


MISREAD = [
    "postgresql://u:se@cret%word@127.0.0.1:1/none",
    "postgresql://u:100%secret@127.0.0.1:1/none",
    "postgresql://u:12?secret@127.0.0.1:1/none",
    "postgresql://u:secret@127.0.0.1:x/none",
    "postgresql://u:x:secret@127.0.0.1:y/none",
    "postgres:/u:secret@127.0.0.1/none",
    "postgresql:u:secret@127.0.0.1/none",
    "u:secret@127.0.0.1/none",
    "host=127.0.0.1 password=secret dbname=none",
    "PASSWORD = secret",
]


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("url", MISREAD)
def test_no_part_of_a_password_is_shown_of_a_url_that_cannot_be_read(
    url: str, create: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HPASTORE_DB", url)
    with pytest.raises(UsageError, match="--db") as caught:
        open_store(create=create)
    shown = "".join(traceback.format_exception(caught.value)).replace("password=secret", "")
    messages = [str(caught.value), str(caught.value.__cause__), str(caught.value.args)]
    assert not any(part in message for part in ("secret", "cret%") for message in messages)
    assert caught.value.__cause__ is None
    assert "invalid literal" not in shown
    assert list(tmp_path.iterdir()) == []


def test_what_must_be_encoded_in_a_url_is_said() -> None:
    with pytest.raises(UsageError, match=r"percent-encode @ \(%40\), % \(%25\)"):
        connect(MISREAD[0])


def test_a_password_in_the_query_of_a_url_is_used_and_not_shown(tmp_path: Path) -> None:
    url = f"postgresql://somebody@/cells?host={tmp_path}&password=secret&sslpassword=hush"
    with connect(url) as store:
        assert store.engine.url.password == "secret"
        with pytest.raises(UnavailableError) as caught:
            images(store)
        shown = f"{caught.value} {store.url} {store!r} {store.engine.url!r}"
    assert "secret" not in shown
    assert "hush" not in shown
    assert "somebody" in shown


def test_a_password_that_a_driver_quotes_is_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **options: object) -> None:
        raise psycopg.OperationalError(f"cannot connect with {options}")

    monkeypatch.setattr(psycopg, "connect", fail)
    monkeypatch.setattr(engine, "PATIENCE_S", 0)
    hidden = pytest.raises(UnavailableError, match=r"'password': '\*\*\*'")
    with connect("postgresql://u:se%40cret@127.0.0.1/db") as store, hidden as caught:
        images(store)
    assert "se@cret" not in str(caught.value)


def test_an_encoded_password_and_name_connect(server: Server) -> None:
    user, password, name = "lab%user", "p@ss%w/rd:#1=!?&", "db%41 x"
    server.admin.execute(f"""CREATE ROLE "{user}" LOGIN PASSWORD '{password}'""")
    server.admin.execute(f'CREATE DATABASE "{name}" OWNER "{user}"')
    try:
        url = make_url(server.url).set(username=user, password=password, database=name)
        with open_store(url.render_as_string(hide_password=False), create=True) as store:
            assert images(store) == 0
            assert scalar(store, "SELECT current_user || '@' || current_database()") == f"{user}@{name}"
    finally:
        server.drop(name)
        server.admin.execute(f'DROP ROLE "{user}"')


def test_a_file_may_be_called_like_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    connect("./a:b@c.db", create=True).close()
    Path("user=kim.db").touch()
    connect("user=kim.db").close()


def test_a_path_may_hold_odd_characters(tmp_path: Path) -> None:
    path = tmp_path / "a b%20?c#d.db"
    with connect(path, create=True) as store:
        migrate.upgrade(store)
        put(store, measured())
    assert path.is_file()
    with connect(path) as store:
        assert rows(store, "SELECT name FROM image") == [{"name": "a"}]
        assert store.url == str(path)
