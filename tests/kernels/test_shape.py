from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

from hpastore.kernels import shape
from hpastore.kernels.label_image import label_image
from tests.gallery import (
    GALLERY,
    Mask,
    Picture,
    checkerboard,
    comb,
    drawn,
    every_picture,
    many,
    masks,
    single_pixels,
    spiral,
)


def plain_ids(mask: Mask) -> list[int]:
    return sorted(set(mask.ravel().tolist()) - {0})


def plain_box(mask: Mask, mask_id: int) -> tuple[int, int, int, int]:
    """x, y, width, height around all pixels of one cell."""
    pixels = np.argwhere(mask == mask_id)
    (y, x), (y_last, x_last) = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return x, y, x_last + 1 - x, y_last + 1 - y


def plain_touch(mask: Mask, mask_id: int) -> int:
    frame = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    return int((frame == mask_id).any())


def plain_pieces(mask: Mask, mask_id: int) -> int:
    found, _ = cv2.connectedComponents((mask == mask_id).astype(np.uint8), connectivity=8)
    return int(found) - 1


def plain_border_share(inside: npt.NDArray[np.bool_]) -> float:
    """Go around each pixel of a cell: sides on the image's edge, of all that face no other pixel."""
    pixels = set(map(tuple, np.argwhere(inside).tolist()))
    height, width = inside.shape
    outline = at_edge = 0
    for row, column in pixels:
        for r, c in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            outline += (r, c) not in pixels
            at_edge += not (0 <= r < height and 0 <= c < width)
    return at_edge / outline


def plain_far_edge(mask: Mask, mask_id: int) -> list[int]:
    """Flat index of each pixel in the last row or column of the cell's box."""
    pixels = np.argwhere(mask == mask_id)
    last = pixels.max(axis=0).tolist()
    at_edge = [(r, c) for r, c in pixels.tolist() if r == last[0] or c == last[1]]
    return [r * mask.shape[1] + c for r, c in at_edge]


def straight_places(mask: Mask) -> list[tuple[int, int]]:
    """Pixels of a cell between two others of it in a row or a column, and with none beside: no corners."""
    padded = np.pad(mask, 1)
    around = [(r, c, padded[r : r + 3, c : c + 3]) for r, c in np.argwhere(mask).tolist()]
    return [
        (r, c) for r, c, near in around if near.sum() == 3 and (near[1].all() or near[:, 1].all())
    ]


def assert_shapes_are_plain(mask: Mask) -> None:
    label, ids = label_image(mask), plain_ids(mask)
    box = shape.boxes(label)
    assert shape.areas(label).tolist() == [np.count_nonzero(mask == i) for i in ids]
    assert np.transpose(box).tolist() == [list(plain_box(mask, i)) for i in ids]
    assert shape.touch_border(box, label.rows.shape).tolist() == [plain_touch(mask, i) for i in ids]
    assert shape.pieces(label).tolist() == [plain_pieces(mask, i) for i in ids]
    shares = [plain_border_share(mask == i) for i in ids]
    assert shape.border_shares(label).tolist() == shares
    pixel, cell = shape.far_edges(label, box)
    assert [sorted(pixel[cell == k].tolist()) for k in range(len(ids))] == [
        plain_far_edge(mask, i) for i in ids
    ]
    assert len(pixel) == sum(len(plain_far_edge(mask, i)) for i in ids)


@every_picture
def test_shapes_of_a_drawn_mask_are_those_of_the_plain_way(picture: Picture) -> None:
    assert_shapes_are_plain(picture.cell_mask)


@many
@given(masks())
def test_shapes_of_any_mask_are_those_of_the_plain_way(mask: Mask) -> None:
    assert_shapes_are_plain(mask)


def test_scattered_cells_whose_boxes_are_the_image_cost_no_more_than_their_pixels() -> None:
    mask = np.random.default_rng(0).integers(1, 10_001, (300, 300))
    label = label_image(mask)
    box = shape.boxes(label)
    tracemalloc.start()
    try:
        shape.far_edges(label, box)
        assert tracemalloc.get_traced_memory()[1] < 20 * mask.nbytes  # along the boxes: 200
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("density", [0.3, 0.4, 0.6])
def test_shapes_of_large_noise_are_those_of_the_plain_way(seed: int, density: float) -> None:
    rng = np.random.default_rng(seed)  # near the density where winding pieces grow across the image
    assert_shapes_are_plain(
        np.where(rng.random((60, 50)) < density, rng.integers(1, 3, (60, 50)), 0)
    )


