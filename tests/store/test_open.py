from __future__ import annotations

from pathlib import Path

import pytest

from hpastore.errors import SchemaMissingError, SchemaNewError, UsageError
from hpastore.store import version
from hpastore.store.engine import connect
from hpastore.store.open import default_url, open_store
from tests.world import measured, put, scalar


def test_a_store_is_made_once_and_opened_again(empty_url: str) -> None:
    with open_store(empty_url, create=True) as store:
        put(store, measured())
    for create in (True, False):
        with open_store(empty_url, create=create) as store:
            assert scalar(store, "SELECT count(*) FROM image") == 1


def test_an_empty_database_is_left_empty_unless_asked(empty_url: str) -> None:
    connect(empty_url, create=True).close()
    with pytest.raises(SchemaMissingError):
        open_store(empty_url)
    with connect(empty_url, create=True) as store:
        assert version.current(store) is None


def test_a_store_of_a_newer_program_is_refused(url: str) -> None:
    with connect(url) as store, store.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = 'ffff'")
    for create in (True, False):
        with pytest.raises(SchemaNewError):
            open_store(url, create=create)


@pytest.mark.parametrize("create", [True, False])
def test_a_folder_is_no_store(tmp_path: Path, create: bool) -> None:
    with pytest.raises(UsageError, match=f"^{tmp_path} is a folder; name a file in it$"):
        open_store(str(tmp_path), create=create)


def test_a_store_need_not_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPASTORE_DB", raising=False)
    assert default_url() == "hpastore.db"
    monkeypatch.chdir(tmp_path)
    open_store(create=True).close()
    assert (tmp_path / "hpastore.db").is_file()
    monkeypatch.setenv("HPASTORE_DB", str(tmp_path / "other.db"))
    open_store(create=True).close()
    assert (tmp_path / "other.db").is_file()
