"""How a store is named, and what messages may show of it."""

from __future__ import annotations

import traceback
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from hpastore.errors import UnavailableError, UsageError
from hpastore.store import migrate, timeouts
from hpastore.store.engine import Store, connect
from hpastore.store.open import open_store
from tests.conftest import Server
from tests.world import measured, put, rows, scalar


def images(store: Store) -> int:
    return int(scalar(store, "SELECT count(*) FROM image"))


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
    monkeypatch.setattr(timeouts, "RECONNECT_TIMEOUT_S", 0)
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
            assert (
                scalar(store, "SELECT current_user || '@' || current_database()")
                == f"{user}@{name}"
            )
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
