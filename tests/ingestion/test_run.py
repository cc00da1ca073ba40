from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe
from hpastore.clean.thresholds import thresholds
from hpastore.errors import InputError, UsageError
from hpastore.ingestion import run
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import ingest, plan, retry
from hpastore.ingestion.summary import Summary
from hpastore.ingestion.worker import measure_source
from hpastore.store.engine import Store
from hpastore.vocabulary import CHANNELS
from tests.conftest import MakeStore
from tests.world import (
    SHAPE,
    TIMES,
    dataset,
    draw_channels,
    draw_mask,
    dump,
    is_a_file,
    name_of,
    replaced,
    rows,
    scalar,
    write_image,
    write_table,
)

A, B, C = map(name_of, range(3))


def take(store: Store, layout: Layout | Path, **options: Any) -> Summary:
    """Ingest in this process; without the time it took."""
    return replace(ingest(store, layout, executor="serial", **options), seconds=0)


def names(store: Store) -> list[str]:
    return [row["name"] for row in rows(store, "SELECT name FROM image ORDER BY name")]


def failures(store: Store) -> list[tuple[str, str, str]]:
    found = rows(store, "SELECT image_name, code, uri FROM failure ORDER BY image_name")
    return [(row["image_name"], row["code"], row["uri"]) for row in found]


# The usual run


def test_images_go_in(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3, nuclei=True)
    assert take(store, Layout(root, split="train")) == Summary(new=3, cells=6, images_decoded=3)
    assert names(store) == [A, B, C]
    run = rows(store, "SELECT * FROM ingest_run")[0]
    assert (run["root"], run["split"], run["added"], run["cells"]) == (str(root), "train", 3, 6)
    assert not any(
        run[name] for name in ("changed", "relabelled", "rejected", "remeasured", "gone")
    )
    assert scalar(store, "SELECT count(*) FROM ingest_run WHERE finished_at >= started_at") == 1
    assert rows(
        store,
        "SELECT mask_id, area, nucleus_area FROM cell_stats WHERE image_name = 'image-00' ORDER BY 1",
    ) == [{"mask_id": 2 * k + 1, "area": 4 * (10 + k), "nucleus_area": 16} for k in range(3)]


def test_numbers_are_those_of_the_pixels(store: Store, tmp_path: Path) -> None:
    take(store, dataset(tmp_path, 1))
    mask = draw_mask(3)
    channels = draw_channels(0, mask)
    for row in rows(store, "SELECT * FROM cell_stats"):
        inside = mask == row["mask_id"]
        for name in CHANNELS:
            level = np.quantile(channels[name][mask == 0], 0.99)
            assert row[f"{name}_intensity_max"] == channels[name][inside].max()
            assert row[f"{name}_fraction"] == np.mean(channels[name][inside] > level)


def test_a_second_run_decodes_nothing_and_changes_no_row(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 5)
    take(store, root)
    create_clean_set(store, "a")
    before = dump(store)
    assert take(store, root) == Summary(unchanged=5)
    assert plan(store, root).work == 0
    assert dump(store) == before


