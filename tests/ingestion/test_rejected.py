"""A rejected image is tried again when there is reason to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hpastore.errors import NotFoundError, RejectedError
from hpastore.ingestion import worker
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import plan, retry
from hpastore.ingestion.summary import Summary
from hpastore.reading import files
from hpastore.store.engine import Store
from tests.ingestion.changes import (
    ALL,
    A,
    B,
    C,
    changed,
    channel,
    failures,
    live,
    mend,
    spoil,
    take,
    touch,
)
from tests.world import (
    dataset,
    dump,
    rows,
    write_table,
)


def test_a_rejected_image_is_not_tried_again_until_a_file_changes_or_a_retry(
    store: Store, tmp_path: Path, decoded: list[str]
) -> None:
    root = dataset(tmp_path, 3)
    whole = spoil(channel(root, B))
    assert [source.name for source in plan(store, root).new] == [A, B, C]
    assert take(store, root) == Summary(new=2, rejected=1, cells=5, images_decoded=2)
    assert decoded == [A, B, C]
    for _ in range(2):
        todo = plan(store, root)
        assert (todo.work, [failure.code for failure in todo.rejected]) == (0, ["png"])
        assert take(store, root) == Summary(unchanged=2, rejected=1, rejected_before=1)
    assert decoded == [A, B, C]
    assert retry(store, [B]) == [B]
    assert [source.name for source in plan(store, root).new] == [B]
    assert take(store, root) == Summary(unchanged=2, rejected=1, rejected_before=1)
    assert plan(store, root).work == 0
    assert decoded == [A, B, C, B]
    touch(channel(root, B, "red"))  # another file of the image
    assert take(store, root).rejected == 1
    assert take(store, root).rejected == 1
    assert decoded == [A, B, C, B, B]
    mend(channel(root, B), whole)
    assert take(store, root) == Summary(new=1, unchanged=2, cells=1, images_decoded=1)
    assert failures(store) == []
    assert rows(store, "SELECT * FROM failure_file") == []


def test_retry_takes_all_or_those_that_are_named(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    for name in (A, B):
        spoil(channel(root, name))
    take(store, root)
    with pytest.raises(NotFoundError, match=f"no rejected image {C}; 'hpastore failures' lists"):
        retry(store, [B, C])
    assert plan(store, root).work == 0
    assert retry(store) == [A, B]
    assert plan(store, root).work == 2
    assert failures(store) == [(A, "png"), (B, "png")]


def test_a_stored_image_whose_file_breaks_is_known_as_rejected_and_can_be_put_back(
    store: Store, tmp_path: Path, decoded: list[str]
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    path = channel(root, B)
    status, whole = path.stat(), spoil(path)
    assert changed(plan(store, root)) == {B: ("green",)}
    assert take(store, root) == Summary(unchanged=2, rejected=1)
    assert take(store, root) == Summary(unchanged=2, rejected=1, rejected_before=1)
    assert decoded == [A, B, C, B]
    path.write_bytes(whole)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert plan(store, root).work == 0
    assert take(store, root) == Summary(unchanged=3)
    assert failures(store) == []


def test_a_row_that_is_mended_is_taken_without_a_retry(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    write_table(root, {**ALL, B: "nonsense"})
    assert take(store, root) == Summary(new=2, rejected=1, cells=5, images_decoded=2)
    write_table(root, ALL)
    assert [source.name for source in plan(store, root).new] == [B]
    assert take(store, root).new == 1
    assert failures(store) == []


def test_a_file_that_was_missing_is_taken_without_a_retry(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    away = channel(root, B).rename(tmp_path / "away.png")
    assert take(store, root).rejected == 1
    assert plan(store, root).work == 0
    away.rename(channel(root, B))
    assert plan(store, root).work == 1
    assert take(store, root).new == 1


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), FileNotFoundError()])
def test_a_file_that_could_not_be_read_for_a_moment_is_taken_without_a_retry(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError
) -> None:
    root = dataset(tmp_path, 3)
    opened = files._open

    def refuse(path: str, flags: int) -> int:
        if path == str(channel(root, B)):
            raise error
        return opened(path, flags)

    monkeypatch.setattr(files, "_open", refuse)
    assert take(store, root).rejected == 1
    (code,) = (code for _, code in failures(store))
    assert code == ("io" if isinstance(error, PermissionError) else "missing_file")
    monkeypatch.undo()
    assert plan(store, root).work == 1
    assert take(store, root).new == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_no_work_until_it_may(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    channel(root, B).chmod(0)
    assert take(store, root).rejected == 1
    assert plan(store, root).work == 0
    channel(root, B).chmod(0o600)
    assert plan(store, root).work == 1
    assert take(store, root).new == 1


def test_a_stored_image_that_cannot_be_read_now_is_rejected_and_stays(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    before = dump(store)["cell_stats"]
    touch(channel(root, B))
    monkeypatch.setattr(
        worker,
        "read_file",
        lambda path, *_: (_ for _ in ()).throw(RejectedError("io", path, "is away")),
    )
    assert changed(plan(store, root)) == {B: ("green",)}
    assert take(store, root) == Summary(unchanged=2, rejected=1)
    assert dump(store)["cell_stats"] == before
    assert live(store) == [A, B, C]
    monkeypatch.undo()
    assert take(store, root) == Summary(unchanged=3)
    assert failures(store) == []


def test_a_failure_met_in_another_split_goes_when_the_image_is_as_stored(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    away = channel(root, B).rename(tmp_path / "away.png")
    take(store, root)
    away.rename(channel(root, B))
    take(store, Layout(root, split="dev"))
    assert failures(store) == []
