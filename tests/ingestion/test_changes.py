"""The store follows its inputs: each kind of change, what the plan says of it, and what ingest does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import hpastore
from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe
from hpastore.clean.thresholds import thresholds
from hpastore.errors import InputError, NotFoundError, RejectedError
from hpastore.ingestion import remeasure as again
from hpastore.ingestion import run, tasks, worker, writer
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import ingest, plan, retry
from hpastore.ingestion.summary import Summary
from hpastore.kernels.definitions import VERSION
from hpastore.model import Plan
from hpastore.reading import files
from hpastore.reading.image import decode
from hpastore.schema.views import VIEWS
from hpastore.store import write
from hpastore.store.engine import Store, connect
from hpastore.vocabulary import CHANNELS
from tests.conftest import MakeStore
from tests.world import (
    TIMES,
    Array,
    dataset,
    draw_channels,
    draw_mask,
    dump,
    name_of,
    replaced,
    rows,
    scalar,
    write_image,
    write_table,
)

A, B, C = map(name_of, range(3))
ALL = {A: "0", B: "16", C: "0|16"}
"""The table of a data set of three images."""


def take(store: Store, layout: Layout | Path, **options: Any) -> Summary:
    """Ingest in this process; without the time it took."""
    return replace(ingest(store, layout, executor="serial", **options), seconds=0)


def live(store: Store) -> list[str]:
    return [row["name"] for row in rows(store, "SELECT name FROM image WHERE gone_at IS NULL ORDER BY name")]


def failures(store: Store) -> list[tuple[str, str]]:
    found = rows(store, "SELECT image_name, code FROM failure ORDER BY image_name")
    return [(row["image_name"], row["code"]) for row in found]


def changed(todo: Plan) -> dict[str, tuple[str, ...]]:
    return {change.source.name: change.roles for change in todo.changed}


def channel(root: Path, name: str, of: str = "green") -> Path:
    return root / "train" / f"{name}_{of}.png"


def mask(root: Path, name: str, ending: str = ".npz") -> Path:
    return root / "hpa_cell_mask" / f"{name}{ending}"


def of_image(root: Path, name: str) -> list[Path]:
    return [path for path in root.rglob(f"{name}*") if path.is_file()]


def touch(path: Path) -> None:
    time = path.stat().st_mtime_ns + 10**9
    os.utime(path, ns=(time, time))


def poison(root: Path) -> None:
    """Spoil all pictures and masks, though a folder does not show it: whoever reads one is found out."""
    for path in (*root.rglob("*.png"), *root.rglob("*.np?")):
        status = path.stat()
        path.write_bytes(bytes(status.st_size))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def spoil(path: Path) -> bytes:
    """Cut a file, and give what it was."""
    whole = path.read_bytes()
    with replaced(path):
        path.write_bytes(whole[:-20])
    return whole


def mend(path: Path, whole: bytes) -> None:
    with replaced(path):
        path.write_bytes(whole)


def moved_up(mask: Array) -> Array:
    """A mask a row further up: another, and most of each cell is where it was."""
    return np.roll(mask, -1, axis=0)


def same_size(path: Path) -> None:
    """Write another mask of as many bytes, a second later."""
    with replaced(path):
        np.savez(path, moved_up(draw_mask(3)))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that were decoded, or tried."""
    names: list[str] = []

    def noted(source: Any, root: Path) -> Any:
        names.append(source.name)
        return decode(source, root)

    monkeypatch.setattr(worker, "decode", noted)
    return names


# Changed: which of its files


def other_nuclei(root: Path) -> None:
    with replaced(root / "hpa_nuclei_mask" / f"{B}.npz") as path:
        np.savez_compressed(path, moved_up(draw_mask(1)))


def other_type(root: Path) -> None:
    np.save(mask(root, B, ".npy"), draw_mask(2))
    mask(root, B).unlink()


def two_of_three(root: Path) -> None:
    """One of another size, one of the same size, and one that was only touched."""
    write_channel(root, B, "red")
    same_size(mask(root, B))
    touch(channel(root, B, "blue"))


def write_channel(root: Path, name: str, of: str, seed: int = 77) -> None:
    with replaced(channel(root, name, of)) as path:
        assert cv2.imwrite(str(path), draw_channels(seed, draw_mask(2))[of])