def test_a_plan_touches_nothing_and_says_what_is_done(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    before = dump(store)
    todo = plan(store, root)
    assert [source.name for source in todo.new] == [A, B, C]
    assert dump(store) == before
    assert take(store, root).new == todo.work


def test_two_processes_give_the_same_rows(
    make_store: MakeStore, database: str, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "data", 6, nuclei=True)
    (root / "train" / f"{C}_red.png").write_bytes(b"no picture")
    serial, pooled = make_store(database), make_store(database)
    expected = take(serial, root)
    assert replace(ingest(pooled, root, jobs=2), seconds=0) == expected
    assert expected == Summary(new=5, rejected=1, cells=11, images_decoded=5)
    assert dump(pooled, without=TIMES) == dump(serial, without=TIMES)


def test_images_in_steps_are_as_images_at_once(
    make_store: MakeStore, database: str, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "data", 4)
    once, steps = make_store(database), make_store(database)
    take(once, root)
    for limit in (1, 2, 4):
        take(steps, Layout(root, limit=limit))
    without = (*TIMES, "run_id")
    for table, found in dump(steps, without=without).items():
        assert table == "ingest_run" or found == dump(once, without=without)[table]


def test_progress_is_told(store: Store, tmp_path: Path) -> None:
    said: list[tuple[int, int]] = []
    take(store, dataset(tmp_path, 3), progress=lambda done, of: said.append((done, of)))
    assert said == [(1, 3), (2, 3), (3, 3)]


def test_uint16_is_stored_as_255_levels(store: Store, tmp_path: Path) -> None:
    take(store, dataset(tmp_path, 1, bits=16))
    assert scalar(store, "SELECT bit_depth FROM image") == 16
    pixels = draw_channels(0, draw_mask(3), 16)["green"][draw_mask(3) == 1]
    found = scalar(store, "SELECT green_intensity_max FROM cell_stats WHERE mask_id = 1")
    assert found == (int(pixels.max()) + 128) // 257


def test_images_without_labels_go_in(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 2)
    (root / "train.csv").unlink()
    assert take(store, Layout(root, labels="none")).new == 2
    assert rows(store, "SELECT DISTINCT labels, label_count FROM image") == [
        {"labels": "", "label_count": 0}
    ]
    assert thresholds(store).empty


def test_repeated_and_unsorted_labels_are_a_set(store: Store, tmp_path: Path) -> None:
    take(store, dataset(tmp_path, 3, labels=["13|13", "8|5|0", "5|0|5"]))
    assert rows(store, "SELECT labels, label_count FROM image ORDER BY name") == [
        {"labels": "13", "label_count": 1},
        {"labels": "0|5|8", "label_count": 3},
        {"labels": "0|5", "label_count": 2},
    ]
    assert thresholds(store)[["label_id", "n"]].to_numpy().tolist() == [[13, 3]]


# Changes


def test_a_changed_image_is_replaced(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    before = dump(store)
    write_image(root, B, seed=9, mask=draw_mask(5))
    assert take(store, root) == Summary(changed=1, unchanged=2, cells=5, images_decoded=1)
    assert rows(store, "SELECT name, cell_count FROM image WHERE cell_count = 5") == [
        {"name": B, "cell_count": 5}
    ]
    kept = {row for row in map(repr, before["cell_stats"]) if repr(B) not in row}
    assert kept < set(map(repr, dump(store)["cell_stats"]))
    assert take(store, root) == Summary(unchanged=3)


def test_a_nucleus_mask_that_comes_later_is_a_change(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 1)
    take(store, root)
    assert scalar(store, "SELECT count(nucleus_area) FROM cell") == 0
    dataset(root, 1, nuclei=True)
    assert take(store, root).changed == 1
    assert scalar(store, "SELECT count(nucleus_area) FROM cell") == 3


def test_new_labels_read_no_pixel(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    before = dump(store)
    write_table(root, {A: "5|3", B: "16", C: "0|16"})
    assert take(store, root) == Summary(relabelled=1, unchanged=2)
    after = dump(store)
    assert after["cell_channel"] == before["cell_channel"]
    assert rows(store, "SELECT labels FROM image WHERE name = 'image-00'") == [{"labels": "3|5"}]
    assert rows(store, "SELECT relabelled FROM ingest_run WHERE id = 2") == [{"relabelled": 1}]


# Images that cannot be taken


def cut(root: Path) -> None:
    with replaced(root / "train" / f"{B}_green.png") as path:
        path.write_bytes(path.read_bytes()[:-20])


def widen(root: Path) -> None:
    with replaced(root / "hpa_cell_mask" / f"{B}.npz") as path:
        np.savez_compressed(path, np.zeros((SHAPE[0], SHAPE[1] + 1), np.uint8))


def pickled(root: Path) -> None:
    with replaced(root / "hpa_cell_mask" / f"{B}.npz") as path:
        np.savez(path, arr_0=np.array([{}], object))


def drop(root: Path) -> None:
    (root / "train" / f"{B}_yellow.png").unlink()


def shadow(root: Path) -> None:
    path = root / "train" / f"{B}_blue.png"
    path.unlink()
    path.mkdir()


FAULTS = [
    (cut, "png", f"train/{B}_green.png"),
    (widen, "shape_mismatch", f"hpa_cell_mask/{B}.npz"),
    (pickled, "pickle", f"hpa_cell_mask/{B}.npz"),
    (drop, "missing_file", f"train/{B}_yellow.png"),
    (shadow, "io", f"train/{B}_blue.png"),
]


@pytest.mark.parametrize(
    ("damage", "code", "uri"), FAULTS, ids=lambda v: getattr(v, "__name__", "")
)
def test_a_bad_image_becomes_a_failure_and_the_others_go_on(
    store: Store, tmp_path: Path, damage: Callable[[Path], None], code: str, uri: str
) -> None:
    root = dataset(tmp_path, 3)
    damage(root)
    found = take(store, root)
    assert found == Summary(new=2, rejected=1, cells=5, images_decoded=2)
    assert names(store) == [A, C]
    assert failures(store) == [(B, code, uri)]
    for table in ("image_file", "image_channel", "cell"):
        assert scalar(store, f"SELECT count(DISTINCT image_id) FROM {table}") == 2
    assert rows(store, "SELECT message FROM failure WHERE message LIKE '%image-01%'")


def test_a_bad_image_is_tried_again_and_stored_when_it_is_mended(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    cut(root)
    take(store, root)
    first = rows(store, "SELECT first_seen, run_id FROM failure")[0]
    assert take(store, root) == Summary(unchanged=2, rejected=1, rejected_before=1)
    again = rows(store, "SELECT first_seen, run_id FROM failure")[0]
    assert again == {"first_seen": first["first_seen"], "run_id": 2}
    write_image(root, B, seed=1, mask=draw_mask(1))
    assert take(store, root) == Summary(new=1, unchanged=2, cells=1, images_decoded=1)
    assert failures(store) == []
    assert names(store) == [A, B, C]


def test_a_stored_image_whose_file_breaks_is_kept_as_it_was(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    before = dump(store)
    cut(root)
    assert take(store, root) == Summary(unchanged=2, rejected=1)
    after = dump(store)
    changed = {table for table in after if after[table] != before[table]}
    assert changed == {"failure", "failure_file", "ingest_run"}


def test_rows_of_the_table_that_make_no_sense_are_failures(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 2)
    table = root / "train.csv"
    table.write_text(f"ID,Label\n{A},19\n{B},5\n../x,1\n{C},\n")
    assert take(store, root) == Summary(new=1, rejected=3, cells=1, images_decoded=1)
    assert [(name, code) for name, code, _ in failures(store)] == [
        ("../x", "name"),
        (A, "label"),
        (C, "label"),
    ]


def test_an_empty_mask_is_stored_with_a_warning(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path, 2)
    write_image(root, A, mask=draw_mask(0))
    with caplog.at_level(logging.WARNING):
        assert take(store, root) == Summary(new=2, cells=1, images_decoded=2)
    assert caplog.messages == [f"{A}: its mask is empty; stored without cells"]
    assert rows(
        store, "SELECT cells, area_median FROM image_summary WHERE image_name = 'image-00'"
    ) == [{"cells": 0, "area_median": None}]


def test_a_fully_covered_image_is_stored_with_a_warning(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path, 1)
    write_image(root, A, mask=np.full(SHAPE, 7, np.uint8))
    with caplog.at_level(logging.WARNING):
        assert take(store, root) == Summary(new=1, cells=1, images_decoded=1)
    assert caplog.messages == [f"{A}: its cells cover the whole image; stored without fractions"]
    assert scalar(store, "SELECT count(*) FROM image_channel WHERE background_level IS NULL") == 4
    assert scalar(store, "SELECT count(fraction) FROM cell_channel") == 0
    create_clean_set(store, "a")
    assert rows(store, "SELECT mask_id, reason FROM clean_cell") == [
        {"mask_id": 7, "reason": "no_background"}
    ]


def test_an_unexpected_error_costs_one_image_until_it_is_tried_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(task: Any, root: Path, background_percentile: float) -> Any:
        assert task.source.name != B, "a bug"
        return measure_source(task, root, background_percentile)

    monkeypatch.setattr(run, "measure_source", broken)
    root = dataset(tmp_path, 3)
    assert take(store, root).rejected == 1
    assert names(store) == [A, C]
    (failure,) = rows(store, "SELECT image_name, uri, code, message FROM failure")
    message = f"{B}: hpastore failed with AssertionError: a bug; please report this"
    assert failure.pop("message").startswith(message)
    assert failure == {"image_name": B, "uri": f"train/{B}_red.png", "code": "error"}
    monkeypatch.undo()
    retry(store)
    assert take(store, root) == Summary(new=1, unchanged=2, cells=1, images_decoded=1)
    assert scalar(store, "SELECT count(*) FROM failure") == 0


# Recipes and arguments


def test_a_stores_background_percentile_is_kept(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, Layout(root, limit=1), background_percentile=0.5)
    take(store, Layout(root, limit=2))
    take(store, root, background_percentile=0.5)
    assert rows(store, "SELECT background_percentile FROM measurement_settings") == [
        {"background_percentile": 0.5}
    ]
    mask = draw_mask(2)
    level = np.quantile(draw_channels(2, mask)["green"][mask == 0], 0.5)
    join = "SELECT background_level FROM image_channel JOIN image ON id = image_id"
    assert scalar(store, f"{join} WHERE name = :name AND channel = 'green'", name=C) == level


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"background_percentile": 99},
            r"background percentile takes a share from 0 to 1, not 99; 99 % is 0\.99",
        ),
        ({"background_percentile": -1}, "not -1"),
        ({"executor": "magic"}, r"invalid --executor 'magic' \(choose from process, serial\)"),
        ({"executor": "process", "jobs": 0}, "jobs takes a number of processes, 1 or more"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    store: Store, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    before = dump(store)
    with pytest.raises(UsageError, match=message):
        ingest(store, dataset(tmp_path), **{"executor": "serial", **options})
    assert dump(store) == before


def test_a_missing_root_leaves_a_store_untouched(store: Store, tmp_path: Path) -> None:
    before = dump(store)
    with pytest.raises(InputError, match="nowhere: no such folder"):
        take(store, tmp_path / "nowhere")
    assert dump(store) == before


# Real images


def test_real_images_have_the_cells_that_others_count(store: Store, hpa_data: Path) -> None:
    root = hpa_data / "hpa"
    assert take(store, root) == Summary(new=3, cells=47, images_decoded=3)
    expected = pd.read_csv(root / "expected_cells.csv").sort_values(["ID", "cell_label"])
    found = pd.DataFrame(
        rows(
            store,
            "SELECT s.*, m.rle FROM cell_stats s JOIN cell_mask m ON m.cell_id = s.cell_id "
            "ORDER BY s.image_name, s.mask_id",
        )
    )
    same = {
        "image_name": "ID",
        "mask_id": "cell_label",
        "area": "area",
        "x": "x1",
        "y": "y1",
        "rle": "rle_counts",
        "touches_border": "touches_border",
        "green_intensity_max": "max_green",
    }
    for ours, theirs in same.items():
        assert found[ours].tolist() == expected[theirs].tolist(), ours
    assert (found["x"] + found["width"]).tolist() == expected["x2_excl"].tolist()
    assert (found["y"] + found["height"]).tolist() == expected["y2_excl"].tolist()
    assert (found["pieces"].to_numpy() <= expected["n_components4"].to_numpy()).all()
    for channel in CHANNELS:
        np.testing.assert_allclose(
            found[f"{channel}_intensity_mean"], expected[f"mean_{channel}"], atol=5e-5
        )
    labels = dict(map(tuple, found[["image_name", "labels"]].drop_duplicates().to_numpy().tolist()))
    assert sorted(labels.values()) == ["0|1|2|7", "17", "18"]
    create_clean_set(store, "a")
    dark = "SELECT count(*) FROM clean_cell WHERE label_id = 18 AND reason = 'dark'"
    assert scalar(store, dark) == 0
    assert (
        scalar(
            store,
            "SELECT count(*) FROM cell_stats WHERE label_id = 18 AND green_intensity_max < 64",
        )
        == 14
    )


def test_a_moved_root_is_recorded_and_no_pixel_is_read(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "here", 3)
    ingest(store, root, executor="serial")
    before = dump(store, without=("root", "checksum"))
    there = root.rename(tmp_path / "there")
    summary = ingest(store, there, executor="serial")
    assert (summary.unchanged, summary.images_decoded) == (3, 0)
    assert {row["root"] for row in rows(store, "SELECT root FROM image")} == {str(there)}
    after = dump(store, without=("root", "checksum"))
    assert {name for name in before if before[name] != after[name]} == {"ingest_run"}
    assert ingest(store, there, executor="serial").unchanged == 3
    assert dump(store, without=("root", "checksum")) == after


def test_an_image_that_was_bad_for_a_while_is_no_failure_any_more(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    ingest(store, root, executor="serial")
    file = root / "train" / f"{B}_green.png"
    good, stat = file.read_bytes(), file.stat()
    file.write_bytes(b"bad")
    assert ingest(store, root, executor="serial").rejected == 1
    file.write_bytes(good)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert ingest(store, root, executor="serial").unchanged == 3
    assert rows(store, "SELECT * FROM failure") == []


def test_a_touched_file_is_read_but_not_decoded_and_its_time_is_recorded(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    ingest(store, root, executor="serial")
    create_clean_set(store, "mine")
    before = dump(store, without=("mtime_ns", "checksum"))
    file = root / "train" / f"{B}_red.png"
    os.utime(file, ns=(1, 5))
    summary = ingest(store, root, executor="serial")
    assert summary == Summary(unchanged=3, seconds=summary.seconds)
    after = dump(store, without=("mtime_ns", "checksum"))
    assert {name for name in before if before[name] != after[name]} == {"ingest_run"}
    uri = f"train/{B}_red.png"
    assert scalar(store, "SELECT mtime_ns FROM image_file WHERE uri = :uri", uri=uri) == 5
    ingest(store, root, executor="serial")
    assert dump(store, without=("mtime_ns", "checksum")) == after


def test_a_touched_image_with_other_labels_is_relabelled(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    ingest(store, root, executor="serial")
    os.utime(root / "train" / f"{B}_red.png", ns=(1, 5))
    write_table(root, {A: "0", B: "3|4", C: "0|16"})
    summary = ingest(store, root, executor="serial")
    assert (summary.relabelled, summary.unchanged, summary.images_decoded) == (1, 2, 0)
    assert scalar(store, "SELECT labels FROM image WHERE name = :name", name=B) == "3|4"


def test_verdicts_that_go_with_a_changed_image_are_said(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path, 2)
    ingest(store, root, executor="serial")
    create_clean_set(store, "mine", CleanRecipe(min_green=0))
    write_image(root, A, seed=9, mask=draw_mask(3))
    caplog.clear()
    assert ingest(store, root, executor="serial").changed == 1
    (message,) = caplog.messages
    assert message.startswith(
        "1 image in clean sets changed; the clean sets keep 3 verdicts on the former cells, and"
    )


def test_a_failure_goes_when_its_row_leaves_the_table(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 2)
    write_table(root, {A: "0", B: "99", "../x": "0"})
    assert ingest(store, root, executor="serial").rejected == 2
    write_table(root, {A: "0"})
    ingest(store, Layout(root, limit=1), executor="serial")
    assert scalar(store, "SELECT count(*) FROM failure") == 2
    ingest(store, root, executor="serial")
    assert rows(store, "SELECT * FROM failure") == []


def test_another_roots_failures_stay(store: Store, tmp_path: Path) -> None:
    one, two = dataset(tmp_path / "one", 1), tmp_path / "two"
    write_table(one, {A: "0", "bad": "99"})
    ingest(store, one, executor="serial")
    write_image(two, "z")
    write_table(two, {"z": "0"})
    ingest(store, two, executor="serial")
    assert [row["image_name"] for row in rows(store, "SELECT image_name FROM failure")] == ["bad"]


def test_a_name_that_cannot_be_taken_without_a_table_is_a_failure(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 1)
    write_image(root, "my cell")
    assert ingest(store, Layout(root, labels="none"), executor="serial").rejected == 1
    (failure,) = rows(store, "SELECT image_name, code, message FROM failure")
    assert (failure["image_name"], failure["code"]) == ("my cell", "name")
    assert "rename the image's files" in failure["message"]


def test_a_split_is_recorded_when_it_is_given_later(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 2)
    ingest(store, root, executor="serial")
    assert ingest(store, Layout(root, split="dev"), executor="serial").unchanged == 2
    assert {row["split"] for row in rows(store, "SELECT split FROM image")} == {"dev"}
    ingest(store, root, executor="serial")
    assert {row["split"] for row in rows(store, "SELECT split FROM image")} == {"dev"}


def test_what_a_run_did_is_recorded_as_it_goes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(store, dataset(tmp_path, 4), executor="serial", progress=stop)
    (kept,) = rows(store, "SELECT added, cells, finished_at FROM ingest_run")
    assert kept == {"added": 2, "cells": 4, "finished_at": None}


@is_a_file
def test_what_a_summary_says_is_stored_outlives_a_power_cut(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A durable commit takes all earlier ones to the disk with it.
    durable: list[bool] = []

    def noted(self: Store, work: Callable[..., object], **options: bool) -> object:
        durable.append(options.get("durable", True))
        return written(self, work, **options)

    written = Store.write
    monkeypatch.setattr(Store, "write", noted)
    ingest(store, dataset(tmp_path, 3), executor="serial")
    assert (durable.count(False), durable[-1]) == (3, True)
