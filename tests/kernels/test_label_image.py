from __future__ import annotations

import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given

from hpastore.kernels.label_image import LabelImage, label_image, transpose
from tests.gallery import INTEGERS, Mask, Picture, drawn, every_picture, many, masks, single_pixels


def plain_runs(mask: Mask) -> list[tuple[int, int, int]]:
    """(Mask id, start, stop) of each run down the columns, by id and then by position."""
    runs, position = [], 0
    for mask_id, pixels in itertools.groupby(mask.T.ravel().tolist()):
        start, position = position, position + len(list(pixels))
        runs.append((mask_id, start, position))
    return sorted(run for run in runs if run[0] != 0)


def runs_of(label: LabelImage) -> list[tuple[int, int, int]]:
    return list(
        zip(label.ids[label.cell].tolist(), label.start.tolist(), label.stop.tolist(), strict=True)
    )


def plain_rows(mask: Mask) -> list[list[int]]:
    """0 for background, else one more than the id's place among the ids."""
    ids = sorted({*mask.ravel().tolist(), 0} - {0})
    return [[ids.index(pixel) + 1 if pixel else 0 for pixel in row] for row in mask.tolist()]


def assert_label_image_is_plain(mask: Mask) -> None:
    label = label_image(mask)
    assert label.ids.tolist() == sorted(set(mask.ravel().tolist()) - {0})
    assert label.rows.tolist() == plain_rows(mask)
    runs = plain_runs(mask)
    assert runs_of(label) == runs
    assert label.first.tolist() == [[r[0] for r in runs].index(mask_id) for mask_id in label.ids]


def peak_memory(mask: Mask) -> int:
    label_image(mask)
    tracemalloc.start()
    try:
        label_image(mask)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@every_picture
def test_ids_rows_and_runs_of_a_drawn_mask_are_those_of_the_plain_way(picture: Picture) -> None:
    assert_label_image_is_plain(picture.cell_mask)


@many
@given(masks())
def test_ids_rows_and_runs_of_any_mask_are_those_of_the_plain_way(mask: Mask) -> None:
    assert_label_image_is_plain(mask)


def test_a_run_goes_on_from_the_foot_of_a_column_to_the_head_of_the_next() -> None:
    label = label_image(drawn(".1. ... ... 1.."))
    assert runs_of(label) == [(1, 3, 5)]


@every_picture
def test_runs_are_maximal_and_sorted_within_each_cell(picture: Picture) -> None:
    label = label_image(picture.cell_mask)
    assert (label.start < label.stop).all()
    assert (np.diff(label.cell) >= 0).all()
    same_cell = np.diff(label.cell) == 0
    assert (label.start[1:] > label.stop[:-1])[same_cell].all()


@every_picture
def test_arrays_have_the_dtypes_that_they_promise(picture: Picture) -> None:
    label = label_image(picture.cell_mask)
    assert {a.dtype for a in (label.ids, label.start, label.stop, label.first)} == {
        np.dtype(np.int64)
    }
    assert label.rows.dtype == (np.uint8 if len(label.ids) < 256 else np.uint16)
    assert label.rows.shape == picture.cell_mask.shape


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_ids_may_be_as_large_as_the_dtype_allows(dtype: np.dtype[np.integer]) -> None:
    top = min(int(np.iinfo(dtype).max), 2**63 - 1)
    mask = np.array([[0, top, 1], [1, 1, top - 1]]).astype(dtype)
    label = label_image(mask)
    assert label.ids.tolist() == [1, top - 1, top]
    assert label.rows.tolist() == [[0, 3, 1], [1, 1, 2]]


def test_one_pixel_of_a_giant_id_costs_no_more_memory_than_one_of_id_256() -> None:
    small, giant = np.zeros((256, 256), np.uint32), np.zeros((256, 256), np.uint32)
    small[100, 50], giant[100, 50] = 256, 4_000_000_000
    assert peak_memory(giant) <= peak_memory(small) + 4096


@pytest.mark.parametrize(
    ("cells", "dtype"),
    [(254, np.uint8), (255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)],
)
def test_rows_take_the_smallest_dtype_that_holds_all_cells(
    cells: int, dtype: type[np.unsignedinteger]
) -> None:
    mask = single_pixels(cells, (256, 257))
    label = label_image(mask)
    assert label.rows.dtype == dtype
    assert (label.rows == mask).all()  # these ids have no gaps
    assert label.ids.tolist() == list(range(1, cells + 1))


@many
@given(masks())
def test_the_mask_is_never_changed(mask: Mask) -> None:
    before = mask.copy()
    mask.setflags(write=False)
    label_image(mask)
    assert (mask == before).all()


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
@pytest.mark.parametrize(
    "view",
    [
        np.s_[:, :],
        np.s_[::2, :],
        np.s_[:, ::3],
        np.s_[::-1, ::-1],
        np.s_[1:, 2:-1],
        np.s_[3:4, :],
        np.s_[:, 3:4],
    ],
    ids=str,
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_view_into_a_larger_mask_is_read_like_its_copy(
    dtype: np.dtype[np.integer], view: tuple[slice, slice], order: str
) -> None:
    whole = np.random.default_rng(0).integers(0, 4, (9, 11)).astype(dtype)
    part = (whole if order == "C" else np.asfortranarray(whole))[view]
    assert_label_image_is_plain(part)


@many
@given(masks())
def test_transpose_gives_the_transposed_image_in_contiguous_memory(mask: Mask) -> None:
    columns = transpose(mask)
    assert columns.dtype == mask.dtype
    assert columns.flags.c_contiguous
    assert columns.tolist() == mask.T.tolist()


def test_transpose_copies_bits_that_are_no_number_as_floats() -> None:
    image = np.array(
        [[0x7FF0_0000_0000_0001, 0x7FF8_0000_0000_0000, 2**63 - 1], [2**63, 2**64 - 1, 1]],
        np.uint64,
    )
    assert transpose(image).tolist() == image.T.tolist()
