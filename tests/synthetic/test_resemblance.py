"""Drawn cells are as different as real ones are.

The figures are those of 166 masks of the public Human Protein Atlas (proteinatlas.org), in which
people looked at 2,571 cells one by one.  Sizes are those of 484 cells, in 61 images of one label,
that show it and do not touch the border.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import pandas as pd
import pytest

from hpastore.kernels import nuclear_light
from hpastore.synthetic.fields import Field, draw_field
from hpastore.synthetic.outlines import LINES, Outline, Shape, settle
from hpastore.vocabulary import CHANNELS, NEGATIVE

PERCENTILES = (1, 5, 25, 50, 75, 95, 99)
REAL = {
    "area": (0.263, 0.362, 0.659, 1, 1.431, 2.265, 3.044),  # divided by the median
    "width": (0.430, 0.546, 0.789, 1, 1.260, 1.796, 2.207),
    "height": (0.432, 0.527, 0.775, 1, 1.308, 1.717, 2.169),
    "elongation": (1.060, 1.135, 1.423, 1.731, 2.237, 3.235, 4.718),  # of the axes of inertia
    "extent": (0.323, 0.397, 0.506, 0.593, 0.654, 0.734, 0.782),  # area of the bounding box
}
REAL_WITHIN_IMAGES = (0.351, 0.502, 0.797, 1, 1.230, 1.878, 2.297)  # area, by the image's median
REAL_BORDER = 0.354
"""Share of all cells that touch it."""

LEAST_LINE, LARGEST_LINE = 48_000, 179_000
"""Median areas of SH-SY5Y and HeLa, in the whole of which the masks are a half."""


@functools.cache
def fields(n: int, size: int) -> list[Field]:
    return [draw_field(index, size=size, seed=0) for index in range(n)]


@functools.cache
def cells(n: int = 190, size: int = 256) -> pd.DataFrame:
    """A row for each cell of some drawn images."""
    return pd.concat([of_image(i, drawn) for i, drawn in enumerate(fields(n, size))])


def of_image(image: int, drawn: Field) -> pd.DataFrame:
    found = []
    for mask_id, fault in drawn.faults.items():
        everywhere = drawn.cell_mask == mask_id
        x, y, width, height = cv2.boundingRect(everywhere.astype(np.uint8))
        box = np.s_[y : y + height, x : x + width]
        pixels = everywhere[box]
        short, long = np.linalg.eigvalsh(np.cov(np.nonzero(pixels)))
        row = {
            "image": image,
            "line": drawn.cell_line,
            "negative": NEGATIVE in drawn.labels,
            "fault": fault,
            "border": 0 in (x, y) or len(everywhere) in (x + width, y + height),
            "area": np.count_nonzero(pixels),
            "width": width,
            "height": height,
            "elongation": np.sqrt(long / short),
            "extent": np.count_nonzero(pixels) / (width * height),
        }
        brightest = {channel: drawn.channels[channel][box][pixels].max() for channel in CHANNELS}
        found.append(row | brightest)
    return pd.DataFrame(found)


def inner_good() -> pd.DataFrame:
    return cells().query("fault == '' and not border")


@pytest.mark.parametrize("measure", REAL)
def test_percentiles_of_inner_good_cells_are_within_15_percent_of_real_ones(measure: str) -> None:
    drawn = np.percentile(inner_good()[measure], PERCENTILES)
    if measure not in ("elongation", "extent"):
        drawn /= drawn[3]
    assert drawn == pytest.approx(REAL[measure], rel=0.15)


def test_cells_of_one_image_differ_as_real_ones_do() -> None:
    large = inner_good().groupby("image").filter(lambda image: len(image) >= 5)
    relative = large.area / large.groupby("image").area.transform("median")
    assert np.percentile(relative, PERCENTILES) == pytest.approx(REAL_WITHIN_IMAGES, rel=0.25)


def test_as_many_cells_touch_the_border_as_in_real_masks() -> None:
    assert cells().border.mean() == pytest.approx(REAL_BORDER, rel=0.15)


def test_cell_lines_differ_in_size_as_real_ones_do() -> None:
    median = inner_good().groupby("line").area.median()
    assert set(cells().line) == {line.name for line in LINES}
    apart = median["HeLa"] / median["SH-SY5Y"]
    assert apart == pytest.approx(LARGEST_LINE / LEAST_LINE, rel=0.3)
    assert median.min() == median["SH-SY5Y"]


@pytest.mark.parametrize("start", [0, 9])
def test_twelve_images_show_several_cell_lines_whatever_the_seed(start: int) -> None:
    for seed in range(5):
        shown = {draw_field(start + k, size=64, seed=seed).cell_line for k in range(12)}
        assert len(shown) >= 4


def test_maxima_saturate_as_real_ones_do() -> None:
    good = cells(38, 512).query("fault == '' and not negative")
    saturated = (good[list(CHANNELS)] == 255).mean()
    assert saturated["red"] == pytest.approx(0.73, abs=0.15)  # of 2,571 real cells
    assert 0.37 < saturated["yellow"] < 0.83  # shares of cells in three real images
    assert 0.2 < saturated["green"] < 1
    assert 0.05 < saturated["blue"] < 0.33


def test_some_masks_lack_cells_whose_light_is_there_and_most_do_not() -> None:
    def beyond(drawn: Field) -> float:
        outside = cv2.dilate((drawn.cell_mask > 0).astype(np.uint8), np.ones((25, 25))) == 0
        return float(np.quantile(drawn.channels["red"][outside], 0.99))

    lit = [beyond(drawn) > 30 for drawn in fields(38, 512)]
    assert 0.05 < np.mean(lit) < 0.4


def test_a_mask_has_one_piece_for_each_cell() -> None:
    for size in (64, 512):
        for drawn in fields(19, size):
            for mask_id in drawn.faults:
                pixels = (drawn.cell_mask == mask_id).astype(np.uint8)
                assert cv2.connectedComponents(pixels)[0] == 2


def test_masks_of_neighbours_do_not_touch_but_for_the_smallest_cells() -> None:
    for drawn in fields(19, 512):
        for a, b in (
            (drawn.cell_mask[1:], drawn.cell_mask[:-1]),
            (drawn.cell_mask[:, 1:], drawn.cell_mask[:, :-1]),
        ):
            assert not ((a != b) & (a > 0) & (b > 0)).any()


def shapes(n: int = 12, size: int = 256) -> list[Shape]:
    drawn = [settle(np.random.default_rng(k), size, (0,), LINES[7])[0] for k in range(n)]
    return [shape for some in drawn for shape in some]


def share_beyond(outline: Outline, size: int) -> float:
    """The same pixel by pixel."""
    y, x = np.mgrid[-size : 2 * size, -size : 2 * size].astype(np.float32)
    cell = outline.distance(x, y) < 1
    inside = cell[size : 2 * size, size : 2 * size]
    return 1 - np.count_nonzero(inside) / np.count_nonzero(cell)


def test_what_a_cell_lost_at_the_border_is_its_share_of_pixels_beyond() -> None:
    crossing = [shape for shape in shapes() if shape.lost > 0]
    assert len(crossing) > 30
    for shape in crossing:
        assert shape.lost == pytest.approx(share_beyond(shape.outline, 256), abs=0.04)


def test_cells_that_lost_more_than_half_are_cut_and_others_at_the_border_are_good() -> None:
    smaller = cells().query("border").groupby("fault").area.median() / cells().area.median()
    assert smaller["border_cut"] < 0.6
    assert smaller[""] > 0.75
    good = cells().query("fault == ''").border.mean()
    assert good == pytest.approx(REAL_BORDER, rel=0.2)


def nuclei(drawn: Field) -> pd.DataFrame:
    ids = np.array(sorted(drawn.faults))
    row = np.zeros(ids.max() + 1, np.uint16)
    row[ids] = 1 + np.arange(len(ids))
    rows = row[drawn.cell_mask]
    blue = drawn.channels["blue"].astype(np.uint8)
    table = pd.DataFrame(nuclear_light.nuclear_measures(rows, blue, np.bincount(rows.ravel())[1:]))
    return table.assign(fault=[drawn.faults[k] for k in ids.tolist()])


def test_nuclear_light_tells_on_drawn_images_what_it_tells_on_real_ones() -> None:
    drawn = fields(38, 512)
    measured = pd.concat([nuclei(one) for one in drawn])
    assert measured.nucleus_size.notna().mean() > 0.98  # it explains half of blue's variance
    of = dict(iter(measured.groupby("fault")))
    assert (of["merged"].second_nucleus > 0.35).mean() > 0.8
    assert (of["no_nucleus"].nucleus_size < 0.25).mean() > 0.6
    assert ((of["split"].nucleus_cut > 0.35) | (of["split"].nucleus_size < 0.5)).mean() > 0.6
    lost = (of[""].second_nucleus > 0.35) | (of[""].nucleus_cut > 0.35)
    assert 0 < lost.mean() < 0.06
