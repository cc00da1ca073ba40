"""Roots are places: through links, after moves, on a mount that is empty."""

from __future__ import annotations

import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hpastore
from hpastore.errors import InputError, NotFoundError, UsageError
from hpastore.ingestion import mismatch
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.run import forget, ingest, plan
from hpastore.ingestion.summary import Move, Summary
from hpastore.store.engine import Store
from tests.world import (
    dataset,
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
LABELS = ("0", "16", "0|16", "18", "7")


def take(store: Store, layout: Layout | Path, **options: object) -> Summary:
    return ingest(store, layout, executor="serial", **options)  # type: ignore[arg-type]  # by name


def table(n: int) -> dict[str, str]:
    return {name_of(i): LABELS[i % len(LABELS)] for i in range(n)}


def live(store: Store) -> list[str]:
    return [
        row["name"]
        for row in rows(store, "SELECT name FROM image WHERE gone_at IS NULL ORDER BY name")
    ]


def roots(store: Store) -> list[str]:
    return [row["root"] for row in rows(store, "SELECT DISTINCT root FROM image ORDER BY root")]


def counts(summary: Summary) -> dict[str, int]:
    """What is not zero."""
    named = ("new", "changed", "relabelled", "gone", "returned", "resplit", "unchanged", "rejected")
    return {name: getattr(summary, name) for name in named if getattr(summary, name)}


def take_out(root: Path, name: str) -> None:
    for path in root.rglob(f"{name}*"):
        path.unlink()


def segment_again(root: Path, name: str) -> None:
    with replaced(root / "hpa_cell_mask" / f"{name}.npz") as path:
        np.savez_compressed(path, draw_mask(5))


def copy_without_times(root: Path, target: Path) -> Path:
    return Path(shutil.copytree(root, target, copy_function=shutil.copyfile))


# Links


def test_a_root_is_stored_by_its_real_path(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3)
    (tmp_path / "link").symlink_to(root)
    take(store, tmp_path / "link")
    assert roots(store) == [str(root.resolve())]
    assert plan(store, root).work == 0
    assert counts(take(store, root)) == {"unchanged": 3}


def test_images_leave_and_change_through_any_path_to_their_root(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "data", 3)
    (tmp_path / "link").symlink_to(root)
    take(store, root)
    take_out(root, C)
    segment_again(root, B)
    write_table(root, {A: "0", B: "16"})
    assert counts(take(store, tmp_path / "link")) == {"changed": 1, "gone": 1, "unchanged": 1}
    assert (live(store), roots(store)) == ([A, B], [str(root.resolve())])


def test_a_root_that_was_stored_by_a_link_is_that_of_its_folder(
    store: Store, tmp_path: Path
) -> None:
    """As stores of older schemas have it."""
    root = dataset(tmp_path / "data", 3)
    (tmp_path / "link").symlink_to(root)
    write_table(root, {**table(3), "bad": "99"})
    take(store, root)
    with store.writing() as connection:
        for table_of_roots in ("image", "ingest_run"):
            connection.exec_driver_sql(f"UPDATE {table_of_roots} SET root = '{tmp_path / 'link'}'")
    take_out(root, C)
    write_table(root, {A: "0", B: "16"})
    assert counts(take(store, root)) == {"gone": 1, "unchanged": 2}
    assert roots(store) == [str(root.resolve())]
    assert len(hpastore.failures(store)) == 0
    assert plan(store, root).work == 0


def test_an_images_folder_through_a_link_to_its_root_lies_in_it(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "data", 3)
    (tmp_path / "link").symlink_to(root)
    take(store, root)
    through = Layout(root, images=tmp_path / "link" / "train")
    assert plan(store, through) == plan(store, root)


# Moves


@pytest.mark.parametrize("through", ["rename", "copy"])
def test_a_root_moves_with_the_images_that_left_it_and_those_that_changed(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture, through: str
) -> None:
    root, moved = dataset(tmp_path / "data", 10), tmp_path / "moved"
    take(store, root)
    before = moments_of_storing(store)
    if through == "rename":
        root.rename(moved)
    else:
        copy_without_times(root, moved)
        shutil.rmtree(root)
    take_out(moved, name_of(9))
    write_table(moved, table(9))
    segment_again(moved, name_of(2))
    caplog.set_level(logging.INFO)
    summary = take(store, moved)
    assert counts(summary) == {"changed": 1, "gone": 1, "unchanged": 8}
    assert summary.moves == (Move(str(root), 10),)
    assert f"{root} has moved to {moved}, with its 10 images" in caplog.messages
    assert (roots(store), len(live(store))) == ([str(moved)], 9)
    after = moments_of_storing(store)
    assert {name for name in after if after[name] != before[name]} == {name_of(2)}
    assert plan(store, moved).work == 0
    assert counts(take(store, moved)) == {"unchanged": 9}


def moments_of_storing(store: Store) -> dict[str, object]:
    return {
        row["name"]: row["ingested_at"]
        for row in rows(store, "SELECT name, ingested_at FROM image")
    }


def test_images_that_were_gone_and_rejected_ones_move_with_their_root(
    store: Store, tmp_path: Path
) -> None:
    root, moved = dataset(tmp_path / "data", 6), tmp_path / "moved"
    (root / "train" / f"{name_of(4)}_red.png").write_bytes(b"no picture")
    take(store, root)
    write_table(root, {name: labels for name, labels in table(6).items() if name != name_of(5)})
    take(store, root)
    assert len(hpastore.failures(store)) == 1
    root.rename(moved)
    summary = take(store, moved)
    assert (counts(summary), summary.rejected_before) == ({"unchanged": 4, "rejected": 1}, 1)
    assert roots(store) == [str(moved)]
    assert hpastore.failures(store)["message"][0].startswith(
        f"{moved}/train/{name_of(4)}_red.png: "
    )
    take_out(moved, name_of(4))
    write_table(moved, table(4))
    take(store, moved)
    assert len(hpastore.failures(store)) == 0


def test_fewer_than_four_fifths_are_no_move_until_somebody_says_so(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, moved = dataset(tmp_path / "data", 10), tmp_path / "moved"
    take(store, root)
    root.rename(moved)
    for i in range(7, 10):
        take_out(moved, name_of(i))
    write_table(moved, table(7))
    segment_again(moved, B)
    todo = plan(store, moved)
    assert [failure.code for failure in todo.rejected] == ["conflict"]
    assert f"--moved-from {root}" in todo.rejected[0].message
    assert (
        f"the root {root}, with 10 images (at least 7 of them were found in this run), does not exist"
        in caplog.text
    )
    summary = take(store, moved, moved_from=[root])
    assert counts(summary) == {"changed": 1, "gone": 3, "unchanged": 6}
    assert (roots(store), len(live(store))) == ([str(moved)], 7)
    assert plan(store, moved).work == 0


@pytest.mark.parametrize(("left", "moves"), [(8, True), (7, False)])
def test_four_fifths_of_the_live_images_are_enough(
    store: Store, tmp_path: Path, left: int, moves: bool
) -> None:
    root, moved = dataset(tmp_path / "data", 12), tmp_path / "moved"
    take(store, root)
    write_table(root, table(10))
    take(store, root)
    root.rename(moved)
    write_table(moved, table(left))
    assert plan(store, moved).gone == (tuple(map(name_of, range(left, 10))) if moves else ())


def test_other_channels_of_the_same_names_are_no_move(store: Store, tmp_path: Path) -> None:
    root, other = dataset(tmp_path / "data", 3), tmp_path / "other"
    take(store, root)
    shutil.rmtree(root)
    for i in range(3):
        write_image(other, name_of(i), seed=100 + i)
    write_table(other, table(3))
    before = dump(store, without=("run_id",))
    summary = take(store, other)
    assert counts(summary) == {"rejected": 3}
    assert dump(store)["image"] == before["image"]


def test_a_root_that_is_still_there_has_not_moved(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 10)
    take(store, root)
    copy = Path(shutil.copytree(root, tmp_path / "copy"))
    segment_again(copy, B)
    assert [failure.code for failure in plan(store, copy).rejected] == ["conflict"]
    with pytest.raises(UsageError, match="still exists, so it has not moved to"):
        take(store, copy, moved_from=[root])
    assert roots(store) == [str(root)]


def test_a_root_with_none_of_its_channels_has_not_moved_here(store: Store, tmp_path: Path) -> None:
    root, other = dataset(tmp_path / "my data", 3), tmp_path / "other"
    take(store, root)
    shutil.rmtree(root)
    for i in range(3):
        write_image(other, name_of(i), seed=100 + i)
    write_table(other, table(3))
    message = f"none of its 3 images was found there with the same channels; hpastore forget '{root}' marks"
    with pytest.raises(UsageError, match=re.escape(message)):
        take(store, other, moved_from=[root])
    assert roots(store) == [str(root)]


def test_images_stay_in_the_root_where_they_still_are(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path / "data", 4)
    take(store, Layout(root, split="train"))
    before = dump(store)
    trial = copy_without_times(root, tmp_path / "trial")
    write_table(trial, {A: "7", B: "16"})
    caplog.set_level(logging.INFO)
    for layout in (Layout(trial), Layout(trial, split="val")):
        assert plan(store, layout).work == 0
        assert counts(take(store, layout)) == {"unchanged": 2}
    assert (
        f"2 images are stored from {root}, where their files still exist, and stay there"
        in caplog.messages
    )
    take_out(trial, B)
    write_table(trial, {A: "7"})
    assert counts(take(store, trial)) == {"unchanged": 1}
    shutil.rmtree(trial)
    assert {name for name, rows in dump(store).items() if rows != before[name]} <= {"ingest_run"}
    with pytest.raises(NotFoundError, match="no images of the root"):
        forget(store, trial)


def test_images_that_left_a_root_for_another_move_one_by_one(store: Store, tmp_path: Path) -> None:
    root, other = dataset(tmp_path / "data", 4), tmp_path / "other"
    take(store, Layout(root, split="train"))
    copy_without_times(root, other)
    take_out(root, A)
    write_table(other, {A: "0"})
    assert counts(take(store, Layout(other, split="val"), resplit=True)) == {
        "resplit": 1,
        "unchanged": 1,
    }
    found = rows(store, "SELECT root, split FROM image WHERE name = :n", n=A)
    assert found == [{"root": str(other), "split": "val"}]
    write_table(root, table(4))
    assert plan(store, root).gone == ()


def test_a_root_that_may_not_be_looked_at_is_taken_to_be_there(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, moved = dataset(tmp_path / "data", 5), tmp_path / "moved"
    take(store, root)
    root.rename(moved)
    segment_again(moved, B)
    stat = os.stat

    def refused(path: Any, **options: Any) -> os.stat_result:
        if str(path) == str(root):
            raise PermissionError(13, "Permission denied", str(root))
        return stat(path, **options)

    monkeypatch.setattr(os, "stat", refused)
    assert [failure.code for failure in plan(store, moved).rejected] == ["conflict"]


def test_a_root_that_nobody_stored_cannot_have_moved(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, root)
    with pytest.raises(NotFoundError, match="no images of the root /nowhere"):
        take(store, root, moved_from=["/nowhere"])


# Too many gone


def test_emptied_folders_change_nothing_and_are_named(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, root)
    before = dump(store)
    for folder in ("train", "hpa_cell_mask"):
        for path in (root / folder).iterdir():
            path.unlink()
    todo = plan(store, root)
    assert len(todo.gone) == 3
    for options in ({}, {"prune": True}, {"allow_gone": 2, "prune": True}):
        with pytest.raises(
            InputError, match=r"3 of 3 images .*train is empty; .*mask is empty; 3 have no"
        ):
            take(store, root, **options)
    assert dump(store) == before
    assert counts(take(store, root, allow_gone="all")) == {"gone": 3}
    assert live(store) == []


def test_the_last_image_is_not_gone_without_a_word(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 2)
    take(store, root)
    write_table(root, {A: "0"})
    assert counts(take(store, root)) == {"gone": 1, "unchanged": 1}
    write_table(root, {"z": "0"})
    write_image(root, "z")
    with pytest.raises(InputError, match="1 of 1 image from here would be gone"):
        take(store, root)
    assert live(store) == [A]
    assert counts(take(store, root, allow_gone=1)) == {"new": 1, "gone": 1}


@pytest.mark.parametrize("wrong", [-1, "many", 1.5])
def test_a_number_of_images_that_is_none_is_refused(
    store: Store, tmp_path: Path, wrong: object
) -> None:
    root = dataset(tmp_path / "data", 2)
    with pytest.raises(UsageError, match="invalid --allow-gone"):
        take(store, root, allow_gone=wrong)


def test_a_mount_point_without_its_file_system_is_named(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = dataset(tmp_path / "nas disk" / "data", 3)
    take(store, root)
    for path in (*(root / "train").iterdir(), *(root / "hpa_cell_mask").iterdir()):
        path.unlink()
    listed = tmp_path / "fstab"
    listed.write_text(f"# a comment\n\nnas:/x {tmp_path}/nas\\040disk nfs defaults 0 0\n")
    monkeypatch.setattr(mismatch, "_MOUNTS", listed)
    with pytest.raises(InputError, match=r"train is empty, and \S+/nas disk is not mounted"):
        take(store, root)
    shutil.rmtree(root / "train")
    with pytest.raises(InputError, match=r"no such folder; \S+/nas disk is not mounted"):
        take(store, root)


# Roots that are no more


def test_live_images_of_a_root_that_is_not_there_are_said_and_can_be_forgotten(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, other = dataset(tmp_path / "data", 3), tmp_path / "other"
    write_table(root, {**table(3), "bad": "99"})
    write_image(other, "z")
    write_table(other, {"z": "0"})
    take(store, root)
    take(store, other)
    assert hpastore.status(store).missing_roots == {}
    shutil.rmtree(root)
    assert hpastore.status(store).missing_roots == {str(root): 3}
    plan(store, other)
    assert f"the root {root}, with 3 images, does not exist on this machine" in caplog.text
    assert f"hpastore forget {root} marks its images as gone" in caplog.text
    assert forget(store, root) == 3
    assert live(store) == ["z"]
    assert hpastore.status(store).missing_roots == {}
    assert len(hpastore.failures(store)) == 0
    last = hpastore.runs(store).iloc[0]
    assert (last["root"], last["gone"]) == (str(root), 3)
    assert hpastore.doctor(store, deep=True) == []


def test_a_root_that_was_forgotten_comes_back_as_it_was(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, root)
    before = dump(store)
    forget(store, root)
    assert counts(take(store, root)) == {"returned": 3, "unchanged": 3}
    after = dump(store)
    assert {name for name in after if after[name] != before[name]} == {"ingest_run"}


def test_what_was_forgotten_is_in_nobodys_way(store: Store, tmp_path: Path) -> None:
    root, other = dataset(tmp_path / "data", 3), tmp_path / "other"
    take(store, root)
    write_image(other, B, seed=7)
    write_table(other, {B: "16"})
    assert counts(take(store, other)) == {"rejected": 1}
    forget(store, root)
    assert counts(take(store, other)) == {"changed": 1, "returned": 1}
    assert plan(store, other).work == 0


def test_a_root_is_forgotten_with_all_its_images_if_they_are_pruned(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "data", 4)
    take(store, root)
    write_table(root, table(3))
    take(store, root)
    (tmp_path / "link").symlink_to(root)
    assert forget(store, tmp_path / "link", prune=True) == 4
    assert scalar(store, "SELECT count(*) FROM image") == 0
    with pytest.raises(NotFoundError, match="no images of the root"):
        forget(store, root)


# What a run did


def test_runs_say_what_came_and_went(store: Store, tmp_path: Path) -> None:
    root, moved = dataset(tmp_path / "data", 4), tmp_path / "moved"
    take(store, Layout(root, split="train"))
    write_table(root, table(3))
    take(store, root)
    write_table(root, table(4))
    root.rename(moved)
    take(store, moved)
    found = hpastore.runs(store).fillna({"split": ""})
    did = ["root", "split", "new", "gone", "returned", "moved", "rejected"]
    assert [tuple(row) for row in found[did].itertuples(index=False)] == [
        (str(moved), "", 0, 0, 1, 3, 0),
        (str(root), "", 0, 1, 0, 0, 0),
        (str(root), "train", 4, 0, 0, 0, 0),
    ]
    assert list(found["version"]) == [hpastore.__version__] * 3
    assert found["finished_at"].notna().all()


@pytest.mark.parametrize("back", ["as it was", "relabelled", "touched", "changed"])
def test_an_image_that_came_back_is_said_as_returned(
    store: Store, tmp_path: Path, back: str
) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, root)
    write_table(root, table(2))
    take(store, root)
    write_table(root, {**table(3), C: "7"} if back == "relabelled" else table(3))
    path = root / "hpa_cell_mask" / f"{C}.npz"
    if back == "touched":
        os.utime(path, (1, 1))
    if back == "changed":
        segment_again(root, C)
    assert take(store, root).returned == 1
    assert live(store) == [A, B, C]


# Splits


def splits(store: Store) -> dict[str, str | None]:
    return {row["name"]: row["split"] for row in rows(store, "SELECT name, split FROM image")}


def test_an_image_keeps_its_split_whatever_a_later_run_says(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, Layout(root, split="train"))
    before = dump(store)
    assert counts(take(store, root)) == {"unchanged": 3}
    assert plan(store, Layout(root, split="val")).work == 0
    caplog.clear()
    assert counts(take(store, Layout(root, split="val"))) == {"unchanged": 3}
    assert caplog.messages == [
        "3 images keep their split, which is not val (3 train); --resplit changes it"
    ]
    assert dump(store) == before


def test_a_first_split_is_a_change(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, root)
    todo = plan(store, Layout(root, split="train"))
    assert (todo.resplit, todo.work) == ((A, B, C), 3)
    summary = take(store, Layout(root, split="train"))
    assert counts(summary) == {"resplit": 3, "unchanged": 3}
    assert summary.changes_cells
    assert splits(store) == dict.fromkeys((A, B, C), "train")
    assert plan(store, Layout(root, split="train")).work == 0


def test_splits_are_changed_where_that_is_asked_for(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, Layout(root, split="train"))
    assert counts(take(store, Layout(root, split="val"), resplit=True)) == {
        "resplit": 3,
        "unchanged": 3,
    }
    assert splits(store) == dict.fromkeys((A, B, C), "val")
    with pytest.raises(UsageError, match="--resplit needs the split to give: --split NAME"):
        take(store, root, resplit=True)
    assert hpastore.doctor(store, deep=True) == []


def test_a_new_and_a_changed_image_get_the_split_that_is_theirs(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, Layout(root, split="train"))
    segment_again(root, A)
    os.utime(root / "hpa_cell_mask" / f"{B}.npz", (1, 1))
    write_image(root, name_of(3))
    write_table(root, {A: "0", B: "16", C: "7", name_of(3): "0"})
    summary = take(store, Layout(root, split="val"))
    assert counts(summary) == {"new": 1, "changed": 1, "relabelled": 1, "unchanged": 1}
    assert splits(store) == {A: "train", B: "train", C: "train", name_of(3): "val"}


@pytest.mark.parametrize("split", [None, "val"])
def test_images_are_gone_whatever_their_split(
    store: Store, tmp_path: Path, split: str | None
) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, Layout(root, split="train"))
    write_table(root, table(2))
    assert plan(store, Layout(root, split=split)).gone == (C,)
    assert counts(take(store, Layout(root, split=split))) == {"gone": 1, "unchanged": 2}


def test_a_table_of_a_part_of_a_root_does_not_end_the_others(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3)
    write_table(root, {A: "0", B: "16"}).rename(root / "first.csv")
    write_table(root, {C: "7"}).rename(root / "second.csv")
    take(store, Layout(root, root / "first.csv", split="train"))
    with pytest.raises(InputError, match="2 of 2 images from here would be gone"):
        take(store, Layout(root, root / "second.csv", split="val"))


@pytest.mark.parametrize("name", ["", " ", "a\x1bb", "a\nb"])
def test_a_split_needs_a_name(store: Store, tmp_path: Path, name: str) -> None:
    root = dataset(tmp_path / "data", 1)
    with pytest.raises(UsageError, match=r"invalid --split .* \(give a name, such as train\)"):
        take(store, Layout(root, split=name))


def test_new_images_without_a_split_beside_others_are_said(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path / "data", 2)
    take(store, Layout(root, split="train"))
    write_image(root, C)
    write_table(root, table(3))
    caplog.clear()
    take(store, root)
    (message,) = caplog.messages
    assert message == (
        "1 new image has no split, but other images of this root have one (2 train); "
        "give it with --split NAME"
    )


# Options that are given on one run and forgotten on the next


def test_nuclei_are_not_lost_where_nobody_says_where_they_are(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3, nuclei=True)
    nuclei = (root / "hpa_nuclei_mask").rename(tmp_path / "nuclei")
    take(store, Layout(root, nuclei=nuclei))
    before = dump(store)
    with pytest.raises(
        InputError, match=r"3 stored images have nucleus masks.* or give --nuclei none"
    ):
        take(store, root)
    assert plan(store, root).stopped
    assert dump(store) == before
    assert counts(take(store, Layout(root, nuclei=nuclei))) == {"unchanged": 3}
    assert counts(take(store, Layout(root, nuclei="none"))) == {"changed": 3}
    assert scalar(store, "SELECT count(nucleus_area) FROM cell") == 0
    assert counts(take(store, root)) == {"unchanged": 3}


def test_labels_that_are_lost_are_said(
    store: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = dataset(tmp_path / "data", 3)
    take(store, root)
    take(store, Layout(root, "none"))
    assert "3 images lose their labels, since this run has none (--labels none)" in caplog.messages


def test_a_first_run_on_empty_folders_is_refused(store: Store, tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 3)
    for path in (*(root / "train").iterdir(), *(root / "hpa_cell_mask").iterdir()):
        path.unlink()
    with pytest.raises(
        InputError, match=r"no file of the 3 images in the table; \S+/train is empty"
    ):
        take(store, root)
    for path in sorted(root.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    with pytest.raises(
        InputError, match=r"no such folder; its root \S+ is empty; if it is on a disk"
    ):
        take(store, root)


# Moves that are taken back


def test_nothing_of_a_root_that_has_just_moved_is_deleted(store: Store, tmp_path: Path) -> None:
    root, copy = dataset(tmp_path / "disk", 10), tmp_path / "copy"
    take(store, root)
    shutil.copytree(root, copy)
    write_table(copy, table(8))
    away = root.rename(tmp_path / "unplugged")
    assert counts(take(store, copy, prune=True)) == {"gone": 2, "unchanged": 8}
    assert scalar(store, "SELECT count(*) FROM image") == 10
    away.rename(root)
    shutil.rmtree(copy)
    assert counts(take(store, root)) == {"returned": 2, "unchanged": 10}
    assert roots(store) == [str(root)]


def test_a_moved_root_is_guarded_by_its_own_number_of_images(store: Store, tmp_path: Path) -> None:
    root, big = dataset(tmp_path / "small", 13), tmp_path / "big"
    take(store, root)
    for i in range(60):
        write_image(big, f"big-{i:02}", mask=draw_mask(1))
    write_table(big, {f"big-{i:02}": "0" for i in range(60)})
    take(store, big)
    for path in root.rglob(f"{A}*"):
        path.rename(big / path.relative_to(root))
    shutil.rmtree(root)
    write_table(big, {f"big-{i:02}": "0" for i in range(60)} | {A: "0"})
    with pytest.raises(InputError, match="12 of 73 images from here would be gone"):
        take(store, big, moved_from=[root])
    assert take(store, big, moved_from=[root], allow_gone=12).gone == 12
    assert take(store, big, moved_from=[root]).gone == 0  # the same command again


def test_a_root_that_nobody_stored_cannot_have_moved_into_a_new_store(tmp_path: Path) -> None:
    root = dataset(tmp_path / "data", 1)
    with pytest.raises(NotFoundError, match="no images of the root /nowhere"):
        plan(None, root, moved_from=["/nowhere"])


def test_names_that_differ_by_case_only_are_refused_when_one_returns(
    store: Store, tmp_path: Path
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for root, name, seed in ((one, "abc", 1), (two, "ABC", 2)):
        write_image(root, name, seed=seed)
        write_table(root, {name: "0"})
    take(store, one)
    forget(store, one)
    take(store, two)
    for _ in range(2):
        assert counts(take(store, one)) == {"rejected": 1}
    assert live(store) == ["ABC"]


def test_a_mask_that_cannot_be_read_as_a_run_says_is_known_the_next_time(
    store: Store, tmp_path: Path
) -> None:
    root = dataset(tmp_path / "data", 1)
    cells = draw_mask(4)
    nuclei = (cells > 0) & (np.arange(cells.shape[0])[:, None] < 6)
    for folder, array in (("hpa_cell_mask", cells), ("hpa_nuclei_mask", nuclei.astype(np.uint8))):
        (root / folder).mkdir(exist_ok=True)
        np.savez(root / folder / f"{A}.npz", array)
    take(store, Layout(root, binary_mask="components"))
    assert live(store) == [A]
    keep = Layout(root, binary_mask="keep")
    assert counts(take(store, keep)) == {"rejected": 1}
    assert plan(store, keep).work == 0
    assert take(store, keep).rejected_before == 1
