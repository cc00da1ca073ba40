"""Numbers at another percentile, without a pixel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from hpastore.errors import DamagedError, UsageError
from hpastore.ingestion import remeasure as module
from hpastore.ingestion.remeasure import BACKGROUND_PERCENTILE, remeasure
from hpastore.ingestion.run import ingest, plan
from hpastore.store.engine import Store
from hpastore.store.integrity.dump import dump
from hpastore.store.measurement_settings import stale_images
from tests.conftest import MakeStore
from tests.world import (
    SHIFT,
    SPREAD,
    dataset,
    draw_mask,
    install,
    measured,
    put,
    scalar,
    write_image,
)

STALE = "SELECT count(*) FROM image WHERE settings_id <> (SELECT id FROM measurement_settings WHERE current)"


def filled(store: Store, root: Path, background_percentile: float | None = None) -> list[str]:
    """Take seven images, one of them without a cell and one without a background; give the dump."""
    dataset(root, 5, nuclei=True)
    write_image(root, "empty", mask=draw_mask(0))
    write_image(root, "full", mask=draw_mask() * 0 + 3)
    with (root / "train.csv").open("a") as table:
        table.write("empty,3\nfull,4\n")
    ingest(store, root, executor="serial", background_percentile=background_percentile)
    return list(dump(store))


def after(calls: int) -> Callable[[], bool]:
    """Say stop after so many questions."""
    left = iter(range(calls))
    return lambda: next(left, None) is None


@pytest.mark.parametrize("share", [0.98, 0.0, 1.0])
def test_a_remeasured_store_is_as_a_fresh_one(
    make_store: MakeStore,
    database: str,
    tmp_path: Path,
    share: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With nuclei, and with measures that users added."""
    install(monkeypatch, SPREAD, SHIFT)
    ours = make_store(database)
    before = filled(ours, tmp_path / "data")
    expected = filled(make_store(database), tmp_path / "data", share)
    assert before != expected
    for path in tmp_path.rglob("*.png"):
        path.unlink()
    done = remeasure(ours, share)
    assert (done.background_percentile, done.remeasured) == (share, 7)
    assert list(dump(ours)) == expected
    assert remeasure(ours).remeasured == 0
    assert remeasure(ours, BACKGROUND_PERCENTILE).remeasured == 7
    assert list(dump(ours)) == before


def test_what_a_stopped_run_has_left_is_done_by_the_next(
    make_store: MakeStore, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    store, told = make_store(database), list[tuple[int, int]]()
    filled(store, tmp_path / "data")
    expected = filled(make_store(database), tmp_path / "data", 0.5)
    done = remeasure(store, 0.5, stop=after(2), progress=lambda *counts: told.append(counts))
    assert (done.remeasured, told, scalar(store, STALE)) == (4, [(2, 7), (4, 7)], 3)
    assert plan(store, tmp_path / "data").work == 3
    assert remeasure(store, stop=after(1)).remeasured == 2
    assert ingest(store, tmp_path / "data", executor="serial").remeasured == 1
    assert list(dump(store)) == expected


def test_the_percentile_is_that_of_the_next_ingest(store: Store, tmp_path: Path) -> None:
    assert remeasure(store, 0.75).remeasured == 0
    filled(store, tmp_path)
    assert (
        scalar(store, "SELECT background_percentile FROM measurement_settings WHERE current")
        == 0.75
    )


def test_a_store_without_images_has_nothing_to_remeasure(store: Store) -> None:
    done = remeasure(store)
    assert (done.background_percentile, done.remeasured) == (BACKGROUND_PERCENTILE, 0)


def test_a_percentage_is_refused_and_changes_nothing(store: Store, tmp_path: Path) -> None:
    filled(store, tmp_path)
    with pytest.raises(UsageError, match=r"98 % is 0\.98"):
        remeasure(store, 98)
    assert scalar(store, STALE) == 0


def test_a_batch_has_a_bounded_number_of_cells_and_an_image_at_least(store: Store) -> None:
    put(store, measured("a", n=3), measured("b", n=2), measured("c", n=4))
    put(store, measured("d", n=1), background_percentile=0.5)
    with store.reading() as connection:
        batches = [
            stale_images(connection, *most)
            for most in ((9, 9), (9, 8), (9, 5), (9, 4), (9, 1), (2, 9))
        ]
    assert [len(batch) for batch in batches] == [3, 2, 2, 1, 1, 2]


def test_an_image_that_lost_its_histograms_does_not_hold_up_the_others(store: Store) -> None:
    put(store, measured("a"), measured("b"))
    with store.writing() as connection:
        connection.execute(text("DELETE FROM image_channel WHERE image_id = 1"))
    assert remeasure(store, 0.5, stop=after(5)).remeasured == 2
    assert scalar(store, STALE) == 0


def test_an_image_that_lost_a_cell_is_not_given_the_numbers_of_another(store: Store) -> None:
    put(store, measured("a"))
    with store.writing() as connection:
        connection.execute(text("DELETE FROM cell WHERE mask_id = 1"))
    with pytest.raises(DamagedError, match=r"^image a: its cells have not all measures in \w+"):
        remeasure(store, 0.5)
    assert scalar(store, STALE) == 1
