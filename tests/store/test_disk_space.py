"""An upgrade looks first whether the disk has room for it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from hpastore.errors import UnavailableError
from hpastore.runtime import failpoints
from hpastore.store import disk_space, migrate, version
from hpastore.store.engine import connect
from tests.store.test_decoding import contents, load
from tests.world import has_comments, is_a_file


class Usage(NamedTuple):
    free: int


def leave_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free))


@is_a_file
def test_an_upgrade_without_room_touches_nothing(
    empty_url: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(empty_url, "0005", database)
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    path = tmp_path / "empty.db"
    before = path.read_bytes()
    leave_free(monkeypatch, 1_234_567)
    needed = -(-(26 * len(before) // 10 + 2_000_000) // 1_000_000)
    with connect(empty_url) as store, pytest.raises(UnavailableError) as refused:
        migrate.upgrade(store)
    assert str(refused.value) == (
        f"{path}: the upgrade needs about {needed} MB in {tmp_path}, where 2 MB are free; "
        "nothing was changed; free some or move the store, and run the same command again"
    )
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_what_makes_no_copies_needs_no_room(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave_free(monkeypatch, 0)
    with connect(empty_url, create=True) as store:
        assert migrate.upgrade(store)
        assert not migrate.upgrade(store)


@is_a_file
def test_the_rest_of_an_upgrade_that_was_killed_counts_as_free(
    empty_url: str, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(empty_url, "0005", database)
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path))
    path = tmp_path / "empty.db"
    size = path.stat().st_size
    leave_free(monkeypatch, 16 * size // 10 + 2_000_000)
    with connect(empty_url) as store:
        with pytest.raises(UnavailableError):
            migrate.upgrade(store)
        (tmp_path / "empty.db.schema-0005.backup.tmp").write_bytes(bytes(size))
        assert migrate.upgrade(store)


@has_comments  # of a server
def test_what_a_server_needs_is_told_and_not_checked(
    empty_url: str,
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    load(empty_url, "0005", database)
    leave_free(monkeypatch, 0)
    caplog.set_level("INFO", "hpastore")
    with connect(empty_url) as store:
        assert migrate.upgrade(store)
    [message] = [r.getMessage() for r in caplog.records if "disk" in r.getMessage()]
    assert message.startswith("the upgrade needs about ")
    assert message.endswith(
        " MB on the server's disk, which is not checked; a full disk leaves the store as it is"
    )


def test_folders_on_one_disk_need_their_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    leave_free(monkeypatch, 100)
    assert disk_space.find_shortage([(one, 60), (other, 40)]) is None
    assert disk_space.find_shortage([(one, 60), (other, 41)]) == disk_space.Shortage(one, 101, 100)


def test_temporary_files_are_where_sqlite_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path / "missing"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert disk_space.temporary_folder() == tmp_path
    monkeypatch.setenv("SQLITE_TMPDIR", str(tmp_path.parent))
    assert disk_space.temporary_folder() == tmp_path.parent


def test_a_disk_that_fills_up_leaves_the_old_store(
    empty_url: str, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(empty_url, "0005", database)
    before = contents(empty_url)
    failpoints.reached.clear()
    monkeypatch.setenv(failpoints.VARIABLE, "schema.commit:1:full")
    with connect(empty_url) as store:
        with pytest.raises(OSError, match="No space left"):
            migrate.upgrade(store)
        assert version.current(store) == "0005"
    assert contents(empty_url) == before
