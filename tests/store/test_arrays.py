"""Masks and histograms that are damaged are errors that name the row, in whatever reads them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

import hpastore
from hpastore.errors import DamagedError, HpastoreError
from hpastore.kernels.histogram import pack
from hpastore.store.engine import Store
from tests.world import dataset, draw_mask, is_a_file, name_of, write_image

A = name_of(0)

RLES = {
    "too short": "1",
    "no run": "",
    "cut short": "0P",
    "other characters": "~~~",
    "not ASCII": "13é",
    "no pixel": "PXO",
    "a negative run": "42N0P0",
}
"""Of an image of 24 x 32 pixels; the last but one is 768 zeros."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return dataset(tmp_path / "data", 2)


@pytest.fixture
def filled(store: Store, root: Path) -> Store:
    hpastore.ingest(store, root, executor="serial")
    hpastore.create_clean_set(store, "mine", hpastore.CleanRecipe(min_green=0))
    hpastore.override_cells(store, [hpastore.Override(f"{A}:1", keep=False)])
    return store


def damage(store: Store, sql: str, **values: Any) -> None:
    with store.writing() as connection:
        assert connection.execute(text(sql), values).rowcount


def of_a(table: str) -> str:
    key = "(SELECT id FROM image WHERE name = 'image-00')"
    return f"UPDATE {table} SET {{}} WHERE image_id = {key}"


MASK_3 = (
    "UPDATE cell_mask SET rle = {} WHERE cell_id IN (SELECT cell.id FROM cell "
    "JOIN image ON image.id = image_id WHERE image.name = 'image-00' AND mask_id = 3)"
)


READ: dict[str, Callable[[Store, Path], object]] = {
    "coco": lambda store, out: hpastore.export_coco(store, out / "a.json"),
    "mmdet": lambda store, out: hpastore.export_mmdet(store, out / "a.pkl"),
    "gallery": lambda store, _: hpastore.plot_gallery(store),
    "overlay": lambda store, _: hpastore.plot_overlay(store, A),
}


