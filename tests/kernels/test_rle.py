from __future__ import annotations

import random
import re
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pycocotools import mask as coco

import hpastore
from hpastore.kernels.label_image import label_image
from hpastore.kernels.rle import decode, encode_cells, overlaps
from tests.conftest import Figure, Trials
from tests.gallery import (
    Mask,
    Picture,
    checkerboard,
    every_picture,
    many,
    masks,
    single_pixels,
    spiral,
)

CHARACTERS = "".join(map(chr, range(48, 112)))

WRAPS = "d3" + ">0".join(["lhaSW^lhaSW"] * 8) + ">"
"""Runs that add up to 100 + 2**64: to 100 where sums are of 64 bits."""


def reference(mask: Mask) -> tuple[str, ...]:
    """The string of each cell by the COCO API, one cell at a time."""
    ids = sorted(set(mask.ravel().tolist()) - {0})
    crops = [np.asfortranarray((mask == mask_id).astype(np.uint8)) for mask_id in ids]
    return tuple(coco.encode(crop)["counts"].decode("ascii") for crop in crops)


def plain_decode(text: str, height: int, width: int) -> npt.NDArray[np.bool_] | None:
    """The format of `maskApi.c`, number by number with Python's integers; None for anything else."""
    if not re.fullmatch(r"([P-o]{0,11}[0-O])+", text):
        return None
    lengths: list[int] = []
    for number in re.findall(r"[P-o]*[0-O]", text):
        groups = [ord(character) - 48 for character in number]
        value = sum((group & 31) << (5 * i) for i, group in enumerate(groups))
        value -= (1 << (5 * len(groups))) if groups[-1] & 16 else 0
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
    if min(lengths) < 0 or sum(lengths) != height * width:
        return None
    pixels = [i % 2 == 1 for i, length in enumerate(lengths) for _ in range(length)]
    return np.array(pixels, bool).reshape(width, height).T


def plain_encode(mask: Mask) -> str:
    """The format of `maskApi.c` of one cell, number by number with Python's integers."""
    lengths = [0] if mask.flat[0] else []
    lengths += [len(list(run)) for _, run in groupby(mask.ravel(order="F").tolist())]
    numbers = [n - lengths[i - 2] if i > 2 else n for i, n in enumerate(lengths)]
    return "".join(map(plain_number, numbers))


def plain_number(number: int) -> str:
    text = ""
    while not -16 <= number < 16:
        text += chr(48 + (number & 31) + 32)
        number >>= 5
    return text + chr(48 + (number & 31))


def decode_or_none(text: str, height: int, width: int) -> npt.NDArray[np.bool_] | None:
    try:
        return decode(text, height, width)
    except ValueError:
        return None


def assert_codes_are_cocos_and_come_back(mask: Mask) -> None:
    texts = encode_cells(label_image(mask))
    assert texts == reference(mask)
    for text, mask_id in zip(texts, sorted(set(mask.ravel().tolist()) - {0}), strict=True):
        assert (decode(text, *mask.shape) == (mask == mask_id)).all()


@st.composite
def long_rows(draw: st.DrawFn) -> Mask:
    """One row with a few runs of any length: counts, and differences of counts, of several groups."""
    lengths = draw(st.lists(st.integers(1, 40) | st.integers(1, 40_000), min_size=1, max_size=9))
    ids = draw(st.lists(st.sampled_from((0, 1, 2)), min_size=len(lengths), max_size=len(lengths)))
    return np.repeat(np.array(ids, np.uint8), lengths)[None]


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, int, int]:
    """The string of a real mask with a few characters put in, left out or changed."""
    mask = draw(masks())
    text = "".join(reference(np.minimum(mask, 1)))
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        text = (
            text[:at] + draw(st.text(CHARACTERS, max_size=2)) + text[at + draw(st.integers(0, 2)) :]
        )
    return text, *mask.shape


@every_picture
def test_each_drawn_cell_has_the_string_of_the_coco_api(picture: Picture) -> None:
    assert_codes_are_cocos_and_come_back(picture.cell_mask)


@many
@given(masks())
def test_each_cell_of_any_mask_has_the_string_of_the_coco_api(mask: Mask) -> None:
    assert_codes_are_cocos_and_come_back(mask)


@many
@given(long_rows(), st.booleans())
def test_counts_of_several_groups_are_written_as_the_coco_api_does(
    mask: Mask, upright: bool
) -> None:
    assert_codes_are_cocos_and_come_back(mask.T if upright else mask)


