from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import regionprops_table

from hpastore.kernels import box_sums
from hpastore.kernels.definitions import BRENNER_CHANNELS, CORRELATED_CHANNELS, NUCLEUS_CHANNELS
from hpastore.kernels.label_image import label_image
from hpastore.kernels.pixel_sums import Sums, nucleus_rows, pair_rows, rim_width, sums_over_image
from hpastore.kernels.shape import boxes
from hpastore.vocabulary import CHANNELS
from tests.gallery import Picture, drawn, every_picture, many, pictures

Rows = npt.NDArray[np.unsignedinteger]
Inside = npt.NDArray[np.bool_]

WAYS = ("boxes", "image")


def summed(picture: Picture, way: str, dtype: Any = None) -> Sums:
    label, mask, nuclei = label_image(picture.cell_mask), picture.cell_mask, picture.nucleus_mask
    rows = label.rows if dtype is None else label.rows.astype(dtype)
    core = None if nuclei is None else nucleus_rows(rows, mask, nuclei)
    if way == "boxes":
        return box_sums.sums_in_boxes(rows, picture.channels, core, boxes(label))
    return sums_over_image(rows, picture.channels, core, len(label.ids))


def flat(sums: Sums) -> dict[str, list[int]]:
    """All numbers by name."""

    def columns(name: str, column: npt.NDArray[np.int64]) -> dict[str, list[int]]:
        assert column.dtype == np.int64
        return {name: column.tolist()}

    found = columns("pairs", sums.pairs)
    for name, by_channel in (("steps", sums.steps), ("apart", sums.apart)):
        for channel, column in by_channel.items():
            found |= columns(f"{channel} {name}", column)
    for name, part in (("nucleus", sums.nucleus), ("rim", sums.rim)):
        if part is not None:
            found |= columns(name, part.area)
            for channel, column in part.levels.items():
                found |= columns(f"{channel} {name}", column)
    return found


def plain(picture: Picture) -> dict[str, list[int]]:
    """Pixel by pixel with Python's integers, in the order of the mask ids."""
    ids = sorted(set(np.unique(picture.cell_mask).tolist()) - {0})
    cells = [plain_cell(picture, mask_id) for mask_id in ids]
    return {name: [cell[name] for cell in cells] for name in cells[0]} if cells else {}


def plain_cell(picture: Picture, mask_id: int) -> dict[str, int]:
    inside, nuclei = picture.cell_mask == mask_id, picture.nucleus_mask
    levels = {name: channel.astype(int) for name, channel in picture.channels.items()}
    here = [(r, c) for r, c in np.argwhere(inside).tolist()]
    pairs = [(r, c) for r, c in here if c + 2 < inside.shape[1] and inside[r, c + 2]]
    found = {"pairs": len(pairs)}
    for name in BRENNER_CHANNELS:
        found[f"{name} steps"] = sum(
            int(levels[name][r, c + 2] - levels[name][r, c]) ** 2 for r, c in pairs
        )
    for name in CORRELATED_CHANNELS:
        found[f"{name} apart"] = sum(int(levels[name][p] - levels["green"][p]) ** 2 for p in here)
    if nuclei is not None:
        nucleus = inside & (nuclei == mask_id)
        for part, chosen in (("nucleus", nucleus), ("rim", plain_rim(nucleus))):
            found[part] = int(chosen.sum())
            found |= {
                f"{name} {part}": int(levels[name][chosen].sum()) for name in NUCLEUS_CHANNELS
            }
    return found


def plain_rim(nucleus: Inside) -> Inside:
    """Pixel by pixel: whether any within reach is not of the nucleus."""
    rim, reach = np.zeros_like(nucleus), max(int((nucleus.sum() / 201) ** 0.5 + 1e-9), 1)
    for r, c in np.argwhere(nucleus).tolist():
        near = nucleus[max(r - reach, 0) : r + reach + 1, max(c - reach, 0) : c + reach + 1]
        rim[r, c] = not near.all()
    return rim


def field(side: int, seed: int) -> Picture:
    """Round cells that touch, overlap and leave the image, with nuclei that do so too; in wide noise."""
    rng = np.random.default_rng(seed)
    mask, nuclei = np.zeros((2, side, side), np.uint16)
    y, x = np.indices((side, side))
    for k in range(1, 12):
        centre = rng.uniform(0, side, 2)
        for target, radius in (
            (mask, rng.uniform(3, side / 3)),
            (nuclei, rng.uniform(1, side / 4)),
        ):
            off = centre + rng.normal(0, 3, 2)
            target[np.hypot(y - off[0], x - off[1]) < radius] = 3 * k
    levels = rng.integers(0, 256, (len(CHANNELS), side, side), np.uint8)
    return Picture(mask, dict(zip(CHANNELS, levels, strict=True)), nuclei)