@pytest.mark.parametrize(
    ("name", "areas", "pieces"),
    [
        ("no cell", [], []),
        ("one pixel", [1], [1]),
        ("the whole image", [12], [1]),
        ("a hole", [8], [1]),
        ("a cell within a cell", [16, 1], [1, 1]),
        ("two pieces", [6, 2], [2, 1]),
        ("pieces that meet at a corner", [4, 4], [1, 1]),
        ("a run that wraps from column to column", [2], [2]),
        ("only the last row and column of its box", [4], [1]),
        ("checkerboard", [28, 28], [1, 1]),
        ("comb", [39], [1]),
    ],
)
def test_areas_and_pieces_are_those_that_were_drawn(
    name: str, areas: list[int], pieces: list[int]
) -> None:
    label = label_image(GALLERY[name].cell_mask)
    assert shape.areas(label).tolist() == areas
    assert shape.pieces(label).tolist() == pieces


def test_a_box_is_half_open_and_holds_every_piece() -> None:
    box = shape.boxes(label_image(drawn("..... .1... ...1. ..... .....")))
    assert [v.tolist() for v in box] == [[1], [1], [3], [2]]


def test_a_run_over_several_columns_makes_the_box_as_high_as_the_image() -> None:
    box = shape.boxes(label_image(drawn(".1. ... ... 1..")))
    assert [v.tolist() for v in box] == [[0], [0], [2], [4]]


def test_cells_at_each_of_the_four_borders_touch_and_the_one_inside_does_not() -> None:
    label = label_image(drawn("..1.. ..... 2.5.3 ..... ..4.."))
    assert shape.touch_border(shape.boxes(label), (5, 5)).tolist() == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    "mask",
    [
        spiral(81),
        spiral(81).T,
        spiral(81)[::-1],
        comb(40, 60),
        comb(40, 60).T,
        comb(40, 60)[:, ::-1],
    ],
    ids=[
        "spiral",
        "spiral on end",
        "spiral upside down",
        "comb",
        "comb on end",
        "comb to the left",
    ],
)
def test_a_long_winding_cell_is_one_piece_and_two_when_cut(mask: Mask) -> None:
    assert shape.pieces(label_image(mask)).tolist() == [1]
    row, column = straight_places(mask)[mask.sum() // 3]
    cut = mask.copy()
    cut[row, column] = 0
    assert shape.pieces(label_image(cut)).tolist() == [2]


def test_each_tooth_of_a_comb_without_its_back_is_a_piece() -> None:
    assert shape.pieces(label_image(comb(40, 60)[:, :-1])).tolist() == [40]


def test_two_spirals_in_one_another_are_one_piece_each() -> None:
    mask = spiral(41)
    assert_shapes_are_plain(np.where(mask == 0, 2, 1))


def test_a_large_checkerboard_is_two_cells_of_one_piece() -> None:
    assert shape.pieces(label_image(checkerboard(101, 100))).tolist() == [1, 1]


def test_many_cells_of_one_pixel_have_the_shapes_of_one_pixel() -> None:
    mask = single_pixels(1000, (40, 50))
    label = label_image(mask)
    box = shape.boxes(label)
    assert shape.areas(label).tolist() == shape.pieces(label).tolist() == [1] * 1000
    assert box.width.tolist() == box.height.tolist() == [1] * 1000
    assert (mask[box.y, box.x] == label.ids).all()


def test_no_cells_give_empty_columns_of_int64() -> None:
    label = label_image(np.zeros((3, 4), np.uint16))
    box = shape.boxes(label)
    for column in (*box, shape.areas(label), shape.pieces(label), shape.touch_border(box, (3, 4))):
        assert column.shape == (0,)
        assert column.dtype == np.int64


@every_picture
def test_all_columns_are_int64(picture: Picture) -> None:
    label = label_image(picture.cell_mask)
    box = shape.boxes(label)
    columns = (
        *box,
        shape.areas(label),
        shape.pieces(label),
        shape.touch_border(box, label.rows.shape),
    )
    assert {column.dtype for column in columns} == {np.dtype(np.int64)}


@pytest.mark.parametrize(
    ("text", "shares"),
    [
        ("... .1. ...", [0.0]),
        ("1.. ... ...", [2 / 4]),  # two of the four sides of a pixel in a corner
        (".1. ... ...", [1 / 4]),
        ("11 11", [1.0]),
        ("111 1.1 111", [12 / 16]),  # the hole has four sides
        ("1122 1122", [6 / 8, 6 / 8]),
        ("1.1", [6 / 8]),  # two pieces
    ],
)
def test_the_share_of_the_edge_counts_sides_of_pixels(text: str, shares: list[float]) -> None:
    assert shape.border_shares(label_image(drawn(text))).tolist() == shares