@pytest.mark.parametrize(
    "mask",
    [
        checkerboard(63, 64),
        checkerboard(1, 1),
        spiral(41),
        single_pixels(300, (30, 31)),
        np.ones((70, 80), np.uint8),
        single_pixels(900, (30, 30)),
    ],
    ids=["checkerboard", "one pixel", "spiral", "300 cells", "whole image", "no background"],
)
def test_busy_masks_have_the_strings_of_the_coco_api(mask: Mask) -> None:
    assert_codes_are_cocos_and_come_back(mask)


@pytest.mark.parametrize(
    "pixels",
    [[(2999, 2999)], [(0, 2999)], [(0, 0)], [(1500, 1500)], [(0, 0), (5, 0), (2999, 2998)], []],
    ids=["last", "far", "first", "middle", "near and far", "all"],
)
def test_a_few_pixels_of_a_large_image_have_the_string_of_the_coco_api(
    pixels: list[tuple[int, int]],
) -> None:
    mask = np.zeros((3000, 3000), np.uint8)
    for pixel in pixels:
        mask[pixel] = 3
    assert_codes_are_cocos_and_come_back(mask if pixels else mask + 1)


def test_the_strings_are_those_worked_out_by_hand() -> None:
    mask = np.array([[0, 5, 0], [5, 5, 7]])  # down the columns: 0 5 5 5 0 7
    assert encode_cells(label_image(mask)) == ("132", "51")  # 1, 3, 2; then 5, 1
    assert decode("132", 2, 3).tolist() == [[False, True, False], [True, True, False]]


def test_a_mask_that_begins_with_a_cell_begins_with_no_zeros() -> None:
    assert encode_cells(label_image(np.array([[1, 0]]))) == ("011",)


def test_from_the_fourth_count_on_the_difference_to_the_count_two_before_is_written() -> None:
    column = np.repeat([0, 1, 0, 1, 0], [4, 3, 2, 1, 5])[:, None]
    assert encode_cells(label_image(column)) == ("432N3",)  # 4, 3, 2, 1 - 3, 5 - 2


def test_no_cells_have_no_strings() -> None:
    assert encode_cells(label_image(np.zeros((3, 4), np.uint8))) == ()


def test_a_decoded_mask_is_bool_in_fortran_order_as_the_coco_api_wants_it() -> None:
    mask = decode("132", 2, 3)
    assert mask.dtype == np.bool_
    assert mask.flags.f_contiguous


@many
@given(damaged())
def test_of_damaged_strings_those_are_decoded_that_fill_the_image(
    case: tuple[str, int, int],
) -> None:
    assert_decoded_as_plainly(*case)


@many
@given(st.text(CHARACTERS, max_size=30), st.integers(1, 9), st.integers(1, 9))
@example("04", 2, 2)
@example("o" * 11 + "0", 2, 2)
@example("P" * 11 + "@", 2, 2)
@example(WRAPS, 10, 10)
def test_strings_of_the_right_characters_are_decoded_where_they_fill_the_image(
    text: str, height: int, width: int
) -> None:
    assert_decoded_as_plainly(text, height, width)


def assert_decoded_as_plainly(text: str, height: int, width: int) -> None:
    fast, slow = decode_or_none(text, height, width), plain_decode(text, height, width)
    if slow is None:
        assert fast is None
    else:
        assert fast is not None
        assert fast.tolist() == slow.tolist()


@many
@given(st.text(max_size=20), st.integers(1, 9), st.integers(1, 9))
def test_any_text_is_decoded_to_the_whole_image_or_refused(
    text: str, height: int, width: int
) -> None:
    mask = decode_or_none(text, height, width)
    assert mask is None or mask.shape == (height, width)


def random_mask(rng: np.random.Generator) -> Mask:
    """Noise of up to 60 cells, or cells of whole rows and columns, now and then in one long row."""
    shape = (
        (1, int(rng.integers(1, 5000)))
        if rng.random() < 0.02
        else tuple(rng.integers(1, 40, 2).tolist())
    )
    cells = int(rng.integers(1, 60))
    mask = rng.integers(0, cells + 1, shape, np.uint8)
    mask[rng.random(shape) < rng.random()] = 0
    if rng.random() < 0.5:
        mask = np.repeat(np.repeat(mask, int(rng.integers(1, 9)), 0), int(rng.integers(1, 9)), 1)[
            :40, :5000
        ]
    return mask