def write_channels(root: Path) -> None:
    for of in CHANNELS:
        write_channel(root, B, of)


CHANGES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "one channel": (lambda root: write_channel(root, B, "yellow"), ("yellow",)),
    "all channels": (write_channels, CHANNELS),
    "a mask of the same size": (lambda root: same_size(mask(root, B)), ("cell_mask",)),
    "a mask of another type": (other_type, ("cell_mask",)),
    "other nuclei": (other_nuclei, ("nucleus_mask",)),
    "no nuclei any more": (lambda root: (root / "hpa_nuclei_mask" / f"{B}.npz").unlink(), ("nucleus_mask",)),
    "two of three": (two_of_three, ("red", "cell_mask")),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_plan_names_the_files_that_changed(store: Store, tmp_path: Path, case: str) -> None:
    change, roles = CHANGES[case]
    root = dataset(tmp_path, 3, nuclei=True)
    np.savez(mask(root, B), draw_mask(3))  # not compressed: of the size of others
    take(store, root)
    change(root)
    todo = plan(store, root)
    assert (changed(todo), todo.work, todo.unchanged) == ({B: roles}, 1, 2)
    done = take(store, root)
    assert (done.changed, done.unchanged, done.images_decoded) == (1, 2, 1)
    assert plan(store, root).work == 0
    kept = rows(store, "SELECT uri, sha256 FROM image_file JOIN image ON id = image_id WHERE name = :n", n=B)
    assert {row["uri"]: row["sha256"] for row in kept} == {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in of_image(root, B)
    }


