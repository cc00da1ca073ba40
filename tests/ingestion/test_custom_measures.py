"""Measures that users add come to images that are stored: from histograms, or from pixels read again."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

import hpastore
from hpastore.clean.create import create_clean_set
from hpastore.clean.overrides import Override, override_cells
from hpastore.clean.rules import CleanRecipe
from hpastore.ingestion import remeasure as module
from hpastore.ingestion.remeasure import remeasure
from hpastore.ingestion.run import plan, retry
from hpastore.ingestion.summary import Summary
from hpastore.kernels.custom import CustomMeasure
from hpastore.store.engine import Store
from hpastore.store.integrity.doctor import doctor
from hpastore.store.integrity.dump import dump
from tests.conftest import MakeStore
from tests.ingestion.changes import (
    ALL,
    A,
    B,
    C,
    failures,
    of_image,
    poison,
    take,
    touch,
    write_channel,
)
from tests.ingestion.test_remeasure import after, filled
from tests.world import SHIFT, SPREAD, dataset, install, rows, scalar, write_table

Patch = pytest.MonkeyPatch

FAILS = "measure bad: cell 3 in blue: ZeroDivisionError: division by zero"

VALUES = """
    SELECT image.name AS image, mask_id, measure.name AS measure, channel, value
    FROM cell_measure JOIN measure ON measure.id = measure_id
    JOIN cell ON cell.id = cell_id JOIN image ON image.id = image_id
    ORDER BY image.name, mask_id, measure.name, channel
"""
HAVE = """
    SELECT measure, version, count(*) AS images FROM image_measure GROUP BY measure, version ORDER BY measure
