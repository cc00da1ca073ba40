from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpastore.kernels import nuclear_light, shape
from hpastore.kernels.image import measure
from hpastore.kernels.label_image import label_image
from hpastore.kernels.nuclear_light import MEASURES, nuclear_measures
from hpastore.reading.image import read_channel
from tests.gallery import Mask, Picture, Pixels, many, painted, pictures

SIDE = 56
"""Of a drawn cell: it is not reduced."""

RADIUS = 11
"""Of a drawn nucleus."""

Found = dict[str, npt.NDArray[np.float64]]


def found_in(mask: Mask, blue: Pixels | None) -> Found:
    label = label_image(mask)
    return nuclear_measures(label.rows, blue, shape.areas(label))


def tiles(rows: int = 3, columns: int = 3, gap: int = 6) -> Mask:
    """Square cells in a grid; they do not touch, nor the image's edge."""
    step = SIDE + gap
    mask = np.zeros((rows * step + gap, columns * step + gap), np.int32)
    for k in range(rows * columns):
        row, column = gap + k // columns * step, gap + k % columns * step
        mask[row : row + SIDE, column : column + SIDE] = k + 1
    return mask


def middle(mask: Mask, mask_id: int) -> tuple[int, int]:
    rows, columns = np.nonzero(mask == mask_id)
    return int(rows.mean()), int(columns.mean())


