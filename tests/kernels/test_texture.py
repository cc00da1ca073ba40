from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given

from hpastore.kernels.labels import label_image
from hpastore.kernels.texture import brenner, pair_rows
from tests.gallery import Picture, Pixels, drawn, every_picture, many, pictures

Rows = npt.NDArray[np.unsignedinteger]


def plain_brenner(rows: Rows, channel: Pixels, row: int) -> float:
    """Pair by pair with Python's integers."""
    squares = [
        (int(channel[r, c + 2]) - int(channel[r, c])) ** 2
        for r in range(rows.shape[0])
        for c in range(rows.shape[1] - 2)
        if rows[r, c] == row and rows[r, c + 2] == row
    ]
    return sum(squares) / len(squares) if squares else np.nan


def focus(text: str, levels: list[list[int]]) -> list[float]:
    """Of each cell of a drawing."""
    label = label_image(drawn(text))
    found: list[float] = brenner(
        pair_rows(label.rows), np.array(levels, np.uint8), len(label.ids) + 1
    ).tolist()
    return found


def assert_focus_is_plain(picture: Picture) -> None:
    label = label_image(picture.cell_mask)
    count = len(label.ids) + 1
    for dtype in (label.rows.dtype, np.dtype(np.uint32)):
        rows = label.rows.astype(dtype)
        for channel in picture.channels.values():
            found = brenner(pair_rows(rows), channel, count)
            assert found.dtype == np.float64
            np.testing.assert_array_equal(found, [plain_brenner(rows, channel, k) for k in range(1, count)])


@every_picture
def test_focus_in_a_drawn_image_is_that_of_the_definition(picture: Picture) -> None:
    assert_focus_is_plain(picture)


@many
@given(pictures())
def test_focus_in_any_image_is_that_of_the_definition(picture: Picture) -> None:
    assert_focus_is_plain(picture)


def test_a_pair_counts_whatever_lies_between() -> None:
    assert focus("1.1", [[10, 99, 13]]) == [9.0]
    assert focus("121", [[10, 99, 13]])[0] == 9.0


def test_a_pair_with_one_pixel_in_another_cell_does_not_count() -> None:
    assert focus("1112", [[10, 20, 13, 255]])[0] == 9.0


def test_pairs_go_along_rows_and_not_along_columns() -> None:
    assert focus("111 111 111", [[1, 1, 1], [90, 90, 90], [200, 200, 200]]) == [0.0]


def test_differences_of_all_255_levels_in_both_directions_are_squared_in_full() -> None:
    assert focus("111 111", [[0, 0, 255], [255, 0, 0]]) == [65025.0]


@pytest.mark.parametrize("text", ["1", "11 11", "1 1 1", "12 21", "1...2"])
def test_a_cell_without_a_pair_has_no_focus(text: str) -> None:
    height, width = drawn(text).shape
    assert np.isnan(focus(text, [[7] * width] * height)).all()


def test_a_cell_without_a_pair_leaves_the_others_alone() -> None:
    found = focus("2..111", [[1, 2, 3, 4, 5, 9]])
    assert found[0] == 25.0
    assert np.isnan(found[1])


@pytest.mark.parametrize("shape", [(3, 5), (3, 2), (3, 1)])
def test_no_cells_give_no_focus_of_the_right_dtype(shape: tuple[int, int]) -> None:
    pairs = pair_rows(np.zeros(shape, np.uint8))
    found = brenner(pairs, np.zeros(shape, np.uint8), 1)
    assert found.shape == (0,)
    assert found.dtype == np.float64


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize(("width", "pairs"), [(1, 0), (2, 0), (3, 1), (9, 7)])
def test_there_are_two_pairs_fewer_than_columns(
    dtype: type[np.unsignedinteger], width: int, pairs: int
) -> None:
    found = pair_rows(np.ones((4, width), dtype))
    assert found.shape == (4, pairs)
    assert found.dtype == dtype


def test_rows_and_channel_are_never_changed() -> None:
    rows, channel = np.array([[1, 2, 1, 2]], np.uint8), np.array([[3, 4, 5, 6]], np.uint8)
    rows.setflags(write=False)
    channel.setflags(write=False)
    brenner(pair_rows(rows), channel, 3)
    assert rows.tolist() == [[1, 2, 1, 2]]
    assert channel.tolist() == [[3, 4, 5, 6]]
