from __future__ import annotations

import pickle
import pickletools
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

import hpastore
from hpastore.errors import UsageError
from hpastore.export.mmdet import _dump_list
from hpastore.export.selection import ExportOptions
from hpastore.store.engine import Store
from tests.world import Array, dataset, draw_mask, measured, name_of, put


def records(
    store: Store, tmp_path: Path, export_options: ExportOptions | None = None, **options: Any
) -> list[dict[str, Any]]:
    hpastore.export_mmdet(store, tmp_path / "out.pkl", export_options, force=True, **options)
    return list(pickle.loads((tmp_path / "out.pkl").read_bytes()))


@pytest.fixture
def filled(store: Store, tmp_path: Path) -> Store:
    hpastore.ingest(store, dataset(tmp_path / "data", 4), executor="serial")
    return store


def test_each_record_has_the_keys_and_dtypes_of_the_middle_format(
    filled: Store, tmp_path: Path
) -> None:
    found = records(filled, tmp_path)
    assert [record["filename"] for record in found] == [f"{name_of(i)}.png" for i in range(4)]
    for record in found:
        assert set(record) == {"filename", "width", "height", "ann"}
        assert (type(record["width"]), type(record["height"])) == (int, int)
        assert (record["width"], record["height"]) == (32, 24)
        ann = record["ann"]
        assert set(ann) == {"bboxes", "labels", "masks"}
        n = len(ann["masks"])
        assert (ann["bboxes"].dtype, ann["bboxes"].shape) == (np.float32, (n, 4))
        assert (ann["labels"].dtype, ann["labels"].shape) == (np.int64, (n,))
        assert all(
            set(mask) == {"size", "counts"} and mask["size"] == [24, 32] for mask in ann["masks"]
        )
    assert sum(len(record["ann"]["masks"]) for record in found) > 4


def test_boxes_and_masks_are_those_of_the_image(filled: Store, tmp_path: Path) -> None:
    record = records(filled, tmp_path)[0]
    expected = draw_mask(3)
    ids = [1, 3, 5]
    for mask_id, box, mask in zip(
        ids, record["ann"]["bboxes"], record["ann"]["masks"], strict=True
    ):
        rows, columns = np.nonzero(expected == mask_id)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert np.array_equal(coco_mask.decode(mask), expected == mask_id)


def test_an_image_without_a_cell_has_empty_arrays_of_the_same_shape(
    store: Store, tmp_path: Path
) -> None:
    put(store, measured("a", (0,)), measured("b", ()))
    empty = records(store, tmp_path)[1]["ann"]
    assert (empty["bboxes"].shape, empty["bboxes"].dtype) == ((0, 4), np.float32)
    assert (empty["labels"].shape, empty["labels"].dtype) == ((0,), np.int64)
    assert empty["masks"] == []
    empty = records(store, tmp_path, ExportOptions(multilabel="multihot"))[1]["ann"]
    assert empty["labels"].shape == (0, 19)


def test_multihot_writes_a_cell_once_with_all_its_labels(filled: Store, tmp_path: Path) -> None:
    record = records(filled, tmp_path, ExportOptions(multilabel="multihot"))[2]["ann"]
    assert record["labels"].shape == (2, 19)
    assert [np.flatnonzero(row).tolist() for row in record["labels"]] == [[0, 16], [0, 16]]
    assert len(record["masks"]) == 2


def test_arrays_may_be_changed_by_who_loads_them(filled: Store, tmp_path: Path) -> None:
    box = records(filled, tmp_path)[0]["ann"]["bboxes"]
    box += 1
    assert box.flags.owndata


def test_only_names_that_numpy_1_and_2_both_have_are_referred_to(
    filled: Store, tmp_path: Path
) -> None:
    records(filled, tmp_path)
    data = (tmp_path / "out.pkl").read_bytes()
    operations = [(operation, argument) for operation, argument, _ in pickletools.genops(data)]
    assert max(operation.proto for operation, _ in operations) <= 3
    names = {operation.name for operation, _ in operations}
    assert not names & {
        "STACK_GLOBAL",
        "INST",
        "OBJ",
        "EXT1",
        "EXT2",
        "EXT4",
        "PERSID",
        "BINPERSID",
    }
    referred = {argument for operation, argument in operations if operation.name == "GLOBAL"}
    assert referred == {"numpy ndarray", "numpy dtype"}


def test_a_list_is_pickled_without_holding_its_items(tmp_path: Path) -> None:
    seen: list[weakref.ref[Array]] = []

    def items() -> Iterator[Array]:
        for i in range(5):
            assert all(item() is None for item in seen[:-1])
            array = np.arange(i)
            seen.append(weakref.ref(array))
            yield array
            del array

    with (tmp_path / "a.pkl").open("wb") as file:
        _dump_list(file, items())
    loaded = pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert [item.tolist() for item in loaded] == [list(range(i)) for i in range(5)]


def test_what_an_item_says_again_is_not_mixed_up_with_other_items(tmp_path: Path) -> None:
    again = [["a"], ["b", "c"]]
    items = [[again[i % 2], i, again[i % 2], again] for i in range(4)]
    with (tmp_path / "a.pkl").open("wb") as file:
        _dump_list(file, items)
    loaded = pickle.loads((tmp_path / "a.pkl").read_bytes())
    assert loaded == items
    assert loaded[0][0] is loaded[0][2]


def test_four_channel_files_are_a_list(filled: Store, tmp_path: Path) -> None:
    expected = [f"{name_of(0)}_{c}.png" for c in ("red", "green", "blue", "yellow")]
    assert records(filled, tmp_path, channels="list")[0]["filename"] == expected


def test_an_ending_that_its_loader_does_not_read_is_refused(filled: Store, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"reads only \.pkl and \.pickle"):
        hpastore.export_mmdet(filled, tmp_path / "out.bin")
