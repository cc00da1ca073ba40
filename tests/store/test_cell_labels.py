"""Cells with labels of their own: wherever a label counts, these take the place of the image's."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import hpastore
from hpastore.clean.create import create_clean_set
from hpastore.clean.rules import CleanRecipe
from hpastore.errors import NotFoundError
from hpastore.export.selection import ExportOptions
from hpastore.store import cell_selection, figures, write
from hpastore.store.cell_selection import CellFilter
from hpastore.store.clean_sets.outdated import NewerData, newer_than
from hpastore.store.engine import Store
from hpastore.store.integrity.doctor import doctor
from tests.world import NOW, measured, put, rows

OWN = {1: (16,), 2: (0, 16), 3: ()}


@pytest.fixture
def labelled(store: Store) -> Store:
    """An image of label 0 whose first cells have other labels, and one of two labels."""
    put(store, measured("a", (0,), n=4), measured("b", (0, 7), n=2))
    with store.writing() as connection:
        write.label_cells(connection, "a", OWN, NOW)
        write.label_cells(connection, "b", {1: (7,)}, NOW)
    return store


def by_cell(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {f"{row['image_name']}:{row['mask_id']}": row for row in found}


def test_the_views_show_a_cells_own_labels(labelled: Store) -> None:
    stats = by_cell(rows(labelled, "SELECT image_name, mask_id, labels, label_id FROM cell_stats"))
    assert {name: (row["labels"], row["label_id"]) for name, row in stats.items()} == {
        "a:1": ("16", 16),
        "a:2": ("0|16", None),
        "a:3": ("", None),
        "a:4": ("0", 0),
        "b:1": ("7", 7),
        "b:2": ("0|7", None),
    }
    sizes = rows(labelled, "SELECT image_name, mask_id, label_id FROM cell_size")
    assert sorted((f"{r['image_name']}:{r['mask_id']}", r["label_id"]) for r in sizes) == [
        *(("a:1", 16), ("a:2", 0), ("a:2", 16), ("a:4", 0)),
        *(("b:1", 7), ("b:2", 0), ("b:2", 7)),
    ]
    summary = rows(
        labelled, "SELECT label_id, cells, single_cells FROM label_summary ORDER BY label_id"
    )
    assert {r["label_id"]: (r["cells"], r["single_cells"]) for r in summary if r["cells"]} == {
        0: (3, 1),
        7: (2, 1),
        16: (2, 1),
    }


@pytest.mark.parametrize(
    ("multilabel", "expected"),
    [
        (
            "expand",
            {("a:1", 16), ("a:2", 0), ("a:2", 16), ("a:4", 0), ("b:1", 7), ("b:2", 0), ("b:2", 7)},
        ),
        ("skip", set()),
    ],
)
def test_exports_without_a_clean_set_have_them(
    labelled: Store, tmp_path: Path, multilabel: Any, expected: set[tuple[str, int]]
) -> None:
    with labelled.writing() as connection:
        if multilabel == "skip":  # an image with a cell of several labels is left out
            write.label_cells(connection, "a", {1: (16,)}, NOW)
            expected = {("a:1", 16), ("a:2", 0), ("a:3", 0), ("a:4", 0)}
    options = ExportOptions(multilabel=multilabel)
    hpastore.export_coco(labelled, tmp_path / "cells.json", options)
    document = json.loads((tmp_path / "cells.json").read_text())
    assert {
        (one["attributes"]["cell_id"], one["category_id"]) for one in document["annotations"]
    } == expected
    hpastore.export_csv(labelled, tmp_path / "cells.csv", options)
    table = pd.read_csv(tmp_path / "cells.csv").dropna(subset=["label_id"])
    names = table["image_name"] + ":" + table["mask_id"].astype(str)
    assert set(zip(names, table["label_id"].astype(int), strict=True)) == expected


def test_an_export_of_some_labels_has_the_cells_with_these(labelled: Store, tmp_path: Path) -> None:
    hpastore.export_coco(labelled, tmp_path / "cells.json", ExportOptions(labels=(16,)))
    document = json.loads((tmp_path / "cells.json").read_text())
    assert [image["file_name"] for image in document["images"]] == ["a.png"]
    assert [one["attributes"]["cell_id"] for one in document["annotations"]] == ["a:1", "a:2"]


def test_a_clean_set_judges_cells_by_their_own_labels(labelled: Store, tmp_path: Path) -> None:
    create_clean_set(labelled, "single", CleanRecipe(min_green=0))
    create_clean_set(labelled, "all", CleanRecipe(min_green=0, scope="all"))
    found = rows(labelled, "SELECT clean_set, image_name, mask_id, label_id FROM clean_cell")
    judged = {
        name: {
            (f"{r['image_name']}:{r['mask_id']}", r["label_id"])
            for r in found
            if r["clean_set"] == name
        }
        for name in ("single", "all")
    }
    assert judged["single"] == {("a:1", 16), ("a:4", 0), ("b:1", 7)}
    assert judged["all"] == judged["single"] | {("a:2", 0), ("a:2", 16), ("b:2", 0), ("b:2", 7)}
    hpastore.export_coco(labelled, tmp_path / "cells.json", ExportOptions(clean="single"))
    document = json.loads((tmp_path / "cells.json").read_text())
    clean = rows(labelled, "SELECT 1 FROM clean_cell WHERE clean AND clean_set = 'single'")
    assert len(document["annotations"]) == len(clean) > 0


def test_figures_choose_cells_by_their_own_labels(labelled: Store) -> None:
    with labelled.reading() as connection:
        chosen = cell_selection.count_by_image(connection, CellFilter(label=16))
        assert chosen == [("a", 2)]
        values = figures.values_by_label(connection, "area", None, None, None)
    assert sorted(values["label"].tolist()) == [0, 7, 16]


def test_other_labels_of_cells_make_a_clean_set_outdated(store: Store) -> None:
    put(store, measured("a", (0,), n=3), measured("b", (0,), n=3))
    create_clean_set(store, "mine", CleanRecipe(min_green=0))

    def newer(set_id: int) -> NewerData:
        return store.read(lambda connection: newer_than(connection, set_id))

    assert newer(1) == NewerData()
    with store.writing() as connection:
        write.label_cells(connection, "b", {2: (16,)}, NOW)
    assert newer(1) == NewerData(relabelled=1)
    hpastore.refresh_clean_set(store, "mine")
    assert newer(2) == NewerData()


def test_a_diff_calls_cells_that_got_labels_of_their_own_relabelled(store: Store) -> None:
    put(store, measured("a", (0,), n=4))
    create_clean_set(store, "mine", CleanRecipe())
    with store.writing() as connection:
        write.label_cells(connection, "a", OWN, datetime.now(UTC))
    hpastore.refresh_clean_set(store, "mine")
    found = hpastore.clean_diff(store, "mine@1", "mine@2")
    assert {(row.cell, row.label_id): (row.change, row.cause) for row in found.itertuples()} == {
        ("a:1", 0): ("out", "relabelled"),
        ("a:1", 16): ("in", "relabelled"),
        ("a:2", 0): ("out", "relabelled"),
        ("a:3", 0): ("out", "relabelled"),
        ("a:4", 0): ("in", "threshold_moved"),
    }


def test_they_are_replaced_as_a_whole_and_leave_with_their_image(labelled: Store) -> None:
    assert doctor(labelled, deep=True) == []
    with labelled.writing() as connection:
        write.label_cells(connection, "a", {4: (7,)}, NOW)
    assert doctor(labelled, deep=True) == []
    own = rows(labelled, "SELECT image_name, mask_id FROM cell_stats WHERE label_id = 7")
    assert sorted(by_cell(own)) == ["a:4", "b:1"]
    with labelled.writing() as connection:
        write.delete_images(connection, ["a"])
    assert rows(labelled, "SELECT count(*) AS n FROM cell_label") == [{"n": 1}]
    assert doctor(labelled, deep=True) == []


def test_a_replaced_image_keeps_those_of_cells_with_the_same_mask(
    labelled: Store, caplog: pytest.LogCaptureFixture
) -> None:
    before = rows(labelled, "SELECT image_name, mask_id, labels FROM cell_stats ORDER BY 1, 2")
    put(labelled, measured("a", (0,), n=4, green_fraction=[0.5] * 4))
    after = rows(labelled, "SELECT image_name, mask_id, labels FROM cell_stats ORDER BY 1, 2")
    assert after == before
    assert caplog.messages == []

    put(labelled, measured("a", (0,), n=2))  # narrower, so that no mask is the same
    stats = rows(labelled, "SELECT DISTINCT labels FROM cell_stats WHERE image_name = 'a'")
    assert stats == [{"labels": "0"}]
    assert caplog.messages == [
        "a: the labels of 3 single cells are lost: no cell has the same mask any more"
    ]
    assert doctor(labelled, deep=True) == []


def test_a_cell_that_does_not_exist_cannot_be_labelled(labelled: Store) -> None:
    for name, mask_id, missing in (("a", 9, "no cell a:9"), ("z", 1, "no image z")):
        with pytest.raises(NotFoundError, match=missing), labelled.writing() as connection:
            write.label_cells(connection, name, {mask_id: (0,)}, NOW)