def lit(mask: Mask, *discs: tuple[int, int, int], level: int = 120, dark: int = 10) -> Pixels:
    """Discs of light, each a row, a column and a radius, on a dark image."""
    blue = np.full(mask.shape, dark, np.uint8)
    rows, columns = np.indices(mask.shape)
    for row, column, radius in discs:
        blue[(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = level
    return blue


def nuclei(mask: Mask, radius: int = RADIUS, but: Sequence[int] = ()) -> list[tuple[int, int, int]]:
    """One disc in the middle of each cell."""
    return [(*middle(mask, int(i)), radius) for i in np.unique(mask) if i and i not in but]


def approximately(value: float | list[float]) -> object:
    """The rim of a disc is blurred: large ones lose by that, and small ones gain."""
    return pytest.approx(value, rel=0.15, abs=0.02)


def all_null(found: Found) -> bool:
    return all(np.isnan(values).all() for values in found.values())


def noise(shape: tuple[int, int], blur: float, seed: int) -> Pixels:
    """Normal noise, blurred, from black to white."""
    levels = np.random.default_rng(seed).normal(size=shape)
    if blur:
        levels = np.asarray(cv2.GaussianBlur(levels, (0, 0), blur), np.float64)
    return np.asarray((levels - levels.min()) * (255 / np.ptp(levels)), np.uint8)


# By hand


def test_equal_nuclei_are_of_size_one_alone_and_uncut() -> None:
    mask = tiles()
    found = found_in(mask, lit(mask, *nuclei(mask)))
    assert list(found) == list(MEASURES)
    assert found["nucleus_size"].tolist() == [1.0] * 9
    assert found["second_nucleus"].tolist() == [0.0] * 9
    assert found["nucleus_cut"].tolist() == [0.0] * 9


def test_a_cell_without_light_has_a_nucleus_of_size_zero() -> None:
    mask = tiles()
    found = found_in(mask, lit(mask, *nuclei(mask, but=[5])))
    assert found["nucleus_size"].tolist() == [1.0] * 4 + [0.0] + [1.0] * 4
    assert found["second_nucleus"][4] == 0.0
    assert found["nucleus_cut"][4] == 0.0


@pytest.mark.parametrize("radius", [8, 14, 18])
def test_sizes_are_areas_by_the_median_nucleus(radius: int) -> None:
    mask = tiles()
    blue = lit(mask, *nuclei(mask, but=[5]), (*middle(mask, 5), radius))
    assert found_in(mask, blue)["nucleus_size"][4] == approximately((radius / RADIUS) ** 2)


def test_the_second_nucleus_is_the_smaller_one() -> None:
    mask = tiles()
    row, column = middle(mask, 5)
    discs = (row - 12, column - 12, RADIUS), (row + 14, column + 14, 7)
    found = found_in(mask, lit(mask, *nuclei(mask, but=[5]), *discs))
    assert found["nucleus_size"][4] == approximately(1)
    assert found["second_nucleus"][4] == approximately((7 / RADIUS) ** 2)
    assert found["second_nucleus"].tolist()[:4] == [0.0] * 4


def test_nuclei_that_touch_are_two() -> None:
    mask = tiles()
    row, column = middle(mask, 5)
    discs = (row, column - RADIUS, RADIUS), (row, column + RADIUS, RADIUS)
    found = found_in(mask, lit(mask, *nuclei(mask, but=[5]), *discs))
    assert found["nucleus_size"][4] == approximately(1)
    assert found["second_nucleus"][4] == approximately(1)


@pytest.mark.parametrize("gap", [0, 1])
def test_a_straight_cut_is_as_long_as_the_nucleus_is_wide(gap: int) -> None:
    mask = tiles()
    blue = lit(mask, *nuclei(mask))
    column = middle(mask, 5)[1]
    mask[(mask == 5) & (np.arange(mask.shape[1]) > column)] = 10
    mask[:, column + 1 : column + 1 + gap][mask[:, column + 1 : column + 1 + gap] == 10] = 0
    found = found_in(mask, blue)
    halves = [4, 9]
    # Light at the cut belongs to neither half.  A disc of half the area has 1 / √2 the diameter.
    lost = max(gap, 2) / (np.pi * RADIUS / 2)
    assert found["nucleus_size"][halves].sum() == pytest.approx(1 - lost, abs=0.08)
    assert found["nucleus_cut"][halves] == pytest.approx(np.sqrt(2), rel=0.2)
    others = np.setdiff1d(np.arange(10), halves)
    assert found["nucleus_cut"][others].tolist() == [0.0] * 8
    assert found["nucleus_size"][others].tolist() == [1.0] * 8


def test_halves_far_apart_are_not_one_nucleus_that_was_cut() -> None:
    mask = tiles()
    column = middle(mask, 5)[1]
    blue = lit(mask, *nuclei(mask))
    right = (mask == 5) & (np.arange(mask.shape[1]) > column)
    mask[right] = 10
    mask[right & (np.arange(mask.shape[1]) <= column + 4)] = 0
    assert found_in(mask, blue)["nucleus_cut"].tolist() == [0.0] * 10


def test_a_cut_beside_the_nucleus_is_none_and_leaves_a_cell_without_one() -> None:
    mask = tiles()
    blue = lit(mask, *nuclei(mask))
    column = middle(mask, 5)[1]
    mask[(mask == 5) & (np.arange(mask.shape[1]) > column + RADIUS + 5)] = 10
    found = found_in(mask, blue)
    assert found["nucleus_cut"].tolist() == [0.0] * 10
    assert found["nucleus_size"].tolist() == [1.0] * 9 + [0.0]


def test_two_nuclei_on_either_side_of_an_outline_are_not_one_that_was_cut() -> None:
    mask = tiles(gap=0)
    blue = lit(mask, *nuclei(mask, but=[4, 5]))
    row, edge = middle(mask, 4)[0], SIDE
    left, right = (row, edge - RADIUS - 2, RADIUS), (row, edge + RADIUS + 1, RADIUS)
    blue = np.maximum(blue, lit(mask, left, right))
    found = found_in(mask, blue)
    assert found["nucleus_cut"].tolist() == [0.0] * 9
    assert found["nucleus_size"][[3, 4]] == approximately([1, 1])


def test_nuclei_at_the_edge_of_the_image_do_not_count_for_the_median() -> None:
    mask = tiles(1, 5, gap=0)
    blue = lit(mask, *nuclei(mask, but=[1, 5]), (28, 0, RADIUS), (28, mask.shape[1] - 1, RADIUS))
    found = found_in(mask, blue)
    assert found["nucleus_size"][1:4] == pytest.approx(1, abs=0.01)
    assert found["nucleus_size"][[0, 4]] == approximately([0.5, 0.5])


def test_light_outside_of_cells_is_nobodys() -> None:
    mask = tiles()
    blue = lit(mask, *nuclei(mask))
    mask[mask == 5] = 0
    found = found_in(mask, blue)
    assert found["nucleus_size"].tolist() == [1.0] * 8
    assert found["second_nucleus"].tolist() == [0.0] * 8


def test_dark_spots_in_a_nucleus_are_filled_and_specks_are_no_nuclei() -> None:
    mask = tiles()
    row, column = middle(mask, 5)
    blue = lit(mask, *nuclei(mask))
    blue[row - 2 : row + 3, column - 2 : column + 3] = 10
    blue[row - 24 : row - 22, column - 24 : column - 22] = 120
    found = found_in(mask, blue)
    assert found["nucleus_size"].tolist() == [1.0] * 9
    assert found["second_nucleus"].tolist() == [0.0] * 9


def test_dim_nuclei_are_nuclei_where_they_stand_out() -> None:
    mask = tiles()
    blue = np.where(mask > 0, 30, 5).astype(np.uint8)
    blue = np.maximum(blue, lit(mask, *nuclei(mask, but=[5]), level=200, dark=0))
    assert found_in(mask, blue)["nucleus_size"][4] == 0
    blue = np.maximum(blue, lit(mask, (*middle(mask, 5), RADIUS), level=60, dark=0))
    assert found_in(mask, blue)["nucleus_size"][4] == pytest.approx(1, abs=0.3)


# Where blue cannot tell


@pytest.mark.parametrize("level", [0, 1, 7, 254, 255])
def test_a_flat_channel_tells_nothing(level: int) -> None:
    mask = tiles()
    found = found_in(mask, np.full(mask.shape, level, np.uint8))
    assert all_null(found)
    assert {name: len(values) for name, values in found.items()} == dict.fromkeys(MEASURES, 9)


def test_an_image_without_the_channel_tells_nothing() -> None:
    assert all_null(found_in(tiles(), None))


def test_no_cells_give_typed_empty_columns() -> None:
    mask = np.zeros((80, 80), np.int32)
    for blue in (None, lit(mask, (40, 40, 12))):
        found = found_in(mask, blue)
        assert list(found) == list(MEASURES)
        assert {(v.shape, v.dtype) for v in found.values()} == {((0,), np.dtype(np.float64))}


def test_light_beside_the_cells_only_tells_nothing() -> None:
    mask = tiles()
    outside = np.where(mask > 0, 10, 200).astype(np.uint8)
    assert all_null(found_in(mask, outside))


def test_cells_of_a_few_pixels_tell_nothing() -> None:
    mask = np.kron(np.arange(1, 26).reshape(5, 5), np.ones((11, 11), np.int32))
    blue = lit(mask, *nuclei(mask, radius=3))
    assert all_null(found_in(mask, blue))


@pytest.mark.parametrize(("sigma", "known"), [(10, True), (25, False)])
def test_nuclei_must_explain_half_of_the_variance(sigma: float, known: bool) -> None:
    """Light of a share p of a cell, d levels brighter: p (1 - p) d² of that and the noise's sigma².

    Here p is 0.12 and d is 50: 0.73 of the variance at 10 levels of noise, and 0.30 at 25.
    """
    mask = tiles(4, 4)
    clear = lit(mask, *nuclei(mask), level=150, dark=100)
    noisy = clear + np.random.default_rng(0).normal(0, sigma, mask.shape)
    assert all_null(found_in(mask, noisy.astype(np.uint8))) is not known


def test_thin_cells_that_the_reduced_image_misses_tell_nothing() -> None:
    mask = np.zeros((2, 7100), np.int32)
    mask[0] = 1
    blue = np.zeros(mask.shape, np.uint8)
    blue[:, :3000] = 200
    assert all_null(found_in(mask, blue))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("blur", [0, 1, 2, 4, 8, 16])
def test_noise_tells_nothing_however_blurred(blur: float, seed: int) -> None:
    mask = tiles(5, 5)
    assert all_null(found_in(mask, noise(mask.shape, blur, seed)))


def test_blurred_noise_is_not_told_by_its_variance_alone() -> None:
    """Otherwise the test above would not need the outlines."""
    mask = tiles(5, 5)
    label = label_image(mask)
    reduced = nuclear_light.reduce_image(label.rows, noise(mask.shape, 8, 0), SIDE)
    nuclear = nuclear_light.nuclear_light(reduced, nuclear_light.blurred_light(reduced))
    explained = nuclear_light.explained_variance(reduced, nuclear)
    assert explained > nuclear_light.MIN_EXPLAINED
    assert nuclear_light.at_outlines(reduced, nuclear) > nuclear_light.MAX_AT_OUTLINES


def test_weak_noise_changes_little() -> None:
    mask = tiles(4, 4)
    clear = lit(mask, *nuclei(mask))
    noisy = np.clip(clear + np.random.default_rng(0).normal(0, 12, mask.shape), 0, 255)
    found = found_in(mask, noisy.astype(np.uint8))
    assert found["nucleus_size"] == pytest.approx(1, abs=0.1)
    assert found["second_nucleus"].tolist() == [0.0] * 16


# What does not matter


def scene(factor: int = 1) -> Picture:
    """Cells that have one nucleus, two, none, a small one, and one that is cut."""
    mask = tiles(4, 4)
    row, column = middle(mask, 6)
    discs = [*nuclei(mask, but=[1, 6, 11]), (*middle(mask, 11), 7)]
    discs += [(row - 13, column - 12, RADIUS), (row + 13, column + 12, 9)]
    blue = lit(mask, *discs)
    mask[(mask == 16) & (np.arange(mask.shape[0])[:, None] > middle(mask, 16)[0])] = 17
    mask, blue = (np.kron(a, np.ones((factor, factor), a.dtype)) for a in (mask, blue))
    return Picture(mask, {**painted(mask), "blue": blue})


def values(found: Found) -> npt.NDArray[np.float64]:
    return np.stack([found[name] for name in MEASURES])


def test_the_scene_has_all_kinds() -> None:
    picture = scene()
    found = found_in(picture.cell_mask, picture.channels["blue"])
    assert found["nucleus_size"][0] == 0
    assert found["second_nucleus"][5] == approximately((9 / RADIUS) ** 2)
    assert (found["nucleus_cut"] > 0.35).nonzero()[0].tolist() == [15, 16]


TURNS: dict[str, Callable[[npt.NDArray[np.generic]], npt.NDArray[np.generic]]] = {
    "rows": np.flipud,
    "columns": np.fliplr,
    "quarter": np.rot90,
    "half": lambda a: np.rot90(a, 2),
    "diagonal": np.transpose,
}


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("factor", [1, 3])
def test_a_turned_image_has_the_same_nuclei(turn: str, factor: int) -> None:
    picture = scene(factor)
    mask, blue = picture.cell_mask, picture.channels["blue"]
    turned = np.ascontiguousarray(TURNS[turn](mask)), np.ascontiguousarray(TURNS[turn](blue))
    np.testing.assert_allclose(values(found_in(*turned)), values(found_in(mask, blue)), rtol=1e-12)


def test_twice_the_light_has_the_same_nuclei() -> None:
    picture = scene()
    mask, blue = picture.cell_mask, picture.channels["blue"]
    np.testing.assert_allclose(
        values(found_in(mask, 2 * blue)), values(found_in(mask, blue)), rtol=0.02
    )


def test_a_brighter_ground_has_the_same_nuclei() -> None:
    picture = scene()
    mask, blue = picture.cell_mask, picture.channels["blue"]
    np.testing.assert_allclose(
        values(found_in(mask, blue + np.uint8(60))), values(found_in(mask, blue)), rtol=0.02
    )


@pytest.mark.parametrize("factor", [2, 3, 4, 5])
def test_a_larger_image_has_the_same_nuclei(factor: int) -> None:
    small, large = scene(), scene(factor)
    np.testing.assert_allclose(
        values(found_in(large.cell_mask, large.channels["blue"])),
        values(found_in(small.cell_mask, small.channels["blue"])),
        rtol=0.1,
        atol=0.02,
    )


@settings(many, max_examples=20)
@given(st.permutations(range(1, 18)), st.sampled_from([1, 1000, 200_000_000]))
def test_ids_do_not_matter(order: list[int], times: int) -> None:
    picture = scene()
    mask, blue = picture.cell_mask, picture.channels["blue"]
    new = np.array([0, *order], np.int64) * times
    found = values(found_in(new[mask], blue))
    np.testing.assert_array_equal(found[:, np.array(order) - 1], values(found_in(mask, blue)))


def test_many_threads_find_what_one_finds() -> None:
    picture = scene(3)
    mask, blue = picture.cell_mask, picture.channels["blue"]
    before = cv2.getNumThreads()
    found = []
    try:
        for threads in (1, 2, 4):
            cv2.setNumThreads(threads)
            found.append(values(found_in(mask, blue)))
    finally:
        cv2.setNumThreads(before)
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


def test_a_nucleus_mask_changes_nothing() -> None:
    picture = scene()
    with_nuclei = Picture(picture.cell_mask, picture.channels, picture.cell_mask)
    a, b = (measure(p.decoded, 0.99).shape for p in (picture, with_nuclei))
    assert "nucleus_area" in b
    for name in MEASURES:
        np.testing.assert_array_equal(a[name], b[name])


# Extremes


@many
@given(pictures())
def test_any_image_has_all_of_them_or_none(picture: Picture) -> None:
    found = values(found_in(picture.cell_mask, picture.channels["blue"]))
    assert np.isnan(found).all() or (found >= 0).all()


@pytest.mark.parametrize("side", [12, 56, 57, 500])
def test_one_cell_that_is_the_image(side: int) -> None:
    mask = np.ones((side, side), np.int32)
    radius = side // 5
    found = found_in(mask, lit(mask, (side // 2, side // 2, radius)))
    assert found["nucleus_size"].tolist() == [1.0]
    assert found["nucleus_cut"].tolist() == [0.0]
    assert all_null(found_in(mask, np.full(mask.shape, 255, np.uint8)))


def test_a_cell_that_is_the_image_with_light_at_the_edge_only_has_no_whole_nucleus() -> None:
    mask = np.ones((100, 100), np.int32)
    assert all_null(found_in(mask, lit(mask, (0, 50, 20))))


@pytest.mark.parametrize("shape", [(1, 300), (300, 1), (2, 150), (20, 8)])
def test_narrow_images(shape: tuple[int, int]) -> None:
    mask = np.ones(shape, np.int32)
    blue = np.zeros(shape, np.uint8)
    blue[: shape[0] // 2 + 1, : shape[1] // 2 + 1] = 200
    found = values(found_in(mask, blue))
    assert np.isnan(found).all() or (found >= 0).all()


def test_a_large_image_is_reduced_first() -> None:
    side = 4096
    mask = np.kron(np.arange(1, 17).reshape(4, 4), np.ones((side // 4, side // 4), np.uint8))
    blue = np.zeros((side, side), np.uint8)
    for row in range(4):
        for column in range(4):
            cv2.circle(blue, (512 + 1024 * column, 512 + 1024 * row), 225, 150, -1)
    label = label_image(mask)
    reduced = nuclear_light.reduce_image(label.rows, blue, side / 4)
    assert max(reduced.blue.shape) <= 4 * 60
    found = nuclear_measures(label.rows, blue, shape.areas(label))
    assert found["nucleus_size"] == pytest.approx(1, abs=0.03)
    assert found["nucleus_cut"].tolist() == [0.0] * 16


def test_thousands_of_cells() -> None:
    mask = tiles(1, 1, gap=2)
    mask = np.block([[np.where(mask, 50 * r + c + 1, 0) for c in range(50)] for r in range(40)])
    discs = [(30 + 60 * r, 30 + 60 * c) for r in range(40) for c in range(50)]
    blue = np.full(mask.shape, 10, np.uint8)
    for row, column in discs:
        cv2.circle(blue, (column, row), RADIUS, 120, -1)
    found = found_in(mask, blue)
    assert set(found["nucleus_size"].tolist()) == {1.0}
    assert set(found["second_nucleus"].tolist()) == {0.0}


def test_levels_of_16_bit_are_those_of_8(tmp_path: Path) -> None:
    picture = scene()
    blue = picture.channels["blue"]
    cv2.imwrite(str(tmp_path / "8.png"), blue)
    cv2.imwrite(str(tmp_path / "16.png"), blue.astype(np.uint16) * 257)
    found = [
        values(found_in(picture.cell_mask, read_channel(tmp_path / name)))
        for name in ("8.png", "16.png")
    ]
    np.testing.assert_array_equal(found[1], found[0])
    assert not np.isnan(found[0]).any()
