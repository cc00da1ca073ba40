from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

import hpastore
from hpastore.errors import ExportError, NoRoomError, StoreError
from hpastore.runtime import failpoints
from hpastore.runtime.atomic_files import lives
from hpastore.store import migrate, sqlite_file
from hpastore.store.backup import backup
from hpastore.store.engine import Store, connect
from hpastore.store.integrity.doctor import doctor
from tests.conftest import CopyOf, Figure, Trials
from tests.crash.harness import Runner
from tests.store.integrity.test_checksums import drawn, everything
from tests.store.integrity.test_doctor import path_of
from tests.world import dump, is_a_file, put, rows, scalar

WRITER = """
import itertools, sys
from hpastore.store import write
from hpastore.store.engine import connect
from tests.store.integrity.test_checksums import drawn
from tests.world import NOW

with connect(sys.argv[1]) as store:
    for i in itertools.count():
        with store.writing() as connection:
            columns = {"root": "/data", "settings_id": 1, "ingested_at": NOW}
            write.write_image(connection, drawn(f"w{i % 500}", (i % 18,), n=i % 5, seed=i % 7), columns)
            write.count_run(connection, 1, {"new": 1})
        print(i, flush=True)
"""


@pytest.fixture
def filled(copy_of: CopyOf) -> Store:
    return copy_of(everything)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "backups"
    made.mkdir()
    return made


# What it holds


def test_a_copy_is_a_store_with_the_same_rows_and_checksums(filled: Store, folder: Path) -> None:
    path = folder / "copy.db"
    assert backup(filled, path) == path
    assert names(folder) == {"copy.db"}
    with hpastore.open_store(path) as copy:
        assert copy.is_sqlite
        assert dump(copy) == dump(filled)
        assert doctor(copy, deep=True) == []
        assert migrate.check(copy) == []
        put(copy, drawn("another"))
        assert doctor(copy, deep=True) == []
    assert scalar(filled, "SELECT count(*) FROM image") == 9


def test_an_empty_store_has_a_copy(store: Store, folder: Path) -> None:
    with hpastore.open_store(backup(store, folder / "copy.db")) as copy:
        assert dump(copy) == dump(store)


@pytest.mark.soak
def test_a_copy_is_whole_while_another_process_writes_without_a_pause(
    store: Store, url: str, folder: Path, figure: Figure, trials: Trials
) -> None:
    put(store, drawn("first"))
    everything(store)
    command = [sys.executable, "-c", WRITER, url]
    writer = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert writer.stdout is not None
    try:
        tried, written = 0, 0
        while tried < trials(quick=1, full=2, soak=20) or not written:
            for _ in range(20):
                assert writer.stdout.readline()
            before = scalar(store, "SELECT added FROM ingest_run WHERE id = 1")
            path = backup(store, folder / "copy.db", force=True)
            after = scalar(store, "SELECT added FROM ingest_run WHERE id = 1")
            with hpastore.open_store(path) as copy:
                assert doctor(copy, deep=True) == []
                assert before <= scalar(copy, "SELECT added FROM ingest_run WHERE id = 1") <= after
            tried, written = tried + 1, written + after - before
        assert names(folder) == {"copy.db"}
    finally:
        writer.kill()
        writer.wait()
        writer.stdout.close()
    figure(
        f"backups of a {store.engine.dialect.name} store: {tried} whole ones, while {written} images were "
        "written during the copying"
    )


@is_a_file
def test_a_copy_ends_though_something_is_written_at_each_step(
    filled: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_file, "_PAGES", 1)
    told: list[tuple[int, int]] = []

    def write(done: int, pages: int) -> None:
        told.append((done, pages))
        assert len(told) <= pages
        put(filled, drawn("a", seed=len(told)))

    before = dump(filled)
    with hpastore.open_store(backup(filled, folder / "copy.db", progress=write)) as copy:
        assert dump(copy) == before
    assert len(told) > 20
    assert told[-1][0] == told[-1][1]


# What is not replaced


def other_file(store: Store, folder: Path) -> Path:
    (folder / "there").write_text("mine")
    return folder / "there"


def a_folder(store: Store, folder: Path) -> Path:
    return folder


def nowhere(store: Store, folder: Path) -> Path:
    return folder / "no" / "copy.db"


REFUSED: dict[Callable[[Store, Path], Path], str] = {
    other_file: "exists; choose another name, or replace it with --force",
    a_folder: "is a folder",
    nowhere: "cannot be created: there is no folder",
}


@pytest.mark.parametrize("make", REFUSED, ids=lambda make: make.__name__)
def test_what_cannot_be_the_copy_is_refused(
    store: Store, folder: Path, make: Callable[[Store, Path], Path]
) -> None:
    path = make(store, folder)
    before = names(folder)
    with pytest.raises(ExportError, match=REFUSED[make]):
        backup(store, path)
    assert names(folder) == before
    assert path.is_dir() or not path.exists() or path.read_text() == "mine"


