from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpastore.kernels.components import has_one_id, label_components
from tests.gallery import Mask, Picture, drawn, every_picture, many, masks


def plain_components(mask: Mask) -> Mask:
    """Fill one component after the other, from the first pixel that has no number."""
    found, number = np.zeros(mask.shape, int), 0
    for start in np.argwhere(mask).tolist():
        if found[tuple(start)]:
            continue
        number += 1
        todo = [tuple(start)]
        while todo:
            row, column = todo.pop()
            inside = 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1]
            if inside and mask[row, column] and not found[row, column]:
                found[row, column] = number
                todo += [(row + r, column + c) for r in (-1, 0, 1) for c in (-1, 0, 1)]
    return found


@pytest.mark.parametrize(
    ("text", "one"),
    [("...", False), ("..1", True), (".Z.Z", True), ("111", True), (".1.2", False), ("12", False)],
)
def test_a_mask_has_one_id_or_none_or_several(text: str, one: bool) -> None:
    assert has_one_id(drawn(text)) is one


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("..1 ... 1..", "..1 ... 2.."),
        ("1..1 .11. 1..1", "1..1 .11. 1..1"),
        ("..1.1 1...1", "..1.2 3...2"),
        ("...1 .1.. 1...", "...1 .2.. 2..."),
        ("Z.A", "1.2"),
        ("12", "11"),
        ("...", "..."),
        ("1", "1"),
    ],
)
def test_components_are_numbered_by_their_first_pixels_and_meet_at_corners(
    text: str, want: str
) -> None:
    got = label_components(drawn(text.replace(" ", "\n")))
    np.testing.assert_array_equal(got, drawn(want.replace(" ", "\n")))


@many
@given(masks(), st.sampled_from([np.uint8, np.int64, np.uint32]))
def test_components_are_those_of_a_plain_fill(mask: Mask, dtype: type[np.integer]) -> None:
    binary = (mask > 0).astype(dtype)
    np.testing.assert_array_equal(label_components(binary), plain_components(binary))


def test_components_of_a_large_field_are_those_of_opencv_but_for_their_numbers() -> None:
    noise = np.random.default_rng(3).integers(0, 2, (30, 40))
    mask = np.repeat(np.repeat(noise, 10, axis=0), 10, axis=1)
    got = label_components(mask)
    count, want = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert got.max() == count - 1 > 1
    assert len(np.unique(np.stack([got.ravel(), want.ravel()]), axis=1).T) == count
    first = [int(np.flatnonzero(got.ravel() == k)[0]) for k in range(1, count)]
    assert first == sorted(first)


@every_picture
def test_the_mask_itself_stays_as_it_is(picture: Picture) -> None:
    mask = picture.cell_mask
    before = mask.copy()
    label_components(mask)
    np.testing.assert_array_equal(mask, before)