@pytest.mark.parametrize("kind", READ)
@pytest.mark.parametrize("case", RLES)
def test_a_mask_that_does_not_fill_its_image_is_named_and_nothing_is_written(
    filled: Store, tmp_path: Path, kind: str, case: str
) -> None:
    damage(filled, MASK_3.format(":rle"), rle=RLES[case])
    (tmp_path / "out").mkdir()
    with pytest.raises(DamagedError, match=rf"^cell {A}:3: its mask.*'hpastore doctor --deep'"):
        READ[kind](filled, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("kind", ["gallery", "overlay"])
def test_a_mask_in_another_box_is_named(filled: Store, tmp_path: Path, kind: str) -> None:
    damage(filled, of_a("cell").format("x = x + 1000") + " AND mask_id = 3")
    with pytest.raises(
        DamagedError, match=f"cell {A}:3: its stored box is not the box of its mask"
    ):
        READ[kind](filled, tmp_path)


def test_a_damaged_mask_is_named_where_overrides_are_matched(filled: Store, root: Path) -> None:
    damage(filled, "UPDATE cell_override SET rle = '1'")
    write_image(root, A, seed=0, mask=np.roll(draw_mask(), 1, axis=0))
    with pytest.raises(
        DamagedError, match=f"override of {A}:1: its mask does not have the size of its image"
    ):
        hpastore.ingest(filled, root, executor="serial")


HISTOGRAMS = {
    "no zlib": b"x",
    "empty": b"",
    "cut short": pack(np.ones((4, 256), np.int64))[:-5],
    "followed by something": pack(np.ones((4, 256), np.int64)) + b"x",
    "of fewer rows": pack(np.ones((3, 256), np.int64)),
    "of other pixels": pack(np.ones((4, 256), np.int64)),
    "without end": zlib.compress(bytes(2**28)),
}


@pytest.mark.parametrize("case", HISTOGRAMS)
def test_a_damaged_histogram_is_named_by_remeasure(filled: Store, case: str) -> None:
    damage(
        filled,
        of_a("image_channel").format("histogram = :data") + " AND channel = 'red'",
        data=HISTOGRAMS[case],
    )
    with pytest.raises(DamagedError, match=f"^image {A}: its histogram of red is damaged: "):
        hpastore.remeasure(filled, 0.5)


def test_a_cell_without_measures_is_named_by_remeasure(filled: Store) -> None:
    damage(
        filled,
        "UPDATE cell SET red_intensity_max = NULL WHERE id IN (SELECT min(id) FROM cell)",
    )
    with pytest.raises(DamagedError, match=f"^image {A}: its cells have not all measures in red"):
        hpastore.remeasure(filled, 0.5)


@pytest.mark.parametrize("case", ["no zlib", "empty", "cut short", "without end"])
def test_a_damaged_histogram_is_named_by_dump(filled: Store, case: str) -> None:
    damage(
        filled,
        of_a("image_channel").format("histogram = :data") + " AND channel = 'red'",
        data=HISTOGRAMS[case],
    )
    with pytest.raises(DamagedError, match=f"^image {A}: its histogram is damaged: "):
        list(hpastore.dump(filled))


@pytest.mark.parametrize("labels", ["x|y", "|", "0|", "0|19", "-1", "٣", "1" * 5000])
def test_damaged_labels_are_named_by_who_takes_them_apart(
    filled: Store, root: Path, labels: str
) -> None:
    damage(filled, "UPDATE image SET labels = :labels WHERE name = :name", labels=labels, name=A)
    with pytest.raises(
        DamagedError, match=f"^image {A}: its labels '.*' are not all of the ids 0 to 18"
    ):
        hpastore.plan(filled, hpastore.Layout(root))
    with pytest.raises(DamagedError, match=f"^image {A}: its labels"):
        hpastore.explain(filled, f"{A}:1")


@is_a_file
@pytest.mark.parametrize("column", ["root", "uri"])
def test_a_zero_byte_in_a_path_is_named(
    filled: Store, root: Path, tmp_path: Path, column: str
) -> None:
    table = "image" if column == "root" else "image_file"
    damage(filled, f"UPDATE {table} SET {column} = 'a' || char(0)")
    for read in (
        lambda: hpastore.plan(filled, hpastore.Layout(root)),
        lambda: hpastore.export_images(filled, tmp_path / "pictures", jobs=1),
        lambda: hpastore.plot_overlay(filled, A),
    ):
        with pytest.raises(DamagedError, match=rf"^image {A}: its path .* contains a zero byte"):
            read()


def test_a_channel_that_is_not_recorded_is_named(filled: Store, tmp_path: Path) -> None:
    damage(filled, "DELETE FROM image_file WHERE role = 'green'")
    for read in (
        lambda: hpastore.export_images(filled, tmp_path / "pictures", jobs=1),
        lambda: hpastore.plot_overlay(filled, A),
        lambda: hpastore.plot_gallery(filled),
    ):
        with pytest.raises(
            DamagedError, match=f"^image {A}: the file of its channel green is not recorded"
        ):
            read()


def test_a_moment_that_is_none_is_named_with_its_row(filled: Store, database: str) -> None:
    value = "2024-13-45" if database == "sqlite" else "infinity"
    damage(filled, "UPDATE clean_set SET created_at = :value", value=value)
    with pytest.raises(
        HpastoreError, match=f"^clean set mine@1: its created_at '{value}' is no date and time"
    ):
        hpastore.clean_sets(filled)


@pytest.mark.parametrize("name", ["../a", "/tmp/a", "a\x1bb", ".a", ""])
def test_no_path_or_file_name_is_made_of_a_name_that_no_image_has(
    filled: Store, tmp_path: Path, name: str
) -> None:
    damage(filled, "UPDATE image SET name = :name WHERE name = :old", name=name, old=A)
    out = tmp_path / "out" / "out"
    out.mkdir(parents=True)
    for export, file in (
        (hpastore.export_coco, "a.json"),
        (hpastore.export_mmdet, "a.pkl"),
        (hpastore.export_csv, "a.csv"),
        (hpastore.export_images, "pictures"),
    ):
        options: dict[str, Any] = {"jobs": 1} if file == "pictures" else {}
        with pytest.raises(DamagedError, match="its name is not allowed"):
            export(filled, out / file, **options)
    damage(filled, "UPDATE cell_override SET image_name = :name", name=name)
    with pytest.raises(DamagedError, match=r"^override of .*: its name is not allowed"):
        hpastore.export_overrides(filled, out / "decided.csv")
    assert [file.name for file in out.parent.rglob("*")] == ["out"]


def test_doctor_goes_on_and_lists_all_that_is_damaged(filled: Store, database: str) -> None:
    value = "2024-13-45" if database == "sqlite" else "infinity"
    damage(filled, MASK_3.format("'1'"))
    damage(
        filled, of_a("image_channel").format("histogram = :data"), data=HISTOGRAMS["without end"]
    )
    damage(filled, "UPDATE cell_override SET rle = '1'")
    damage(filled, "UPDATE ingest_run SET started_at = :value", value=value)
    damage(filled, "UPDATE image SET labels = 'x|y' WHERE name = 'image-01'")
    damage(filled, "UPDATE image SET name = '../a' WHERE name = 'image-01'")
    found = {(finding.where, finding.what) for finding in hpastore.doctor(filled, deep=True)}
    assert (f"cell {A}:3", "its mask cannot be decoded") in found
    assert (f"image {A}", "the histogram of red does not match the masks") in found
    assert (f"override of {A}:1", "its mask cannot be decoded") in found
    assert ("run 1", f"its started_at '{value}' is no date and time") in found
    assert any(where == "image ../a" and "labels are 'x|y'" in what for where, what in found)
    assert any(where == "image ../a" and "its name is not allowed" in what for where, what in found)