@is_a_file
@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("kind", ["path", "relative", "symlink", "link", "log"])
def test_a_store_is_not_copied_over_itself(
    filled: Store, folder: Path, kind: str, force: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    itself, path = path_of(filled), folder / "copy.db"
    if kind == "path":
        path = itself
    elif kind == "relative":
        monkeypatch.chdir(folder)
        path = Path(os.path.relpath(itself))
    elif kind == "symlink":
        path.symlink_to(itself)
    elif kind == "link":
        path.hardlink_to(itself)
    else:
        path = Path(f"{itself}-wal")
    before = dump(filled)
    with pytest.raises(ExportError, match="is the store itself"):
        backup(filled, path, force=force)
    assert dump(filled) == before


@pytest.mark.parametrize("end", ["-wal", "-journal"])
def test_a_file_that_is_in_use_is_not_replaced(store: Store, folder: Path, end: str) -> None:
    """SQLite would put the old one's log into the new one."""
    path = folder / "copy.db"
    backup(store, path)
    before = path.read_bytes()
    (folder / f"copy.db{end}").write_bytes(b"frames")
    put(store, drawn("a"))
    with pytest.raises(
        ExportError, match=f"is in use, or was not closed properly, since copy.db{end} exists"
    ):
        backup(store, path, force=True)
    assert path.read_bytes() == before


def test_an_old_copy_is_replaced_if_that_is_wanted(store: Store, folder: Path) -> None:
    path = folder / "copy.db"
    backup(store, path)
    put(store, drawn("a"))
    backup(store, path, force=True)
    with hpastore.open_store(path) as copy:
        assert rows(copy, "SELECT name FROM image") == [{"name": "a"}]


@is_a_file
def test_a_damaged_store_does_not_take_the_place_of_a_good_copy(
    filled: Store, folder: Path
) -> None:
    path = folder / "copy.db"
    backup(filled, path)
    before = path.read_bytes()
    page = scalar(filled, "SELECT rootpage FROM sqlite_master WHERE name = 'clean_set_cell'")
    size = scalar(filled, "PRAGMA page_size")
    filled.close()
    with path_of(filled).open("r+b") as damaged:
        damaged.seek((page - 1) * size)
        damaged.write(b"\xff" * size)
    with (
        connect(path_of(filled)) as store,
        pytest.raises(StoreError, match=r"is damaged \(Page .*\), so that no backup was made"),
    ):
        backup(store, path, force=True)
    assert path.read_bytes() == before
    assert names(folder) == {"copy.db"}


# Ends before the end


def test_a_full_disk_is_said_of_the_copy(
    filled: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(failpoints.VARIABLE, "backup.copied:1:full")
    monkeypatch.setattr(failpoints, "reached", type(failpoints.reached)())
    with pytest.raises(
        NoRoomError, match=r"copy\.db: no room left on the disk; nothing was written"
    ):
        backup(filled, folder / "copy.db")
    assert names(folder) == set()


@is_a_file
def test_sqlites_word_of_a_full_disk_is_said_of_the_copy(
    filled: Store, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def copy(connection: object, target: Path, progress: object) -> None:
        del progress
        with connect(target, create=True) as small, small.writing() as writing:
            writing.execute(text("PRAGMA max_page_count = 2"))
            writing.execute(text("CREATE TABLE t AS SELECT zeroblob(100000) AS x"))

    monkeypatch.setattr(sqlite_file, "copy", copy)
    with pytest.raises(
        NoRoomError, match=r"copy\.db: no room left on the disk; nothing was written"
    ):
        backup(filled, folder / "copy.db")
    assert names(folder) == set()


@is_a_file
def test_who_stops_a_copy_leaves_nothing(filled: Store, folder: Path) -> None:
    def stop(done: int, pages: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        backup(filled, folder / "copy.db", progress=stop)
    assert names(folder) == set()


def test_what_a_killed_copy_left_is_removed_by_the_next(store: Store, folder: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = [
        f".copy.db.{pid}.tmp{end}" for pid in (dead.pid, os.getpid()) for end in ("", "-journal")
    ]
    others = [
        f".copy.db.{os.getppid()}.tmp",
        ".copy.db.x.tmp",
        f".copy.dbs.{dead.pid}.tmp",
        "copy.db.1.tmp",
    ]
    for name in left + others:
        (folder / name).write_text("")
    backup(store, folder / "copy.db")
    assert names(folder) == {"copy.db", *others}


@pytest.fixture(scope="module")
def run() -> Iterator[Runner]:
    made = Runner()
    yield made
    made.close()


@pytest.mark.full  # of the crash corpus
@pytest.mark.soak
@pytest.mark.parametrize(("action", "code"), [("kill", -9), ("full", 5)])
def test_a_copy_that_is_ended_at_any_place_leaves_the_old_one_or_the_new_one(
    store: Store, url: str, folder: Path, run: Runner, action: str, code: int, figure: Figure
) -> None:
    path = folder / "copy.db"
    put(store, drawn("a"))
    command = ("db", "backup", path, "--force")
    undisturbed = run(url, *command, failpoint="none:1:raise")
    assert undisturbed.code == 0, undisturbed.err
    reached = {place for place in undisturbed.reached if place.startswith("backup.")}
    assert len(reached) == 2
    for place in sorted(reached):
        backup(store, path, force=True)
        put(store, drawn(place))
        outcome = run(url, *command, failpoint=f"{place}:1:{action}")
        assert outcome.code == code, outcome.err
        with hpastore.open_store(path) as copy:
            assert doctor(copy, deep=True) == []
            found = scalar(copy, "SELECT count(*) FROM image")
        whole = scalar(store, "SELECT count(*) FROM image")
        assert found == (whole if place == "backup.placed" else whole - 1)
        assert run(url, *command).code == 0
        assert names(folder) == {"copy.db"}
    figure(
        f"backup of {store.engine.dialect.name} ended by {action} at {len(reached)} places: 0 torn"
    )


@is_a_file
def test_a_copy_is_as_private_as_the_store(store: Store, folder: Path) -> None:
    put(store, drawn("a"))
    path_of(store).chmod(0o600)
    assert backup(store, folder / "copy.db").stat().st_mode & 0o777 == 0o600


def test_processes_are_known_to_live_or_not() -> None:
    assert lives(os.getppid())
    assert not lives(os.getpid())
    assert lives(2**200)