"""


def have(store: Store) -> dict[str, tuple[int, int]]:
    """Version and number of images by measure, if all have one version."""
    found = rows(store, HAVE)
    assert len({row["measure"] for row in found}) == len(found)
    return {row["measure"]: (row["version"], row["images"]) for row in found}


def of_version(user: CustomMeasure, version: int, times: float = 1.0) -> CustomMeasure:
    """The same measure by another formula."""
    if user.of_histogram:
        old = user.of_histogram
        return replace(user, version=version, of_histogram=lambda counts: times * old(counts))
    of_crops: Any = user.of_crops
    return replace(user, version=version, of_crops=lambda *given: times * of_crops(*given))


def as_stored(store: Store, path: Path) -> None:
    """Let the store believe that it has read a file as its folder shows it now."""
    now = path.stat()
    stamp = {"size": now.st_size, "time": now.st_mtime_ns, "uri": f"train/{path.name}"}
    with store.writing() as connection:
        statement = "UPDATE image_file SET size = :size, mtime_ns = :time WHERE uri = :uri"
        connection.execute(text(statement), stamp)


def failing_on(pixels: int, name: str = "bad") -> CustomMeasure:
    """A measure of histograms that fails on cells of this area."""

    def of_histogram(counts: Any) -> float:
        return 1 / (int(counts.sum()) - pixels)

    return CustomMeasure(name, 1, "", "Fails", of_histogram=of_histogram, channels=("blue",))


@pytest.mark.parametrize(
    ("users", "learn", "reads"),
    [
        ((SPREAD,), lambda store, root: remeasure(store).remeasured, False),
        ((SPREAD,), lambda store, root: take(store, root).remeasured, False),
        ((SHIFT, SPREAD), lambda store, root: take(store, root).remeasured, True),
    ],
    ids=["remeasure", "ingest", "pixels"],
)
def test_a_measure_that_came_later_is_as_if_it_had_always_been_there(
    make_store: MakeStore,
    database: str,
    tmp_path: Path,
    monkeypatch: Patch,
    users: tuple[CustomMeasure, ...],
    learn: Callable[[Store, Path], int],
    reads: bool,
) -> None:
    ours, root = make_store(database), tmp_path / "data"
    install(monkeypatch, *users)
    expected = filled(make_store(database), root)
    install(monkeypatch)
    assert filled(ours, root) != expected
    install(monkeypatch, *users)
    if not reads:
        poison(root)
    assert learn(ours, root) == 7
    assert list(dump(ours)) == expected
    assert doctor(ours, deep=True) == []
    assert (plan(ours, root).work, learn(ours, root)) == (0, 0)


def test_values_are_those_of_the_functions_and_nan_is_null(
    store: Store, tmp_path: Path, monkeypatch: Patch
) -> None:
    take(store, dataset(tmp_path, 3))
    install(monkeypatch, SPREAD)
    assert remeasure(store).measures == {"spread": 3}
    found = {(r["image"], r["mask_id"], r["channel"]): r["value"] for r in rows(store, VALUES)}
    cells = rows(store, "SELECT name, mask_id, channel, intensity_min, intensity_max FROM cell_channel"
                        " JOIN cell ON cell.id = cell_id JOIN image ON image.id = image_id"
                        " WHERE channel IN ('red', 'green')")  # fmt: skip
    expected = {
        (c["name"], c["mask_id"], c["channel"]): None
        if c["intensity_min"] % 2
        else c["intensity_max"] - c["intensity_min"]
        for c in cells
    }
    assert found == expected
    assert len(found) == 12
    assert {value is None for value in found.values()} == {True, False}
    (row,) = rows(store, "SELECT name, version, kind, unit, comment FROM measure")
    assert list(row.values()) == ["spread", 1, "histogram", "grey level", "Range"]


def test_a_measure_of_pixels_is_planned_and_added_without_touching_the_cells(
    store: Store, tmp_path: Path, monkeypatch: Patch
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    create_clean_set(store, "mine", CleanRecipe(min_green=0))
    override_cells(store, [Override(f"{A}:1", True)])
    kept = (
        "cell",
        "clean_set_cell",
        "cell_override",
        "cell_channel",
        "image_file",
        "clean_set_former",
    )
    before = {table: rows(store, f"SELECT * FROM {table}") for table in kept}
    install(monkeypatch, SHIFT)
    todo = plan(store, root)
    assert ([s.name for s in todo.unmeasured], todo.unchanged, todo.work) == ([A, B, C], 0, 3)
    done = take(store, root)
    assert done == Summary(remeasured=3, unchanged=3, images_decoded=3)
    assert (done.files.unchanged, done.files.stored) == (15, 0)
    assert {table: rows(store, f"SELECT * FROM {table}") for table in kept} == before
    assert scalar(store, "SELECT count(value) FROM cell_measure") == 6
    assert rows(store, "SELECT added, changed, remeasured, cells FROM ingest_run WHERE id = 2") == [
        {"added": 0, "changed": 0, "remeasured": 3, "cells": 0}
    ]


def test_an_image_that_lacks_a_measure_and_has_other_bytes_is_changed_as_always(
    store: Store, tmp_path: Path, monkeypatch: Patch
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    install(monkeypatch, SHIFT)
    write_channel(root, A, "red")  # of another size
    touch(root / "train" / f"{B}_red.png")
    write_channel(root, C, "red", seed=78)
    as_stored(store, root / "train" / f"{C}_red.png")
    todo = plan(store, root)
    assert ([c.source.name for c in todo.changed], [s.name for s in todo.unmeasured]) == (
        [A],
        [B, C],
    )
    done = take(store, root)
    assert (done.changed, done.remeasured, done.unchanged, done.images_decoded) == (2, 1, 1, 3)
    assert have(store) == {"shift": (1, 3)}
    assert plan(store, root).work == 0


def test_an_image_may_be_moved_relabelled_stale_and_lack_a_measure_at_once(
    make_store: MakeStore, database: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    ours, root = make_store(database), dataset(tmp_path / "data", 3)
    take(ours, root)
    write_table(root, {B: ALL[B], C: ALL[C]})
    take(ours, root)  # A is gone
    root = root.rename(tmp_path / "there")
    write_table(root, {**ALL, B: "5"})
    install(monkeypatch, SHIFT, SPREAD)
    todo = plan(ours, root, background_percentile=0.5)
    assert ([s.name for s in todo.unmeasured], todo.stale, todo.work) == ([A, B, C], (A, B, C), 3)
    done = take(ours, root, background_percentile=0.5)
    assert done == Summary(relabelled=1, unchanged=2, returned=1, remeasured=3, images_decoded=3)
    fresh = make_store(database)
    take(fresh, root, background_percentile=0.5)
    assert list(dump(ours)) == list(dump(fresh))
    assert doctor(ours, deep=True) == []


def test_only_what_is_of_another_version_is_computed_again_and_replaced(
    make_store: MakeStore, database: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    ours, root = make_store(database), dataset(tmp_path / "data", 3)
    install(monkeypatch, SPREAD, SHIFT)
    take(ours, root)
    asked = list[int]()
    newer = replace(of_version(SPREAD, 2, 0.5), channels=("green",), unit="step")

    def note(counts: Any) -> Any:
        asked.append(1)
        return take_of(counts)

    take_of: Any = newer.of_histogram
    noted = replace(newer, of_histogram=note)
    install(monkeypatch, noted, SHIFT)
    assert (plan(ours, root).stale, plan(ours, root).unmeasured) == ((A, B, C), ())
    assert remeasure(ours, stop=after(1)).measures == {"spread": 3}
    assert len(asked) == 6
    assert have(ours) == {"shift": (1, 3), "spread": (2, 3)}
    assert rows(ours, "SELECT version, unit FROM measure WHERE name = 'spread'") == [
        {"version": 2, "unit": "step"}
    ]
    fresh = make_store(database)
    take(fresh, root)
    assert list(dump(ours)) == list(dump(fresh))
    assert doctor(ours, deep=True) == []


def test_a_measure_that_is_uninstalled_keeps_its_rows_and_makes_nothing_stale(
    store: Store, tmp_path: Path, monkeypatch: Patch
) -> None:
    root = dataset(tmp_path, 3)
    install(monkeypatch, SPREAD, SHIFT)
    take(store, root)
    before = rows(store, VALUES)
    install(monkeypatch)
    assert plan(store, root).work == 0
    assert take(store, root, background_percentile=0.5) == Summary(remeasured=3, unchanged=3)
    assert rows(store, VALUES) == before
    install(monkeypatch, SPREAD)
    assert plan(store, root).work == 0


def test_what_an_ended_remeasure_has_left_is_done_by_the_next_with_the_percentile(
    make_store: MakeStore, database: str, tmp_path: Path, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(module, "_BATCH", 2)
    store, told = make_store(database), list[tuple[int, int]]()
    filled(store, tmp_path / "data")
    install(monkeypatch, SPREAD)
    expected = filled(make_store(database), tmp_path / "data", 0.5)
    remeasure(store, stop=after(1))
    done = remeasure(store, 0.5, stop=after(2), progress=lambda *counts: told.append(counts))
    assert (done.remeasured, done.measures, told) == (4, {"spread": 2}, [(2, 7), (4, 7)])
    assert len(plan(store, tmp_path / "data").stale) == 3
    done = remeasure(store)
    assert (done.remeasured, done.measures) == (3, {"spread": 3})
    assert list(dump(store)) == expected


def test_an_image_that_a_measure_fails_on_keeps_none_up_and_is_tried_again(
    store: Store, tmp_path: Path, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_BATCH", 1)
    root = dataset(tmp_path, 3)  # of 3, 1 and 2 cells, of 40, 44 and 48 pixels
    take(store, root)
    install(monkeypatch, failing_on(44), SPREAD)
    caplog.clear()
    done = remeasure(store)
    assert (done.remeasured, done.measures, done.failed) == (3, {"bad": 1, "spread": 3}, 2)
    assert caplog.messages == [
        f"{A} (one of 2 images): {FAILS}; fix the measure, then run hpastore remeasure"
    ]
    assert plan(store, root).stale == (A, C)
    again = take(store, root)
    assert (again.remeasured, again.failed) == (0, 2)
    install(monkeypatch, failing_on(-1), SPREAD)
    assert remeasure(store).measures == {"bad": 2}
    assert doctor(store, deep=True) == []


def test_a_measure_that_finds_no_memory_fails_on_the_image(
    store: Store, tmp_path: Path, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    def greedy(counts: Any) -> float:
        raise MemoryError

    take(store, dataset(tmp_path, 3))
    install(monkeypatch, replace(SPREAD, of_histogram=greedy))
    assert remeasure(store).failed == 3
    assert "measure spread: needs more memory than there is" in caplog.text


def test_a_stored_image_that_a_measure_of_pixels_fails_on_is_rejected_until_it_is_retried(
    store: Store, tmp_path: Path, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    broken = replace(SHIFT, of_crops=lambda mask, _: 1 / (int(mask.sum()) - 44))
    install(monkeypatch, broken)
    assert take(store, root) == Summary(remeasured=1, unchanged=1, rejected=2, images_decoded=1)
    assert failures(store) == [(A, "measure"), (C, "measure")]
    known = Summary(unchanged=1, rejected=2, rejected_before=2)
    assert (plan(store, root).work, take(store, root)) == (0, known)
    install(monkeypatch, SHIFT)
    caplog.clear()
    assert plan(store, root).work == 0
    assert take(store, root).rejected == 2
    assert caplog.messages[-1] == (
        "2 images lack a custom measure of pixels (shift); run 'hpastore retry' for the 2 images that a "
        "measure failed on, then ingest their roots again"
    )
    retry(store)
    assert take(store, root) == Summary(remeasured=2, unchanged=3, images_decoded=2)
    assert failures(store) == []
    install(monkeypatch, replace(broken, name="other"))
    assert take(store, root).rejected == 2
    install(monkeypatch, SHIFT)
    assert take(store, root) == Summary(unchanged=3)
    assert failures(store) == []


def test_an_image_that_lost_its_histograms_does_not_stay_stale_for_ever(
    store: Store, tmp_path: Path, monkeypatch: Patch
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    install(monkeypatch, SPREAD)
    with store.writing() as connection:
        connection.execute(text("DELETE FROM image_channel WHERE image_id = 1"))
    assert remeasure(store, stop=after(5)).measures == {"spread": 3}
    assert (remeasure(store).remeasured, plan(store, root).work) == (0, 0)
    assert (
        scalar(store, "SELECT count(DISTINCT image_id) FROM cell_measure JOIN cell ON id = cell_id")
        == 2
    )


def test_images_that_are_gone_learn_from_histograms_and_wait_for_their_pixels(
    store: Store, tmp_path: Path, monkeypatch: Patch, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    write_table(root, {A: ALL[A], B: ALL[B]})
    take(store, root)
    install(monkeypatch, SHIFT, SPREAD)
    caplog.clear()
    assert remeasure(store).measures == {"spread": 3}
    lacking = "2 images lack a custom measure of pixels (shift); ingest their roots again"
    assert caplog.messages == [lacking]
    assert take(store, root).remeasured == 2
    assert plan(store, root).work == 0
    write_table(root, ALL)
    assert [s.name for s in plan(store, root).unmeasured] == [C]
    assert take(store, root) == Summary(unchanged=3, returned=1, remeasured=1, images_decoded=1)
    assert scalar(store, "SELECT count(*) FROM image WHERE gone_at IS NULL") == 3


def test_a_damaged_file_of_an_image_that_lacks_a_measure_rejects_it(
    store: Store, tmp_path: Path, monkeypatch: Patch
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    install(monkeypatch, SHIFT, SPREAD)
    poison(root)
    done = take(store, root)
    assert done == Summary(rejected=3, remeasured=3)  # the histograms' one
    assert done.files.seen == 15
    assert have(store) == {"spread": (1, 3)}
    assert scalar(store, "SELECT count(*) FROM cell") == 6
    assert of_image(root, A)


def test_numbers_of_any_type_are_stored_as_reals(
    store: Store, tmp_path: Path, monkeypatch: Patch
) -> None:
    given: list[Any] = [1, np.float32(0.1), np.int64(2**53), True + 1, -0.0, math.nan]
    values = iter(given)
    install(monkeypatch, replace(SHIFT, of_crops=lambda *_: next(values)))
    take(store, dataset(tmp_path, 3))
    found = [row["value"] for row in rows(store, VALUES)]
    assert found == [1.0, float(np.float32(0.1)), 2.0**53, 2.0, 0.0, None]
    assert math.copysign(1, found[4]) == 1
    assert hpastore.doctor(store, deep=True) == []
