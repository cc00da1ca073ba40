"""An export of a clean set follows the set, whatever came or was relabelled since."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

import hpastore
from hpastore.errors import UsageError
from hpastore.export.selection import ExportOptions
from hpastore.store import write
from hpastore.store.engine import Store
from hpastore.vocabulary import Multilabel
from tests.world import draw_mask, write_image, write_table

LABELS = {"one": "0", "other": "16", "two": "0|16", "none": "0", "both_none": "0|16"}


@dataclass
class World:
    """A data set that grows and changes, its store, and what exports of it hold."""

    store: Store
    root: Path
    out: Path
    labels: dict[str, str]

    def add(self, name: str, labels: str, n: int = 3) -> None:
        write_image(self.root, name, seed=len(self.labels), mask=draw_mask(n))
        self.relabel(**{name: labels})

    def relabel(self, **labels: str) -> None:
        self.labels |= labels
        write_table(self.root, self.labels)
        hpastore.ingest(self.store, self.root, executor="serial")

    def images(
        self, clean: str | None, multilabel: Multilabel = "expand", labels: tuple[int, ...] = ()
    ) -> set[str]:
        """Export images and annotations, see that they agree, and name the images."""
        options = ExportOptions(clean, labels, multilabel, allow_empty=True)
        hpastore.export_coco(self.store, self.out / "a.json", options, force=True)
        document = json.loads((self.out / "a.json").read_text())
        names = [image["file_name"].removesuffix(".png") for image in document["images"]]
        assert names == sorted(names)
        if names:
            hpastore.export_images(self.store, self.out / "a", options, jobs=1, force=True)
            assert {file.stem for file in (self.out / "a").glob("*.png")} == set(names)
        return set(names)

    def cells(
        self, clean: str | None, multilabel: Multilabel = "expand", labels: tuple[int, ...] = ()
    ) -> list[tuple[str, int]]:
        """Export annotations and verdicts, see that they agree, and name the cells and labels."""
        options = ExportOptions(clean, labels, multilabel, allow_empty=True)
        hpastore.export_coco(self.store, self.out / "a.json", options, force=True)
        hpastore.export_csv(self.store, self.out / "a.csv", options, force=True)
        annotations = json.loads((self.out / "a.json").read_text())["annotations"]
        found = [(a["attributes"]["cell_id"], a["category_id"]) for a in annotations]
        with (self.out / "a.csv").open() as file:
            rows = [row for row in csv.DictReader(file) if row["clean"] != "False"]
        assert [
            (f"{row['image_name']}:{row['mask_id']}", int(row["label_id"])) for row in rows
        ] == found
        return found


@pytest.fixture
def world(store: Store, tmp_path: Path) -> World:
    """Three images with cells, two without; a clean set of each scope, where every cell is clean."""
    made = World(store, tmp_path / "data", tmp_path / "out", {})
    for name, labels in LABELS.items():
        made.add(name, labels, 0 if "none" in name else 3)
    for scope in ("single", "all"):
        recipe = hpastore.CleanRecipe((hpastore.Rule(lower=0, upper=1),), min_green=0, scope=scope)
        hpastore.create_clean_set(store, scope, recipe)
    return made


JUDGED = {"single": {"one", "other", "none"}, "all": set(LABELS)}
scopes = pytest.mark.parametrize("scope", JUDGED)


@scopes
def test_the_images_are_those_that_the_set_judged_or_saw_to_be_empty(
    world: World, scope: str
) -> None:
    assert world.images(scope) == JUDGED[scope]
    assert world.images(None) == set(LABELS)


@scopes
def test_images_that_came_or_changed_later_are_not_of_the_set(world: World, scope: str) -> None:
    before = world.cells(scope)
    world.add("later", "0")
    world.add("later_none", "0", 0)
    assert world.images(scope) == JUDGED[scope]
    assert world.cells(scope) == before
    assert world.images(None) == {*LABELS, "later", "later_none"}
    world.add("one", "0", 2)  # its pixels changed, hence its cells
    world.add("none", "0", 0)
    assert world.images(scope) == JUDGED[scope] - {"one", "none"}


@scopes
def test_relabelled_images_keep_their_cells_and_the_labels_they_were_judged_by(
    world: World, scope: str
) -> None:
    before = world.cells(scope)
    assert ("one:1", 0) in before
    world.relabel(one="3|7", two="16")
    assert world.images(scope) == JUDGED[scope]
    assert world.cells(scope) == before
    assert world.images(scope, labels=(3,)) == set()
    assert "one" in world.images(scope, labels=(0,))


def test_labels_are_those_of_the_set_and_of_now_only_for_images_without_cells(world: World) -> None:
    assert world.images("all", labels=(16,)) == {"other", "two", "both_none"}
    assert {label for _, label in world.cells("all", labels=(16,))} == {16}
    world.relabel(two="5", none="16", both_none="5")
    assert world.images("all", labels=(16,)) == {"other", "two", "none"}
    assert {label for _, label in world.cells("all", labels=(16,))} == {16}


def test_skip_leaves_out_images_with_several_labels_in_the_set_or_now(world: World) -> None:
    assert world.images("all", "skip") == {"one", "other", "none"}
    assert {cell.split(":")[0] for cell, _ in world.cells("all", "skip")} == {"one", "other"}
    assert world.images("all", "skip", labels=(16,)) == {"other"}
    world.relabel(two="0")
    assert world.images("all", "skip") == {"one", "other", "none"}
    world.relabel(one="0|3")
    for clean in ("all", "single"):
        assert world.images(clean, "skip") == {"other", "none"}
        assert {cell.split(":")[0] for cell, _ in world.cells(clean, "skip")} == {"other"}


def test_a_set_knows_its_own_images_from_those_of_another(world: World) -> None:
    world.add("later", "7")
    recipe = hpastore.CleanRecipe((hpastore.Rule(lower=0, upper=1),), min_green=0)
    hpastore.create_clean_set(world.store, "single", recipe)
    assert world.images("single@1") == JUDGED["single"]
    assert world.images("single") == JUDGED["single"] | {"later"}
    assert world.images("single", labels=(7,)) == {"later"}


def test_only_images_of_a_split_are_exported(world: World) -> None:
    with world.store.writing() as connection:
        write.move_images(connection, ["one", "none"], str(world.root), "train")
        write.move_images(connection, ["other", "two"], str(world.root), "val")
    hpastore.create_clean_set(world.store, "half", hpastore.CleanRecipe(min_green=0), split="train")
    exported = {}
    for clean, split in ((None, "train"), ("all", "val"), ("half", None), ("half", "train")):
        out = world.out / "split.json"
        hpastore.export_coco(world.store, out, ExportOptions(clean, split=split), force=True)
        document = json.loads(out.read_text())
        exported[clean, split] = {
            image["file_name"].removesuffix(".png") for image in document["images"]
        }
        assert (
            json.loads(out.with_name("split.json.manifest.json").read_text())["options"]["split"]
            == split
        )
    assert exported == {
        (None, "train"): {"one", "none"},
        ("all", "val"): {"other", "two"},
        ("half", None): {"one", "none"},
        ("half", "train"): {"one", "none"},
    }
    for clean, split, message in (
        (None, "test", r"no split 'test' \(choose from train, val\)"),
        ("half", "val", "half@1 is limited to split 'train' and has no cells of split 'val'"),
    ):
        with pytest.raises(UsageError, match=message):
            hpastore.export_csv(
                world.store, world.out / "no.csv", ExportOptions(clean, split=split)
            )
    assert not (world.out / "no.csv").exists()


def test_an_export_says_that_it_writes_all_cells_or_an_old_set(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    def said(clean: str | None) -> list[str]:
        caplog.clear()
        hpastore.export_csv(world.store, world.out / "a.csv", ExportOptions(clean), force=True)
        return [record.getMessage() for record in caplog.records]

    (line,) = said(None)
    assert line == (
        "all cells are exported, also those that are not clean; to export only clean cells, add --clean all"
    )
    assert said("single") == []
    world.relabel(one="16")
    (line,) = said("single")
    assert line.startswith(
        "clean set single@1 is older than 1 relabelled image; 'hpastore clean refresh"
    )
    for name in ("single", "all"):
        hpastore.drop_clean_set(world.store, name)
    assert said(None) == []
