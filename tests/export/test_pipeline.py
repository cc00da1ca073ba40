"""Every export counts what it writes, reads one state of the store, and stops at the first bad file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

import hpastore
from hpastore.errors import ExportError
from hpastore.export.manifest import Counts
from hpastore.export.pipeline import ImageCounter, Problem, Snapshot, export_folder, snapshot
from hpastore.export.selection import ExportOptions
from hpastore.model import AnnotatedImage, Annotation
from hpastore.store.engine import Store
from hpastore.vocabulary import CHANNELS
from tests.world import dataset


class Task(NamedTuple):
    file_name: str


@pytest.fixture
def filled(store: Store, tmp_path: Path) -> Store:
    hpastore.ingest(store, dataset(tmp_path / "data", 3), executor="serial")
    return store


def annotation(mask_id: int, *labels: int) -> Annotation:
    return Annotation(mask_id, labels, 0, 0, 1, 1, 1, "", None)


def write_name(task: Task, folder: Path) -> Problem | None:
    if task.file_name == "bad":
        return Problem(Path("input.png"), "is damaged")
    (folder / task.file_name).write_text(task.file_name)
    return None


def test_a_cell_with_two_labels_is_one_cell_with_two_annotations() -> None:
    images = [
        AnnotatedImage("a", 9, 9, CHANNELS, (annotation(1, 0, 5), annotation(2, 0))),
        AnnotatedImage("b", 9, 9, CHANNELS, (annotation(1, 0),)),
        AnnotatedImage("c", 9, 9, CHANNELS, ()),
    ]
    for multihot, n in ((False, 4), (True, 3)):
        counter = ImageCounter(multihot=multihot)
        assert list(counter.count(images)) == images
        assert counter.counts == Counts(images=3, cells=3, annotations=n)


def test_a_snapshot_does_not_see_what_is_written_meanwhile(filled: Store, tmp_path: Path) -> None:
    with snapshot(filled, ExportOptions()) as (connection, _, settings):
        hpastore.create_clean_set(filled, "later")
        names = connection.exec_driver_sql("SELECT name FROM clean_set").all()
    assert names == []
    assert settings is not None
    assert settings.background_percentile == 0.99


@pytest.mark.parametrize("bad", [False, True])
def test_a_folder_is_written_whole_or_not_at_all(filled: Store, tmp_path: Path, bad: bool) -> None:
    seen: list[Sequence[int]] = []

    def plan(_: Snapshot) -> tuple[list[Task], Counts]:
        return [Task("a"), Task("bad" if bad else "b")], Counts(2, 3, 4)

    out = tmp_path / "out"

    def export() -> object:
        return export_folder(
            filled,
            out,
            "names",
            ExportOptions(),
            {},
            plan,
            write_name,
            jobs=1,
            force=False,
            progress=lambda *now: seen.append(now),
        )

    if bad:
        with pytest.raises(ExportError, match=r"^input\.png: is damaged$"):
            export()
        assert not out.exists()
        assert seen == [(1, 2)]
    else:
        export()
        assert sorted(file.name for file in out.iterdir()) == ["a", "b", "manifest.json"]
        assert hpastore.verify(out) == 2
        assert seen == [(1, 2), (2, 2)]