def test_nuclei_that_come_are_a_change(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    dataset(root, 3, nuclei=True)
    assert changed(plan(store, root)) == dict.fromkeys((A, B, C), ("nucleus_mask",))
    assert take(store, root).changed == 3
    assert scalar(store, "SELECT count(*) FROM cell WHERE nucleus_area IS NULL") == 0


def test_a_touched_file_is_no_work_and_is_read_once(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    touch(channel(root, B))
    todo = plan(store, root)
    assert (todo.work, todo.unchanged) == (0, 3)
    assert take(store, root) == Summary(unchanged=3)
    poison(root)
    assert take(store, root) == Summary(unchanged=3)


def test_an_image_is_replaced_in_one_transaction(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    create_clean_set(store, "mine")
    before = dump(store)
    write_image(root, B, seed=9, mask=draw_mask(4))

    def fail(*_: Any) -> None:
        assert scalar_of_writer("SELECT cell_count FROM image WHERE name = 'image-01'") == 1
        raise RuntimeError("a bug")

    def scalar_of_writer(sql: str) -> Any:
        with connect(store.engine.url.render_as_string(hide_password=False)) as other:
            return scalar(other, sql)

    monkeypatch.setattr(write, "_write_cells", fail)
    with pytest.raises(RuntimeError, match="a bug"):
        take(store, root)
    after = dump(store)
    assert {table for table in after if after[table] != before[table]} == {"ingest_run"}


def test_a_changed_image_keeps_its_split_unless_another_is_to_be_given(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, Layout(root, split="train"))
    write_channel(root, A, "red")
    take(store, root)
    write_channel(root, B, "red")
    take(store, Layout(root, split="dev"))
    assert rows(store, "SELECT DISTINCT split FROM image") == [{"split": "train"}]
    write_channel(root, C, "red")
    take(store, Layout(root, split="dev"), resplit=True)
    assert rows(store, "SELECT DISTINCT split FROM image") == [{"split": "dev"}]


# Unchanged and relabelled: no file is opened


def test_nothing_is_read_where_nothing_changed(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    read = files._read

    def noted(path: Path, limit: int) -> Any:
        opened.append(path.name)
        return read(path, limit)

    root = dataset(tmp_path, 3, nuclei=True)
    take(store, root)
    poison(root)
    monkeypatch.setattr(files, "_read", noted)
    todo = plan(store, root)
    assert todo == Plan(unchanged=3, unchanged_files=18)
    assert opened == ["train.csv"]
    before = dump(store)
    assert take(store, root) == Summary(unchanged=3)
    assert dump(store) == before


def test_new_labels_read_no_pixel(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    before = dump(store)
    poison(root)
    write_table(root, {A: "5|3", B: "16", C: "7"})
    assert [source.name for source in plan(store, root).relabelled] == [A, C]
    assert take(store, root) == Summary(relabelled=2, unchanged=1)
    found = rows(store, "SELECT name, labels, label_count FROM image ORDER BY name")
    assert [(row["labels"], row["label_count"]) for row in found] == [("3|5", 2), ("16", 1), ("7", 1)]
    after = dump(store)
    tables = {table for table in after if after[table] != before[table]} - {v.table.name for v in VIEWS}
    assert tables == {"image", "image_label", "ingest_run"}
    assert thresholds(store)["label_id"].tolist() == [7, 16]


def test_a_label_that_is_named_twice_is_told(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path, 3)
    write_table(root, {A: "0|0", B: "13|13", C: "0|16"})
    with caplog.at_level("INFO"):
        take(store, root)
    assert caplog.messages == ["2 rows name a label twice, which counts once"]
    write_table(root, {A: "0", B: "13", C: "16|0"})
    assert take(store, root) == Summary(unchanged=3)


def test_an_image_relabelled_and_touched_is_relabelled_without_decoding(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    touch(channel(root, A))
    write_table(root, {**ALL, A: "5"})
    todo = plan(store, root)
    assert ([s.name for s in todo.relabelled], todo.work) == ([A], 1)
    assert take(store, root) == Summary(relabelled=1, unchanged=2)
    assert plan(store, root).work == 0


# Gone


def without_row(root: Path) -> None:
    write_table(root, {A: "0", C: "0|16"})


def without_files(root: Path) -> None:
    for path in of_image(root, B):
        path.unlink()


@pytest.mark.parametrize("leave", [without_row, without_files])
def test_a_gone_image_leaves_all_that_is_live_and_nothing_that_was_kept(
    store: Store, tmp_path: Path, leave: Callable[[Path], None]
) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, root)
    create_clean_set(store, "mine", CleanRecipe(min_green=0))
    kept = rows(store, "SELECT * FROM clean_set_cell ORDER BY cell_id, label_id")
    leave(root)
    todo = plan(store, root)
    assert (todo.gone, todo.work, todo.unchanged) == ((B,), 1, 2)
    assert take(store, root) == Summary(gone=1, unchanged=2)
    assert rows(store, "SELECT gone FROM ingest_run WHERE id = 2") == [{"gone": 1}]
    assert live(store) == [A, C]
    for view in VIEWS:
        if "image_name" in view.table.c:
            held = rows(store, f"SELECT DISTINCT image_name FROM {view.table.name}")
            assert B not in {row["image_name"] for row in held}, view.table.name
    assert thresholds(store)["label_id"].tolist() == [0]
    assert rows(store, "SELECT n FROM label_threshold WHERE label_id = 16") == [{"n": 0}]
    assert rows(store, "SELECT * FROM clean_set_cell ORDER BY cell_id, label_id") == kept
    made = create_clean_set(store, "mine", CleanRecipe(min_green=0))
    assert made is not None
    judged = (
        "SELECT count(*) FROM clean_set_cell JOIN cell ON cell.id = cell_id JOIN image ON image.id = image_id"
    )
    assert scalar(store, f"{judged} WHERE name = :n AND clean_set_id = 2", n=B) == 0
    for options in ({}, {"options": hpastore.ExportOptions(clean="mine@1")}):
        hpastore.export_coco(store, tmp_path / "out.json", *options.values(), force=True)
        assert B not in json.dumps(json.loads((tmp_path / "out.json").read_text()))
    status = hpastore.status(store)
    assert (status.images, status.gone, status.cells) == (2, 1, 5)


def test_a_gone_image_is_no_work_any_more(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    without_row(root)
    take(store, root)
    before = dump(store)
    assert plan(store, root).work == 0
    assert take(store, root) == Summary(unchanged=2)
    assert dump(store) == before


def test_an_image_with_one_file_left_is_rejected_and_stays(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    for path in of_image(root, B)[1:]:
        path.unlink()
    assert take(store, root) == Summary(unchanged=2, rejected=1)
    assert live(store) == [A, B, C]
    assert failures(store) == [(B, "missing_file")]


@pytest.mark.parametrize("row", ["19", "", "0\nimage-01,1"], ids=["no label", "empty", "two rows"])
def test_a_stored_image_with_a_bad_row_is_rejected_and_stays(store: Store, tmp_path: Path, row: str) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    before = dump(store)["image"]
    write_table(root, {**ALL, B: row})
    assert plan(store, root).work == 1
    assert take(store, root) == Summary(unchanged=2, rejected=1)
    assert plan(store, root).work == 0
    assert take(store, root) == Summary(unchanged=2, rejected=1, rejected_before=1)
    assert dump(store)["image"] == before
    assert "line 3" in rows(store, "SELECT message FROM failure")[0]["message"] or "line 4" in str(
        rows(store, "SELECT message FROM failure")
    )
    write_table(root, ALL)
    assert take(store, root) == Summary(unchanged=3)
    assert failures(store) == []


def test_other_roots_are_not_gone_and_other_splits_are(store: Store, tmp_path: Path) -> None:
    one, two = dataset(tmp_path / "one", 3), tmp_path / "two"
    write_image(two, "z")
    write_table(two, {"z": "0"})
    take(store, Layout(one, split="train"))
    take(store, two)
    assert live(store) == [A, B, C, "z"]
    write_table(one, {C: "0|16"})
    assert plan(store, one).gone == (A, B)
    assert take(store, one) == Summary(gone=2, unchanged=1)
    assert live(store) == [C, "z"]


@pytest.mark.parametrize("text", ["", "ID,Label\n", "ID\n"], ids=["empty", "no rows", "no labels"])
def test_a_table_that_holds_nothing_is_refused_and_calls_none_gone(
    store: Store, tmp_path: Path, text: str
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    before = dump(store)
    (root / "train.csv").write_text(text)
    for act in (plan, take):
        with pytest.raises(InputError, match=r"train\.csv: "):
            act(store, root)
    assert dump(store) == before


def test_a_limit_calls_none_gone_and_prunes_none(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    write_table(root, {A: "0"})
    take(store, root)
    write_table(root, {A: "0", C: "0|16"})
    assert plan(store, Layout(root, limit=1)).work == 0
    caplog.clear()
    assert take(store, Layout(root, limit=1), prune=True) == Summary(unchanged=1)
    assert caplog.messages == ["--prune deletes nothing: with --limit, no image counts as gone"]
    assert scalar(store, "SELECT count(*) FROM image") == 3


def test_an_image_that_is_back_is_live_again(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    create_clean_set(store, "mine")
    before = dump(store)
    without_row(root)
    take(store, root)
    write_table(root, ALL)
    poison(root)
    todo = plan(store, root)
    assert (todo.returned, todo.unchanged, todo.work) == ((B,), 3, 1)
    assert take(store, root) == Summary(unchanged=3, returned=1)
    after = dump(store)
    assert {table for table in after if after[table] != before[table]} == {"ingest_run"}
    assert plan(store, root).work == 0


def relabelled(root: Path) -> None:
    write_table(root, {**ALL, B: "7"})


def rewritten(root: Path) -> None:
    write_table(root, ALL)
    write_channel(root, B, "red")


def touched(root: Path) -> None:
    write_table(root, ALL)
    touch(channel(root, B, "red"))


@pytest.mark.parametrize(
    ("back", "done"),
    [
        (relabelled, Summary(relabelled=1, unchanged=2, returned=1)),
        (rewritten, Summary(changed=1, unchanged=2, returned=1, cells=1, images_decoded=1)),
        (touched, Summary(unchanged=3, returned=1)),
    ],
)
def test_an_image_that_is_back_otherwise_is_live_too(
    store: Store, tmp_path: Path, back: Callable[[Path], None], done: Summary
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    without_row(root)
    take(store, root)
    back(root)
    assert plan(store, root).work == 1
    assert take(store, root) == done
    assert live(store) == [A, B, C]
    assert plan(store, root).work == 0


def test_prune_deletes_what_is_gone_of_this_root(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, other = dataset(tmp_path / "data", 4), tmp_path / "other"
    for name in ("y", "z"):
        write_image(other, name)
    write_table(other, {"y": "0", "z": "0"})
    take(store, root)
    take(store, other)
    take(store, Layout(other, split="dev", limit=0))
    create_clean_set(store, "mine", CleanRecipe(min_green=0))
    write_table(root, {A: "0", B: "16", C: "0|16"})
    write_table(other, {"z": "0"})
    take(store, root)
    take(store, other)
    write_table(root, {A: "0", B: "16"})
    poison(root)
    todo = plan(store, root, prune=True)
    assert (todo.gone, todo.pruned, todo.work) == ((C,), (C, name_of(3)), 2)
    caplog.clear()
    assert take(store, root, prune=True) == Summary(gone=2, unchanged=2)
    assert caplog.messages == ["2 gone images were deleted; clean sets keep 3 verdicts on them"]
    found = rows(store, "SELECT name FROM image ORDER BY name")
    assert [row["name"] for row in found] == [A, B, "y", "z"]
    assert (
        scalar(store, "SELECT count(*) FROM clean_set_cell WHERE cell_id NOT IN (SELECT id FROM cell)") == 0
    )
    assert rows(store, "SELECT gone FROM ingest_run ORDER BY id DESC LIMIT 1") == [{"gone": 2}]
    assert plan(store, root, prune=True).work == 0
    assert take(store, root, prune=True) == Summary(unchanged=2)


@pytest.mark.parametrize("bad", ["missing", "row"])
def test_prune_spares_a_gone_image_that_is_back_and_bad(store: Store, tmp_path: Path, bad: str) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    without_row(root)
    take(store, root)
    if bad == "missing":
        write_table(root, ALL)
        channel(root, B).unlink()
    else:
        write_table(root, {**ALL, B: "99"})
    assert plan(store, root, prune=True).pruned == ()
    assert take(store, root, prune=True) == Summary(unchanged=2, rejected=1)
    assert scalar(store, "SELECT count(*) FROM image") == 3


def test_prune_spares_a_gone_image_that_is_back_and_changed_until_it_is_replaced(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path, 3)
    take(store, root)
    without_row(root)
    take(store, root)
    rewritten(root)
    whole = spoil(channel(root, B, "blue"))
    assert take(store, root, prune=True) == Summary(unchanged=2, rejected=1)
    assert scalar(store, "SELECT count(*) FROM image") == 3
    mend(channel(root, B, "blue"), whole)
    assert take(store, root, prune=True).changed == 1


def test_what_another_process_took_meanwhile_is_left_to_it(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, root)
    write_table(root, {A: "5"})

    def meanwhile(place: str) -> None:
        if place == "ingest.planned":
            with store.writing() as connection:
                write.delete_images(connection, [A])
                write.move_images(connection, [B], "/elsewhere", None)

    monkeypatch.setattr(run, "failpoint", meanwhile)
    take(store, root, prune=True)
    assert rows(store, "SELECT name, root FROM image") == [{"name": B, "root": "/elsewhere"}]
    assert live(store) == [B]
    monkeypatch.undo()
    assert take(store, root).new == 1


# Stale


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


def test_a_changed_image_is_measured_with_the_new_percentile_at_once(store: Store, tmp_path: Path) -> None:
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


@pytest.fixture
def newer(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Let the program become one whose measures are of the next version."""

    def newer() -> None:
        for module in (tasks, writer, again):
            monkeypatch.setattr(module, "VERSION", VERSION + 1)

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
    assert rows(
        store,
        "SELECT DISTINCT version, root FROM image JOIN measurement_settings AS s ON s.id = settings_id",
    ) == [{"version": VERSION + 1, "root": str(root)}]
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
    assert take(store, other).changed == 1
    assert caplog.messages == [
        "3 images have measures of another version of hpastore; ingest their roots again"
    ]
    assert plan(store, other).work == 0
    for path in (*(root / "train").iterdir(), *(root / "hpa_cell_mask").iterdir()):
        path.unlink()
    caplog.clear()
    assert take(store, root, allow_gone="all").gone == 3
    assert caplog.messages == []


# Rejected


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
        worker, "read_file", lambda path, *_: (_ for _ in ()).throw(RejectedError("io", path, "is away"))
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


# Roots


def test_a_moved_root_is_read_in_no_part(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "here", 3)
    spoil(channel(root, C))
    take(store, root)
    there = root.rename(tmp_path / "there")
    poison(there)
    assert plan(store, there).work == 0
    assert take(store, there) == Summary(unchanged=2, rejected=1, rejected_before=1)
    assert rows(store, "SELECT DISTINCT root FROM image") == [{"root": str(there)}]
    write_table(there, {A: "0", B: "16"})
    assert take(store, there) == Summary(unchanged=2)
    assert failures(store) == []


@pytest.mark.parametrize("fault", [spoil, Path.unlink])
def test_a_stored_image_that_is_bad_for_a_while_moves_with_its_root(
    store: Store, tmp_path: Path, fault: Callable[[Path], Any]
) -> None:
    root = dataset(tmp_path / "here", 3)
    take(store, root)
    fault(channel(root, B))
    take(store, root)
    there = root.rename(tmp_path / "there")
    assert take(store, there) == Summary(unchanged=2, rejected=1, rejected_before=1)
    write_channel(there, B, "green")
    assert take(store, there).changed == 1
    write_table(there, {A: "0"})
    assert take(store, there).gone == 2


def test_the_same_bytes_in_another_root_are_relocated(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "one", 3)
    take(store, root)
    create_clean_set(store, "mine")
    before = dump(store, without=("root", "mtime_ns", "checksum"))
    copy = tmp_path / "two"
    shutil.copytree(root, copy, copy_function=shutil.copyfile)
    for path in (*(root / "train").iterdir(), *(root / "hpa_cell_mask").iterdir()):
        path.unlink()
    todo = plan(store, copy)
    assert (todo.work, todo.unchanged) == (0, 3)
    assert take(store, copy) == Summary(unchanged=3)
    assert rows(store, "SELECT DISTINCT root FROM image") == [{"root": str(copy)}]
    after = dump(store, without=("root", "mtime_ns", "checksum"))
    assert {table for table in after if after[table] != before[table]} == {"ingest_run"}
    write_table(root, {})
    write_image(root, "new")
    write_table(root, {"new": "0"})
    assert take(store, root).gone == 0


@pytest.mark.parametrize("size", ["same", "other"])
def test_other_bytes_in_another_root_are_a_conflict_and_the_stored_image_stays(
    store: Store, tmp_path: Path, size: str, decoded: list[str]
) -> None:
    one, two = dataset(tmp_path / "one", 3), tmp_path / "two"
    np.savez(mask(one, B), draw_mask(3))
    take(store, one)
    before = dump(store)
    shutil.copytree(one, two)
    if size == "same":
        same_size(mask(two, B))
    else:
        write_channel(two, B, "red")
    todo = plan(store, two)
    assert (todo.work, [f.code for f in todo.rejected], todo.unchanged) == (1, ["conflict"], 2)
    decoded.clear()
    for before_it in range(2):
        assert take(store, two) == Summary(unchanged=2, rejected=1, rejected_before=before_it)
    assert failures(store) == [(B, "conflict")]
    assert f"from {one};" in rows(store, "SELECT message FROM failure")[0]["message"]
    assert decoded == []
    assert rows(store, "SELECT DISTINCT root FROM image") == [{"root": str(one)}]
    assert dump(store)["cell_stats"] == before["cell_stats"]
    write_table(one, {A: "0"})
    take(store, one, prune=True)
    assert [source.name for source in plan(store, two).new] == [B, C]
    assert take(store, two).new == 2


def test_names_that_differ_by_case_only_are_refused_in_any_run(store: Store, tmp_path: Path) -> None:
    root, other = tmp_path / "one", tmp_path / "two"
    for folder, name in ((root, "cell"), (other, "CELL")):
        write_image(folder, name)
        write_table(folder, {name: "0"})
    take(store, root)
    assert [failure.code for failure in plan(store, other).rejected] == ["duplicate"]
    assert take(store, other) == Summary(rejected=1)
    message = "CELL: the store has cell, which differs only in case; rename one of them"
    assert rows(store, "SELECT message FROM failure") == [{"message": message}]
    write_image(root, "Cell")
    assert take(store, Layout(root, labels="none")) == Summary(rejected=2)
    assert failures(store) == [(name, "duplicate") for name in ("CELL", "Cell", "cell")]
    for path in of_image(root, "cell"):
        path.unlink()
    assert take(store, Layout(root, labels="none"), allow_gone=1).new == 1
    assert live(store) == ["Cell"]
