"""Numbers of another percentile, or of older measures, are computed again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe
from hpastore.ingestion.run import plan
from hpastore.ingestion.summary import Summary
from hpastore.kernels import definitions
from hpastore.kernels.definitions import VERSIONS
from hpastore.schema.views import VIEWS
from hpastore.store.engine import Store
from tests.conftest import MakeStore
from tests.ingestion.changes import (
    ALL,
    A,
    B,
    C,
    changed,
    channel,
    failures,
    poison,
    take,
    touch,
    without_row,
    write_channel,
)
from tests.world import (
    TIMES,
    dataset,
    draw_mask,
    dump,
    rows,
    write_image,
    write_table,
)


def test_another_percentile_makes_all_numbers_stale_and_reads_no_pixel(
    make_store: MakeStore, database: str, tmp_path: Path
) -> None:
    root, other = dataset(tmp_path / "data", 3), tmp_path / "other"
    write_image(other, "z", mask=draw_mask(4))
    write_table(other, {"z": "0"})
    ours, fresh = make_store(database), make_store(database)
    for folder in (root, other):
        take(ours, folder)
        take(fresh, folder, background_percentile=0.5)
    poison(tmp_path)
    assert plan(ours, root).work == 0
    assert plan(ours, root, background_percentile=0.99).work == 0
    todo = plan(ours, root, background_percentile=0.5)
    assert (todo.stale, todo.unchanged, todo.work) == ((A, B, C, "z"), 3, 4)
    assert take(ours, root, background_percentile=0.5) == Summary(remeasured=4, unchanged=3)
    assert plan(ours, root).work == 0
    assert rows(ours, "SELECT background_percentile FROM measurement_settings WHERE current") == [
        {"background_percentile": 0.5}
    ]
    without = (*TIMES, "settings_id", "id")
    found, expected = dump(ours, without=without), dump(fresh, without=without)
    for table in ("image", "image_channel", "cell", "cell_channel", *(v.table.name for v in VIEWS)):
        assert found[table] == expected[table], table


def test_an_image_may_be_relabelled_and_stale_at_once(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    write_table(root, {**ALL, A: "5"})
    todo = plan(store, root, background_percentile=0.5)
    assert ([s.name for s in todo.relabelled], todo.stale, todo.work) == ([A], (A, B, C), 3)
    done = take(store, root, background_percentile=0.5)
    assert done == Summary(relabelled=1, remeasured=3, unchanged=2)
    assert plan(store, root).work == 0


def test_a_changed_image_is_measured_with_the_new_percentile_at_once(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    write_channel(root, A, "red")
    todo = plan(store, root, background_percentile=0.5)
    assert (changed(todo), todo.stale) == ({A: ("red",)}, (B, C))
    done = take(store, root, background_percentile=0.5)
    assert (done.changed, done.remeasured, done.unchanged) == (1, 2, 2)
    assert plan(store, root).work == 0


def test_the_percentile_of_a_gone_image_follows_too(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    without_row(root)
    take(store, root)
    assert plan(store, root, background_percentile=0.5).stale == (A, B, C)
    assert take(store, root, background_percentile=0.5).remeasured == 3
    write_table(root, ALL)
    assert take(store, root) == Summary(unchanged=3, returned=1)


NEWER = dict.fromkeys(VERSIONS, 2)


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the program become one whose measures are all of the next version."""

    def newer() -> None:
        monkeypatch.setattr(definitions, "VERSIONS", NEWER)

    return newer


def unmoved(root: Path) -> Path:
    return root


def moved(root: Path) -> Path:
    return root.rename(root.parent / "there")


def touched_all(root: Path) -> Path:
    for name in (A, B, C):
        touch(channel(root, name))
    return root


def moved_and_touched(root: Path) -> Path:
    return touched_all(moved(root))


@pytest.mark.parametrize("meanwhile", [unmoved, moved, touched_all, moved_and_touched])
def test_measures_of_an_older_version_are_taken_again_from_the_pixels(
    store: Store,
    tmp_path: Path,
    newer: Callable[[], None],
    caplog: pytest.LogCaptureFixture,
    meanwhile: Callable[[Path], Path],
) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, root)
    create_clean_set(store, "mine", CleanRecipe(min_green=0))
    newer()
    root = meanwhile(root)
    todo = plan(store, root)
    assert (changed(todo), todo.work) == (dict.fromkeys((A, B, C), ()), 3)
    caplog.clear()
    assert take(store, root) == Summary(changed=3, cells=6, images_decoded=3)
    assert caplog.messages[0].startswith(
        "2 images in clean sets changed; the clean sets keep 4 verdicts on the"
    )
    (image,) = rows(
        store,
        "SELECT DISTINCT measures, root FROM image JOIN measurement_settings AS s ON s.id = settings_id",
    )
    assert (json.loads(image["measures"]), image["root"]) == (NEWER, str(root))
    assert plan(store, root).work == 0
    assert failures(store) == []


def test_another_root_of_an_older_version_is_warned_of_and_no_work(
    store: Store, tmp_path: Path, newer: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    root, other = dataset(tmp_path / "data", 3), tmp_path / "other"
    write_image(other, "z")
    write_table(other, {"z": "0"})
    take(store, root)
    take(store, other)
    newer()
    caplog.clear()
    done = take(store, other)
    assert (done.changed, done.remeasured) == (1, 3)
    lacking = "3 images lack the current version of area, border_share, brenner and 15 more"
    assert caplog.messages == [f"{lacking}; ingest their roots again"]
    assert plan(store, other).work == 0
    for path in (*(root / "train").iterdir(), *(root / "hpa_cell_mask").iterdir()):
        path.unlink()
    caplog.clear()
    assert take(store, root, allow_gone="all").gone == 3
    assert caplog.messages == []