def one_cell(
    mask: npt.ArrayLike, nuclei: npt.ArrayLike, green: npt.ArrayLike | None = None
) -> Picture:
    """A picture whose channels are all alike."""
    of_cells = np.asarray(mask)
    levels = np.full(of_cells.shape, 1, np.uint8) if green is None else np.asarray(green, np.uint8)
    return Picture(of_cells, dict.fromkeys(CHANNELS, levels), np.asarray(nuclei))


def rim_of(picture: Picture) -> list[list[int]]:
    """Areas of the rims in ascending mask id, in both ways."""
    parts = [summed(picture, way).rim for way in WAYS]
    return [part.area.tolist() for part in parts if part is not None]


@pytest.mark.parametrize("way", WAYS)
@every_picture
def test_sums_over_a_drawn_image_are_those_pixel_by_pixel(picture: Picture, way: str) -> None:
    found = flat(summed(picture, way))
    assert {name: column for name, column in found.items() if column} == plain(picture)


@pytest.mark.parametrize("way", WAYS)
@many
@given(picture=pictures())
def test_sums_over_any_image_are_those_pixel_by_pixel(picture: Picture, way: str) -> None:
    found = flat(summed(picture, way))
    assert {name: column for name, column in found.items() if column} == plain(picture)


@settings(many, max_examples=60)
@given(st.integers(16, 120), st.integers(0, 10**6))
def test_sums_over_round_cells_and_nuclei_are_those_pixel_by_pixel(side: int, seed: int) -> None:
    picture = field(side, seed)
    expected = plain(picture)
    assert flat(summed(picture, "boxes")) == expected
    assert flat(summed(picture, "image")) == expected


def test_sums_do_not_depend_on_the_dtype_of_the_rows() -> None:
    picture = field(60, 1)
    expected = flat(summed(picture, "image"))
    assert flat(summed(picture, "boxes", np.uint16)) == expected
    assert flat(summed(picture, "image", np.uint16)) == expected
    assert flat(summed(picture, "image", np.uint32)) == expected


@pytest.mark.parametrize("way", WAYS)
def test_sums_of_16_million_pixels_of_the_greatest_contrast_are_exact(way: str) -> None:
    side = 4096  # sums of 2**40: a float32 would be wrong by thousands
    mask = np.ones((side, side), np.uint8)
    stripes = np.broadcast_to(
        np.where(np.arange(side) % 4 < 2, 255, 0).astype(np.uint8), mask.shape
    )
    channels = {"red": mask - 1, "green": mask * 255, "blue": stripes.copy(), "yellow": mask * 255}
    channels["green"][7, 9] = 254
    found = flat(summed(Picture(mask, channels, mask), way))
    n, square = side * side, 255**2
    assert found["pairs"] == [n - 2 * side]
    assert found["red apart"] == [square * (n - 1) + 254**2]
    assert found["yellow apart"] == [1]
    assert found["green steps"] == [2]
    assert found["blue steps"] == [square * (n - 2 * side)]
    assert found["green nucleus"] == [255 * n - 1]
    assert found["rim"] == [0]  # where the image ends there is no edge


@many
@given(pictures())
def test_pairs_are_those_of_two_pixels_of_one_cell(picture: Picture) -> None:
    rows = label_image(picture.cell_mask).rows
    found = pair_rows(rows)
    assert found.dtype == rows.dtype
    assert found.shape == (rows.shape[0], max(rows.shape[1] - 2, 0))
    for r, c in np.ndindex(found.shape):
        assert found[r, c] == (rows[r, c] if rows[r, c] == rows[r, c + 2] else 0)


def test_a_pair_counts_whatever_lies_between() -> None:
    assert pair_rows(drawn("1.1 121").astype(np.uint8)).tolist() == [[1], [1]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32])
@pytest.mark.parametrize(("width", "pairs"), [(1, 0), (2, 0), (3, 1), (9, 7)])
def test_there_are_two_pairs_fewer_than_columns(
    dtype: type[np.unsignedinteger], width: int, pairs: int
) -> None:
    found = pair_rows(np.ones((4, width), dtype))
    assert found.shape == (4, pairs)
    assert found.dtype == dtype