@pytest.mark.soak
def test_random_masks_come_back_and_all_ways_to_write_them_agree(
    trials: Trials, figure: Figure
) -> None:
    wanted, done, images = trials(quick=1_000, full=10_000, soak=1_000_000), 0, 0
    while done < wanted:
        mask = random_mask(np.random.default_rng((8, images)))
        label = label_image(mask)
        texts, ids = encode_cells(label), label.ids.tolist()
        cells = np.asfortranarray(mask[..., None] == label.ids, np.uint8)
        theirs = coco.encode(cells)
        assert texts == tuple(rle["counts"].decode() for rle in theirs), images
        if ids:  # of no strings pycocotools makes an array of any shape
            assert (coco.decode(theirs) == cells).all(), images
        for text, mask_id in zip(texts, ids, strict=True):
            cell = mask == mask_id
            assert text == plain_encode(cell), (images, mask_id)
            back, plain = decode(text, *mask.shape), plain_decode(text, *mask.shape)
            assert plain is not None
            assert (back == cell).all(), (images, mask_id)
            assert (plain == cell).all(), (images, mask_id)
        done, images = done + len(ids), images + 1
    figure(
        f"rle: {done} random cells of {images} images come back; pycocotools and the plain way agree"
    )


@pytest.mark.soak
def test_strings_damaged_at_random_are_refused_or_fill_the_image(
    trials: Trials, figure: Figure
) -> None:
    n, filled = trials(quick=1_000, full=10_000, soak=500_000), 0
    for trial in range(n):
        rng = random.Random(f"rle {trial}")
        height, width = rng.randint(1, 30), rng.randint(1, 30)
        mask = np.array([rng.random() < 0.5 for _ in range(height * width)]).reshape(height, width)
        text = plain_encode(np.repeat(mask, rng.randint(1, 4), axis=0)[:height])
        for _ in range(rng.choice((1, 1, 2, 5))):
            at = rng.randint(0, len(text))
            put = "".join(
                rng.choices(
                    rng.choice((CHARACTERS, CHARACTERS, "0P", " /o~\n\0é")), k=rng.randint(0, 3)
                )
            )
            text = text[:at] + put + text[at + rng.randint(0, 3) :]
        assert_decoded_as_plainly(text, height, width)
        filled += decode_or_none(text, height, width) is not None
    assert n / 100 < filled < n / 2
    figure(
        f"rle: {n} damaged strings: {n - filled} refused, {filled} decoded as the plain way does, 0 crashes"
    )


@given(masks(), st.integers(0, 8), st.integers(0, 8))
def test_overlaps_are_those_of_the_coco_api(mask: Mask, down: int, across: int) -> None:
    moved = np.roll(mask, (down, across), (0, 1))
    some, others = reference(mask), reference(moved)
    found = overlaps(some, others)
    assert found.shape == (len(some), len(others))
    if some:
        size = list(mask.shape)
        sides = [
            [{"size": size, "counts": text.encode()} for text in side] for side in (some, others)
        ]
        assert found.tolist() == coco.iou(*sides, [0] * len(others)).tolist()


def test_no_module_hands_anything_to_pycocotools() -> None:
    """It reads memory that is not its own where a string is too short, and dies of others."""
    modules = sorted(Path(hpastore.__file__).parent.rglob("*.py"))
    assert modules
    assert [
        m.name for m in modules if re.search(r"^\s*(import|from) pycocotools", m.read_text(), re.M)
    ] == []


GARBAGE = {
    "nothing": "",
    "a blank": " ",
    "a blank at the end": "04 ",
    "a line's end": "04\n",
    "a character before the first": "0\x14",
    "the character after the last": "0t0",
    "a digit that is not ASCII": "0\u0664",
    "a letter that is not ASCII": "0é",
    "half a character": "0\ud800",
    "a number without an end": "0P",
    "a number of thirteen groups": "0T" + "P" * 11 + "0",
    "a large number of thirteen groups": "o" * 12 + "0",
    "a negative run": "5O",
    "a negative first run": "O5",
    "a run too few": "03",
    "a run too many": "05",
}


@pytest.mark.parametrize("text", GARBAGE.values(), ids=GARBAGE.keys())
@pytest.mark.parametrize(
    ("height", "width"), [(2, 2), (3, 5)]
)  # 15 is what a question mark stands for
def test_garbage_is_refused_with_a_reason(text: str, height: int, width: int) -> None:
    with pytest.raises(
        ValueError, match=r"is not a compressed COCO RLE|do not fill|ordinal not in range"
    ):
        decode(text, height, width)


def test_runs_whose_sum_is_right_only_in_64_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="do not fill 10 x 10 pixels"):
        decode(WRAPS, 10, 10)


@pytest.mark.parametrize(("height", "width"), [(2, 4), (1, 5), (3, 3), (0, 0)])
def test_runs_that_are_too_short_or_too_long_for_the_image_are_refused(
    height: int, width: int
) -> None:
    with pytest.raises(ValueError, match=f"do not fill {height} x {width} pixels"):
        decode("132", height, width)


@every_picture
def test_a_string_that_lost_its_last_character_is_refused(picture: Picture) -> None:
    for text in encode_cells(label_image(picture.cell_mask)):
        with pytest.raises(ValueError):
            decode(text[:-1], *picture.cell_mask.shape)
