from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO

import hpastore
from hpastore.errors import UsageError
from hpastore.export.selection import ExportOptions
from hpastore.model import AnnotatedImage, Annotation
from hpastore.store.engine import Store
from hpastore.vocabulary import CHANNELS, LABEL_NAMES
from tests.export.test_images import forget_channels
from tests.world import dataset, draw_mask, measured, name_of, put, write_image, write_table

LABELS = ("0", "16", "0|16", "18", "7", "")


def document(
    store: Store, tmp_path: Path, export_options: ExportOptions | None = None, **options: Any
) -> dict[str, Any]:
    hpastore.export_coco(store, tmp_path / "out.json", export_options, force=True, **options)
    return dict(json.loads((tmp_path / "out.json").read_text()))


@pytest.fixture
def filled(store: Store, tmp_path: Path) -> Store:
    hpastore.ingest(store, dataset(tmp_path / "data", 5), executor="serial")
    return store


def names(document: dict[str, Any], key: str = "file_name") -> list[str]:
    return [image[key] for image in document["images"]]


def cells(document: dict[str, Any]) -> list[tuple[str, int]]:
    return [(a["attributes"]["cell_id"], a["category_id"]) for a in document["annotations"]]


def test_pycocotools_loads_it_and_gives_back_every_mask(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    masks = {}
    for i in range(5):
        masks[name_of(i)] = draw_mask(i + 1) if i < 4 else np.full((9, 7), 300, np.uint16)
        write_image(root, name_of(i), seed=i, mask=masks[name_of(i)])
    write_table(root, dict.fromkeys(masks, "3"))
    hpastore.ingest(store, root, executor="serial")
    hpastore.export_coco(store, tmp_path / "out.json")
    coco = COCO(str(tmp_path / "out.json"))
    capsys.readouterr()
    seen = 0
    for annotation in coco.loadAnns(coco.getAnnIds()):
        name, _, mask_id = annotation["attributes"]["cell_id"].partition(":")
        (image,) = coco.loadImgs(annotation["image_id"])
        expected = masks[name] == int(mask_id)
        assert image["file_name"] == f"{name}.png"
        assert (image["height"], image["width"]) == expected.shape
        assert np.array_equal(coco.annToMask(annotation), expected)
        rows, columns = np.nonzero(expected)
        x, y, width, height = annotation["bbox"]
        assert (x, y) == (columns.min(), rows.min())
        assert (x + width, y + height) == (columns.max() + 1, rows.max() + 1)
        assert annotation["area"] == expected.sum()
        assert annotation["iscrowd"] == 0
        seen += 1
    assert seen == sum(len(np.unique(mask[mask > 0])) for mask in masks.values())


def test_real_masks_come_back(store: Store, hpa_data: Path, tmp_path: Path) -> None:
    root = hpa_data / "hpa"
    hpastore.ingest(store, root, jobs=2)
    hpastore.export_coco(store, tmp_path / "out.json", ExportOptions(multilabel="expand"))
    coco = COCO(str(tmp_path / "out.json"))
    masks = {file.stem: np.load(file)["arr_0"] for file in (root / "hpa_cell_mask").glob("*.npz")}
    seen = set()
    for annotation in coco.loadAnns(coco.getAnnIds()):
        cell = annotation["attributes"]["cell_id"]
        name, _, mask_id = cell.partition(":")
        assert np.array_equal(coco.annToMask(annotation), masks[name] == int(mask_id))
        seen.add(cell)
    assert len(seen) == 47


def test_ids_count_from_1_by_name_and_mask_id_and_categories_are_the_labels(
    filled: Store, tmp_path: Path
) -> None:
    found = document(filled, tmp_path)
    assert [image["id"] for image in found["images"]] == [1, 2, 3, 4, 5]
    assert names(found) == [f"{name_of(i)}.png" for i in range(5)]
    assert [a["id"] for a in found["annotations"]] == list(range(1, len(found["annotations"]) + 1))
    keys = [
        (a["image_id"], int(a["attributes"]["cell_id"].split(":")[1])) for a in found["annotations"]
    ]
    assert keys == sorted(keys)
    assert [(c["id"], c["name"]) for c in found["categories"]] == list(enumerate(LABEL_NAMES))


def test_a_cell_with_several_labels_is_written_once_for_each(filled: Store, tmp_path: Path) -> None:
    two = name_of(2)
    found = [cell for cell in cells(document(filled, tmp_path)) if cell[0].startswith(two)]
    assert found == [(f"{two}:1", 0), (f"{two}:1", 16), (f"{two}:3", 0), (f"{two}:3", 16)]


def test_skip_leaves_out_images_with_several_labels(filled: Store, tmp_path: Path) -> None:
    found = document(filled, tmp_path, ExportOptions(multilabel="skip"))
    assert names(found) == [f"{name_of(i)}.png" for i in (0, 1, 3, 4)]


def test_multihot_is_refused_with_what_to_do(filled: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one category; use expand or skip, or export mmdet"):
        document(filled, tmp_path, ExportOptions(multilabel="multihot"))


def test_a_label_narrows_images_and_cells(filled: Store, tmp_path: Path) -> None:
    found = document(filled, tmp_path, ExportOptions(labels=(16,)))
    assert names(found) == [f"{name_of(i)}.png" for i in (1, 2)]
    assert {category for _, category in cells(found)} == {16}


def test_a_clean_set_gives_its_clean_cells_and_all_images_in_its_scope(
    store: Store, tmp_path: Path
) -> None:
    bright: dict[str, Any] = {"green_intensity_max": [200.0] * 3}
    put(
        store,
        measured("a", (0,), green_fraction=[0.1, 0.5, 0.9], **bright),
        measured("b", (5,), green_fraction=[0.1, 0.2, 0.3], green_intensity_max=[1.0, 2.0, 3.0]),
        measured("c", (0, 5), green_fraction=[0.5] * 3, **bright),
    )
    hpastore.create_clean_set(
        store, "mine", hpastore.CleanRecipe((hpastore.Rule(lower=0.1, upper=0.9),))
    )
    found = document(store, tmp_path, ExportOptions(clean="mine"))
    assert names(found) == ["a.png", "b.png"]
    assert cells(found) == [("a:2", 0)]
    assert found["annotations"][0]["attributes"] == {
        "cell_id": "a:2",
        "fraction": 0.5,
        "set": "mine@1",
    }
    assert names(document(store, tmp_path, ExportOptions(clean="mine", drop_empty=True))) == [
        "a.png"
    ]
    hpastore.create_clean_set(store, "mine", hpastore.CleanRecipe(min_green=0))
    assert len(cells(document(store, tmp_path, ExportOptions(clean="mine@1")))) == 1
    assert len(cells(document(store, tmp_path, ExportOptions(clean="mine")))) == 2


def test_an_image_without_labels_is_listed_without_annotations(
    store: Store, tmp_path: Path
) -> None:
    put(store, measured("a", (0,)), measured("b", ()))
    found = document(store, tmp_path)
    assert names(found) == ["a.png", "b.png"]
    assert {a["image_id"] for a in found["annotations"]} == {1}


def test_a_cell_without_a_fraction_has_null(store: Store, tmp_path: Path) -> None:
    put(store, measured("a", (0,), green_fraction=[float("nan"), 0.25]))
    found = [a["attributes"]["fraction"] for a in document(store, tmp_path)["annotations"]]
    assert found == [None, 0.25]


def test_files_are_named_as_asked(filled: Store, tmp_path: Path) -> None:
    assert names(document(filled, tmp_path, image_format="jpg"))[0] == f"{name_of(0)}.jpg"
    four = [f"{name_of(0)}_{c}.png" for c in ("red", "green", "blue", "yellow")]
    assert document(filled, tmp_path, channels="list")["images"][0]["file_name"] == four
    with pytest.raises(UsageError, match=r"invalid image_format 'gif' \(choose from png, jpg\)"):
        document(filled, tmp_path, image_format="gif")
    with pytest.raises(
        UsageError, match=r"invalid channels 'five' \(choose from composite, list\)"
    ):
        document(filled, tmp_path, channels="five")


def test_no_file_of_a_channel_that_an_image_lacks_is_named(
    filled: Store, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    forget_channels(filled, name_of(1), "yellow")
    images = document(filled, tmp_path, channels="list")["images"]
    files = [image["file_name"] for image in images]
    assert files[0] == [f"{name_of(0)}_{c}.png" for c in CHANNELS]
    assert files[1] == [f"{name_of(1)}_{c}.png" for c in ("red", "green", "blue")]
    hpastore.export_mmdet(filled, tmp_path / "out.pkl", channels="list")
    records = pickle.loads((tmp_path / "out.pkl").read_bytes())
    assert [record["filename"] for record in records] == files
    assert (
        caplog.messages
        == [f"1 image lacks a channel, whose file is not named: {name_of(1)} (yellow)"] * 2
    )


def test_the_formatted_annotation_is_what_json_would_write() -> None:
    from hpastore.export.coco import _annotations

    cell = Annotation(7, (3, 4), 1, 2, 3, 4, 5, "a\\b", 1 / 3)
    image = AnnotatedImage("n", 20, 10, CHANNELS, (cell,))
    first, second = (json.loads(text) for text in _annotations(image, 8, 9, "null"))
    assert first == {
        "id": 9,
        "image_id": 8,
        "category_id": 3,
        "segmentation": {"size": [10, 20], "counts": "a\\b"},
        "area": 5,
        "bbox": [1, 2, 3, 4],
        "iscrowd": 0,
        "attributes": {"cell_id": "n:7", "fraction": 1 / 3, "set": None},
    }
    assert second == first | {"id": 10, "category_id": 4}