def test_a_nucleus_is_what_lies_in_the_cell_of_its_id() -> None:
    mask = drawn("11.22 11.22").astype(np.uint64)
    nuclei = drawn("1112. 21..2").astype(np.int8)
    rows = label_image(mask).rows
    assert nucleus_rows(rows, mask, nuclei).tolist() == [[1, 1, 0, 2, 0], [0, 1, 0, 0, 2]]
    assert nucleus_rows(rows, mask, nuclei).dtype == rows.dtype


@pytest.mark.parametrize(
    ("area", "width"), [(1, 1), (200, 1), (803, 1), (804, 2), (31_416, 12), (201 * 50**2 - 1, 49)]
)
def test_a_rim_is_an_eighth_of_the_radius_wide(area: int, width: int) -> None:
    assert rim_width(area) == width
    assert abs((area / np.pi) ** 0.5 / 8 - width) < 1


def test_a_rim_goes_around_and_along_each_hole_and_corner() -> None:
    square = np.pad(np.ones((5, 5), np.uint8), 2)
    assert rim_of(one_cell(square, square)) == [[16], [16]]
    square[4, 4] = 0
    assert rim_of(one_cell(square, square)) == [[24], [24]]
    corner = np.ones((5, 5), np.uint8)
    corner[0, 0] = 0
    assert rim_of(one_cell(corner, corner)) == [[3], [3]]


def test_a_rim_of_width_two_takes_two_rows_and_two_columns_of_each_side() -> None:
    square = np.pad(np.ones((30, 30), np.uint8), 1)
    assert rim_of(one_cell(square, square)) == [[900 - 26 * 26]] * 2


def test_where_the_image_ends_a_nucleus_has_no_rim_but_where_the_cell_ends_it_has() -> None:
    half = np.ones((6, 10), np.uint8)
    half[:, 5:] = 0
    assert rim_of(one_cell(half, half)) == [[6], [6]]
    assert rim_of(one_cell(np.ones((6, 10), np.uint8), np.ones((6, 10), np.uint8))) == [[0], [0]]
    assert rim_of(one_cell(half, np.ones((6, 10), np.uint8))) == [[6], [6]]


def test_nuclei_that_touch_have_rims_where_they_do() -> None:
    touching = drawn("111222 111222 111222")
    assert rim_of(one_cell(touching, touching)) == [[3, 3], [3, 3]]


def test_levels_of_cells_and_nuclei_are_those_of_scikit_image() -> None:
    picture = field(200, 2)
    core = np.where(picture.cell_mask == picture.nucleus_mask, picture.cell_mask, 0)
    green = picture.channels["green"].astype(float)
    found = regionprops_table(  # type: ignore[no-untyped-call]  # it has no types
        core, green, properties=("label", "area", "mean_intensity")
    )
    sums = summed(picture, "boxes")
    assert sums.nucleus is not None
    has = sums.nucleus.area > 0
    assert len(found["label"]) == has.sum() > 3
    assert sums.nucleus.area[has].tolist() == found["area"].tolist()
    means = sums.nucleus.levels["green"][has] / sums.nucleus.area[has]
    assert means.tolist() == pytest.approx(found["mean_intensity"].tolist(), rel=1e-12)


def test_boxes_do_not_fit_where_they_are_too_many_or_together_too_large() -> None:
    apart = label_image(np.arange(4096).reshape(64, 64) + 1)
    assert box_sums.fit(boxes(apart), (64, 64))
    assert not box_sums.fit(boxes(label_image(np.arange(4225).reshape(65, 65) + 1)), (65, 65))
    scattered = np.zeros((64, 64), np.uint8)
    scattered[[0, -1]] = np.arange(64) % 4 + 1
    assert box_sums.fit(boxes(label_image(scattered)), (64, 64))
    scattered[[0, -1]] = np.arange(64) % 6 + 1
    assert not box_sums.fit(boxes(label_image(scattered)), (64, 64))


@pytest.mark.parametrize("way", WAYS)
def test_no_image_is_changed(way: str) -> None:
    picture = field(40, 3)
    assert picture.nucleus_mask is not None
    for array in (picture.cell_mask, picture.nucleus_mask, *picture.channels.values()):
        array.setflags(write=False)
    summed(picture, way)
