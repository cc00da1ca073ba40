from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpastore.kernels import rle
from hpastore.kernels.label_image import label_image
from hpastore.kernels.rle import encode_cells, extents, first_damaged
from tests.gallery import Mask, Picture, every_picture, many, masks
from tests.kernels.test_rle import CHARACTERS, GARBAGE, WRAPS, damaged, decode_or_none


def plain_extents(text: str, height: int, width: int) -> tuple[int, ...] | None:
    """Area, x, y, width and height of a mask that is drawn; None for no mask, and for an empty one."""
    mask = decode_or_none(text, height, width)
    if mask is None or not mask.any():
        return None
    rows, cols = np.nonzero(mask)
    x, y = int(cols.min()), int(rows.min())
    return len(rows), x, y, int(cols.max()) - x + 1, int(rows.max()) - y + 1


def extents_or_none(texts: list[str], height: int, width: int) -> list[tuple[int, ...]] | None:
    try:
        return list(
            zip(*(column.tolist() for column in extents(texts, height, width)), strict=True)
        )
    except ValueError:
        return None


@many
@given(masks())
def test_all_cells_of_a_mask_have_the_areas_and_boxes_of_their_drawings(mask: Mask) -> None:
    texts = list(encode_cells(label_image(mask)))
    assert extents_or_none(texts, *mask.shape) == [
        plain_extents(text, *mask.shape) for text in texts
    ]


@every_picture
def test_each_drawn_cell_has_the_area_and_box_of_its_drawing(picture: Picture) -> None:
    texts, shape = list(encode_cells(label_image(picture.cell_mask))), picture.cell_mask.shape
    assert extents_or_none(texts, *shape) == [plain_extents(text, *shape) for text in texts]


@many
@given(
    st.lists(damaged().map(lambda case: case[0]) | st.text(CHARACTERS, max_size=6), max_size=3),
    st.data(),
)
def test_areas_are_of_strings_that_can_be_decoded_or_of_none(
    texts: list[str], data: st.DataObject
) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    slow = [plain_extents(text, height, width) for text in texts]
    assert extents_or_none(texts, height, width) == (None if None in slow else slow)


@pytest.mark.parametrize(
    "text", [*GARBAGE.values(), WRAPS, "4"], ids=[*GARBAGE.keys(), "wraps", "no pixel"]
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_garbage_string_among_others_is_noticed(text: str, place: int) -> None:
    texts = ["13", "04"]
    assert extents_or_none(texts, 2, 2) == [(3, 0, 0, 2, 2), (4, 0, 0, 2, 2)]
    texts.insert(place, text)
    assert extents_or_none(texts, 2, 2) is None


CASES = damaged() | st.tuples(st.text(CHARACTERS, max_size=6), st.integers(1, 9), st.just(1))


def slow_first_damaged(texts: list[str], pixels: list[int]) -> int | None:
    """The same with `extents`, one mask at a time."""
    ok = [
        extents_or_none([text], 1, size) is not None
        for text, size in zip(texts, pixels, strict=True)
    ]
    return ok.index(False) if False in ok else None


@many
@given(masks())
def test_no_mask_that_was_encoded_is_damaged(mask: Mask) -> None:
    texts = list(encode_cells(label_image(mask)))
    assert first_damaged(texts, [mask.size] * len(texts)) is None
    assert not texts or rle._all_fill(texts, [mask.size] * len(texts))  # the fast way


@many
@given(st.lists(CASES, max_size=4))
def test_the_first_damaged_mask_is_the_first_without_an_area(
    cases: list[tuple[str, int, int]],
) -> None:
    texts, pixels = [case[0] for case in cases], [case[1] * case[2] for case in cases]
    assert first_damaged(texts, pixels) == slow_first_damaged(texts, pixels)


@pytest.mark.parametrize("text", [*GARBAGE.values(), WRAPS, "4", "13\u00e9"])
@pytest.mark.parametrize("place", [0, 1, 750, 1001])
def test_one_damaged_mask_among_many_is_found(text: str, place: int) -> None:
    texts = ["13"] * 1002
    texts[place] = text
    assert first_damaged(texts, [4] * 1002) == place
    assert first_damaged(texts[:place], [4] * place) is None


@pytest.mark.parametrize("pixels", [0, -4, 5, 2**26 + 1, 2**62, 2**80])
def test_a_mask_does_not_fill_an_image_of_another_size(pixels: int) -> None:
    assert first_damaged(["13", "13"], [4, pixels]) == 1
