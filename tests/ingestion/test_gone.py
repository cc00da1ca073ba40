"""Images that left the inputs, that are pruned, and that come back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import hpastore
from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe
from hpastore.clean.thresholds import thresholds
from hpastore.errors import InputError
from hpastore.ingestion import run
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import plan
from hpastore.ingestion.summary import Summary
from hpastore.schema.views import VIEWS
from hpastore.store import write
from hpastore.store.engine import Store
from tests.ingestion.changes import (
    ALL,
    A,
    B,
    C,
    channel,
    failures,
    live,
    mend,
    of_image,
    poison,
    spoil,
    take,
    touch,
    without_row,
    write_channel,
)
from tests.world import (
    dataset,
    dump,
    name_of,
    rows,
    scalar,
    write_image,
    write_table,
)


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
    judged = "SELECT count(*) FROM clean_set_cell JOIN cell ON cell.id = cell_id JOIN image ON image.id = image_id"
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
def test_a_stored_image_with_a_bad_row_is_rejected_and_stays(
    store: Store, tmp_path: Path, row: str
) -> None:
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
        scalar(
            store, "SELECT count(*) FROM clean_set_cell WHERE cell_id NOT IN (SELECT id FROM cell)"
        )
        == 0
    )
    assert rows(store, "SELECT gone FROM ingest_run ORDER BY id DESC LIMIT 1") == [{"gone": 2}]
    assert plan(store, root, prune=True).work == 0
    assert take(store, root, prune=True) == Summary(unchanged=2)


@pytest.mark.parametrize("bad", ["missing", "row"])
def test_prune_spares_a_gone_image_that_is_back_and_bad(
    store: Store, tmp_path: Path, bad: str
) -> None:
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
