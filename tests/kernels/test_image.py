from __future__ import annotations

import copy
import csv
import math
import tracemalloc
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from hpastore.kernels import box_sums
from hpastore.kernels.definitions import CHANNEL_MEASURES, SHAPE_MEASURES, Measure
from hpastore.kernels.histogram import LEVELS, unpack
from hpastore.kernels.image import measure, nucleus_areas
from hpastore.model import Cells, Decoded
from hpastore.vocabulary import CHANNELS
from tests.gallery import (
    GALLERY,
    Mask,
    Picture,
    Pixels,
    drawn,
    every_picture,
    many,
    painted,
    pictures,
    single_pixels,
)
from tests.kernels.test_pixel_sums import plain_rim
from tests.kernels.test_shape import plain_border_share

REAL = (
    "000a6c98-bb9b-11e8-b2b9-ac1f6b6435d0",
    "a34d8680-bb99-11e8-b2b9-ac1f6b6435d0",
    "a7faf0b4-bb99-11e8-b2b9-ac1f6b6435d0",
)

ROUNDED = ("intensity_std", "entropy", "correlation")
"""Measures that a root or logarithm rounds; all others are equal to the last bit."""

OF_LIGHT = ("nucleus_size", "second_nucleus", "nucleus_cut")
"""Measures whose tests are in `tests.kernels.test_nuclear_light`."""

OF_BACKGROUND = ("fraction", "fraction_notebook")
"""Measures that change where background becomes a cell."""

shares = st.floats(0, 1) | st.sampled_from((0.0, 0.5, 0.99, 1.0))


def plain_background(mask: Mask, channel: Pixels, percentile: float) -> float:
    outside = channel[mask == 0]
    return float(np.quantile(outside, percentile)) if outside.size else math.nan


def plain_notebook_level(mask: Mask, channel: Pixels) -> float:
    """Over the whole image with cells set to zero."""
    return float(np.quantile(np.where(mask == 0, channel, 0), 0.99))


def plain_shape(
    inside: npt.NDArray[np.bool_], nucleus: npt.NDArray[np.bool_] | None
) -> dict[str, float]:
    rows, columns = np.nonzero(inside)
    frame = np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]])
    return {
        "x": int(columns.min()),
        "y": int(rows.min()),
        "width": int(columns.max() - columns.min()) + 1,
        "height": int(rows.max() - rows.min()) + 1,
        "area": len(rows),
        "touches_border": int(frame.any()),
        "pieces": cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)[0] - 1,
        "border_share": plain_border_share(inside),
    } | ({} if nucleus is None else {"nucleus_area": int(nucleus.sum())})


def plain_correlation(a: Pixels, b: Pixels) -> float:
    """By Pearson's formula, with Python's integers up to the root."""
    x, y = (pixels.astype(np.int64) for pixels in (a, b))
    n, (of_x, of_y) = len(x), (int(x.sum()), int(y.sum()))
    spread = (n * int(x @ x) - of_x**2) * (n * int(y @ y) - of_y**2)
    return (n * int(x @ y) - of_x * of_y) / math.sqrt(spread) if spread else math.nan


def plain_parts(
    inside: npt.NDArray[np.bool_], nucleus: npt.NDArray[np.bool_] | None, channel: Pixels
) -> dict[str, float]:
    """Means over a cell's nucleus, its rim and the cytoplasm."""
    parts = dict.fromkeys(
        ("intensity_nucleus", "intensity_nucleus_rim", "intensity_cytoplasm"), math.nan
    )
    if nucleus is None:
        return parts
    rim = plain_rim(inside & nucleus)
    for name, part in zip(parts, (inside & nucleus, rim, inside & ~nucleus), strict=True):
        parts[name] = float(np.mean(channel[part])) if part.any() else math.nan
    return parts


def plain_channel(
    inside: npt.NDArray[np.bool_], channel: Pixels, background: float, notebook_level: float
) -> dict[str, float]:
    """Every measure of one cell in one channel from its pixels, by the definitions."""
    pixels = channel[inside].astype(np.float64)
    shares = np.unique(pixels, return_counts=True)[1] / pixels.size
    pairs = inside[:, :-2] & inside[:, 2:]
    steps = channel[:, 2:].astype(np.float64)[pairs] - channel[:, :-2][pairs]
    rows, columns = np.nonzero(inside)
    box = np.s_[
        rows.min() : rows.max(), columns.min() : columns.max()
    ]  # without last row and column
    boxed = channel[box][inside[box]]
    return {
        "intensity_min": pixels.min(),
        "intensity_max": pixels.max(),
        "intensity_mean": np.mean(pixels),
        "intensity_std": np.std(pixels),
        "intensity_median": np.quantile(pixels, 0.5),
        "intensity_p99": np.quantile(pixels, 0.99),
        "intensity_p999": np.quantile(pixels, 0.999),
        "saturated": np.mean(pixels == 255),
        "entropy": -sum(share * math.log2(share) for share in shares),
        "brenner": np.mean(steps**2) if steps.size else math.nan,
        "fraction": math.nan if math.isnan(background) else np.mean(pixels > background),
        "fraction_notebook": np.mean(boxed > notebook_level) if boxed.size else math.nan,
    }


def assert_cells_are_plain(decoded: Decoded, cells: Cells, percentile: float) -> None:
    mask, nuclei = decoded.cell_mask, decoded.nucleus_mask
    ids = sorted(set(np.unique(mask).tolist()) - {0})
    insides = [mask == mask_id for mask_id in ids]
    assert cells.mask_ids.tolist() == ids
    shapes = [
        plain_shape(inside, None if nuclei is None else nuclei == i)
        for i, inside in zip(ids, insides, strict=True)
    ]
    for k, shape in enumerate(shapes):
        found = {name: column[k] for name, column in cells.shape.items() if name not in OF_LIGHT}
        assert found == shape
    for name, channel in decoded.channels.items():
        stats, background = cells.channels[name], plain_background(mask, channel, percentile)
        assert stats.background_level == (None if math.isnan(background) else background)
        level = plain_notebook_level(mask, channel)
        for k, inside in enumerate(insides):
            nucleus = None if nuclei is None else nuclei == ids[k]
            expected = {
                **plain_channel(inside, channel, background, level),
                **plain_parts(inside, nucleus, channel),
                "correlation": plain_correlation(
                    channel[inside], decoded.channels["green"][inside]
                ),
            }
            expected |= {m.name: math.nan for m in CHANNEL_MEASURES if name not in m.channels}
            values = {measure: float(column[k]) for measure, column in stats.measures.items()}
            rounded = {measure: approximately(expected.pop(measure)) for measure in ROUNDED}
            assert {measure: values.pop(measure) for measure in ROUNDED} == rounded
            np.testing.assert_equal(values, expected)


def approximately(value: float) -> Any:
    return pytest.approx(value, rel=1e-12, abs=1e-15, nan_ok=True)


def assert_column(column: npt.NDArray[np.number], length: int, dtype: type[np.number]) -> None:
    assert column.shape == (length,)
    assert column.dtype == dtype


def measured(text: str, levels: npt.ArrayLike | None = None, percentile: float = 0.99) -> Cells:
    """A drawing, measured; with `levels` in all channels."""
    mask = drawn(text)
    channels = painted(mask)
    if levels is not None:
        channels = dict.fromkeys(
            CHANNELS, np.broadcast_to(np.asarray(levels, np.uint8), mask.shape).copy()
        )
    return measure(Picture(mask, channels).decoded, percentile)


@every_picture
@pytest.mark.parametrize("percentile", [0.0, 0.5, 0.99, 1.0])
def test_a_drawn_image_measures_as_pixel_by_pixel(picture: Picture, percentile: float) -> None:
    assert_cells_are_plain(picture.decoded, measure(picture.decoded, percentile), percentile)


@many
@given(pictures(), shares)
def test_any_image_measures_as_pixel_by_pixel(picture: Picture, percentile: float) -> None:
    assert_cells_are_plain(picture.decoded, measure(picture.decoded, percentile), percentile)


@every_picture
def test_names_and_dtypes_are_those_of_the_table_of_measures(picture: Picture) -> None:
    cells = measure(picture.decoded, 0.99)
    shapes = [
        m.name
        for m in SHAPE_MEASURES
        if m.name != "nucleus_area" or picture.nucleus_mask is not None
    ]
    assert sorted(cells.shape) == sorted(shapes)
    assert list(cells.channels) == list(CHANNELS)
    k = len(cells.mask_ids)
    assert len(cells.rles) == k
    assert_column(cells.mask_ids, k, np.int64)
    reals = [m.name for m in SHAPE_MEASURES if m.kind == "real"]
    for name, column in cells.shape.items():
        assert_column(column, k, np.float64 if name in reals else np.int64)
    for stats in cells.channels.values():
        assert sorted(stats.measures) == sorted(m.name for m in CHANNEL_MEASURES)
        for values in stats.measures.values():
            assert_column(values, k, np.float64)


@many
@given(pictures())
def test_measures_are_of_the_kind_that_the_table_says(picture: Picture) -> None:
    cells = measure(picture.decoded, 0.99)
    flags = [m.name for m in SHAPE_MEASURES if m.kind == "flag"]
    assert all(set(cells.shape[name].tolist()) <= {0, 1} for name in flags)
    whole = [m.name for m in CHANNEL_MEASURES if m.kind == "integer"]
    shares = [m.name for m in CHANNEL_MEASURES if m.unit == "share 0..1"]
    for stats in cells.channels.values():
        assert all((stats.measures[name] % 1 == 0).all() for name in whole)
        assert all(
            not ((stats.measures[name] < 0) | (stats.measures[name] > 1)).any() for name in shares
        )


@many
@given(pictures())
def test_the_stored_histogram_counts_every_pixel_by_cell_and_level(picture: Picture) -> None:
    cells = measure(picture.decoded, 0.99)
    for name, channel in picture.channels.items():
        counts = unpack(cells.channels[name].histogram, len(cells.mask_ids) + 1)
        for row, mask_id in enumerate([0, *cells.mask_ids.tolist()]):
            pixels = channel[picture.cell_mask == mask_id]
            assert counts[row].tolist() == np.bincount(pixels, minlength=LEVELS).tolist()


@many
@given(pictures())
def test_the_image_is_never_changed(picture: Picture) -> None:
    before = copy.deepcopy(picture)
    nuclei = [] if picture.nucleus_mask is None else [picture.nucleus_mask]
    for array in (picture.cell_mask, *picture.channels.values(), *nuclei):
        array.setflags(write=False)
    measure(picture.decoded, 0.99)
    np.testing.assert_equal(vars(picture), vars(before))


@many
@given(pictures(), st.data())
def test_adding_a_cell_leaves_the_others_numbers_alone(
    picture: Picture, data: st.DataObject
) -> None:
    new = data.draw(st.sampled_from((3, 100)))  # its row comes between or after the others'
    free = np.argwhere(picture.cell_mask == 0).tolist()
    chosen = data.draw(st.lists(st.sampled_from(free), min_size=1)) if free else []
    more = picture.cell_mask.copy()
    for row, column in chosen:
        more[row, column] = new
    before, after = measure(picture.decoded, 0.99), measure(picture.with_mask(more).decoded, 0.99)
    old = after.mask_ids != new
    assert after.mask_ids[old].tolist() == before.mask_ids.tolist()
    assert tuple(rle for rle, keep in zip(after.rles, old, strict=True) if keep) == before.rles
    np.testing.assert_equal(
        {name: column[old] for name, column in after.shape.items()}, before.shape
    )
    for name in CHANNELS:
        a, b = after.channels[name].measures, before.channels[name].measures
        for measure_name in a.keys() - set(OF_BACKGROUND):
            np.testing.assert_equal(a[measure_name][old], b[measure_name])


@many
@given(pictures())
def test_numbers_do_not_depend_on_the_masks_dtype_or_ids(picture: Picture) -> None:
    nuclei = picture.nucleus_mask
    renamed = Picture(
        picture.cell_mask.astype(np.int64) * 31_000_000,
        picture.channels,
        None if nuclei is None else nuclei.astype(np.uint64) * 31_000_000,
    )
    a, b = measure(picture.decoded, 0.99), measure(renamed.decoded, 0.99)
    assert b.mask_ids.tolist() == (a.mask_ids * 31_000_000).tolist()
    assert a.rles == b.rles
    assert {n: c.histogram for n, c in a.channels.items()} == {
        n: c.histogram for n, c in b.channels.items()
    }
    for name in CHANNELS:
        np.testing.assert_equal(dict(a.channels[name].measures), dict(b.channels[name].measures))


def test_an_image_without_cells_has_a_background_level_and_no_cells() -> None:
    cells = measured(".... .... ....", np.arange(12).reshape(3, 4), percentile=0.5)
    assert cells.rles == ()
    assert all(len(column) == 0 for column in cells.shape.values())
    assert {stats.background_level for stats in cells.channels.values()} == {5.5}


def test_a_fully_covered_image_has_no_background_level_and_no_fraction() -> None:
    cells = measured("1122 1122")
    for stats in cells.channels.values():
        assert stats.background_level is None
        assert np.isnan(stats.measures["fraction"]).all()
        assert not np.isnan(stats.measures["fraction_notebook"]).any()


def test_fraction_counts_pixels_strictly_above_the_background_level() -> None:
    levels = np.array([[3, 5, 5], [4, 5, 6]])
    stats = measured(".11 .11", levels, percentile=1.0).channels["green"]
    assert stats.background_level == 4.0
    assert stats.measures["fraction"].tolist() == [1.0]
    stats = measured("..1 .11", levels, percentile=1.0).channels["green"]
    assert stats.background_level == 5.0
    assert stats.measures["fraction"].tolist() == [1 / 3]


@pytest.mark.parametrize("level", [0, 1, 7, 128, 254, 255])
@pytest.mark.parametrize("text", ["1", "111", "11. 11. 111", "1" * 97])
def test_a_flat_cell_has_no_spread_and_a_positive_zero_of_entropy(text: str, level: int) -> None:
    for stats in measured(text, level).channels.values():
        assert stats.measures["intensity_std"].tolist() == [0.0]
        assert stats.measures["entropy"].tolist() == [0.0]
        assert math.copysign(1, stats.measures["entropy"][0]) == 1
        assert stats.measures["saturated"].tolist() == [float(level == 255)]


@pytest.mark.parametrize(
    "text", ["1", "..... .111. .....", ".... .1.. .1.. ....", "..... ...1. .111. ....."]
)
def test_a_cell_in_only_the_last_row_and_column_of_its_box_has_no_notebook_fraction(
    text: str,
) -> None:
    for stats in measured(text).channels.values():
        assert np.isnan(stats.measures["fraction_notebook"]).all()


def test_the_notebooks_box_lacks_its_last_row_and_column_above_and_below_the_line() -> None:
    levels = np.array([[200, 0, 200], [200, 0, 200], [200, 200, 200]])
    stats = measured("111 111 111", levels).channels["green"]
    assert stats.measures["fraction_notebook"].tolist() == [2 / 4]


def test_the_notebooks_level_is_taken_with_the_cells_set_to_zero() -> None:
    mask, levels = np.zeros((20, 20), np.uint8), np.full((20, 20), 100)
    mask[:, 1:] = 1  # 19 of 20 pixels become zero
    levels[:, 0] = np.arange(20)
    picture = Picture(mask, dict.fromkeys(CHANNELS, levels.astype(np.uint8)))
    level = plain_notebook_level(mask, picture.channels["green"])
    assert 15 < level < 17  # and not 18.81, the level of the background alone
    levels[:, 1:] = 17
    picture = Picture(mask, dict.fromkeys(CHANNELS, levels.astype(np.uint8)))
    stats = measure(picture.decoded, 0.99).channels["green"]
    assert stats.measures["fraction_notebook"].tolist() == [1.0]
    assert stats.measures["fraction"].tolist() == [0.0]


@many
@given(shares)
def test_the_notebooks_fraction_does_not_depend_on_the_recipe(percentile: float) -> None:
    picture = GALLERY["two pieces"]
    one, other = measure(picture.decoded, percentile), measure(picture.decoded, 0.99)
    for name in CHANNELS:
        a, b = one.channels[name].measures, other.channels[name].measures
        np.testing.assert_equal(a["fraction_notebook"], b["fraction_notebook"])


@pytest.mark.parametrize("of", CHANNEL_MEASURES, ids=lambda of: of.name)
def test_a_measure_is_taken_in_the_channels_that_the_table_says(of: Measure) -> None:
    mask = drawn("1111 1111 ....")
    noise = np.random.default_rng(0).integers(0, 256, (len(CHANNELS), *mask.shape), np.uint8)
    picture = Picture(mask, dict(zip(CHANNELS, noise, strict=True)), drawn("1... .... ...."))
    cells = measure(picture.decoded, 0.99)
    given = [
        name for name in CHANNELS if not np.isnan(cells.channels[name].measures[of.name]).any()
    ]
    assert given == [name for name in CHANNELS if name in of.channels]


def test_each_cell_has_the_area_of_the_nucleus_with_its_id_and_others_are_left_out() -> None:
    nuclei = drawn("1144 ..44 9999 ...7")
    assert nucleus_areas(nuclei, np.array([1, 2, 4, 7])).tolist() == [2, 0, 4, 1]
    assert nucleus_areas(nuclei, np.array([2, 300])).tolist() == [0, 0]
    assert nucleus_areas(drawn(".. .."), np.array([1, 2])).tolist() == [0, 0]


def test_no_cells_have_no_nuclei() -> None:
    found = nucleus_areas(drawn("11 22"), np.zeros(0, np.int64))
    assert_column(found, 0, np.int64)


def test_a_nucleus_is_counted_where_it_leaves_its_cell() -> None:
    picture = Picture(drawn("11.. 22.."), painted(drawn("11.. 22..")), drawn("1111 1..."))
    assert measure(picture.decoded, 0.99).shape["nucleus_area"].tolist() == [5, 0]


def test_without_a_nucleus_mask_there_is_no_column_of_nuclei() -> None:
    assert "nucleus_area" not in measured("11 22").shape


def test_a_cell_without_a_nucleus_is_all_cytoplasm_and_one_that_is_all_nucleus_has_none() -> None:
    mask = drawn("11.22")
    picture = Picture(mask, painted(mask), drawn("..122"))
    cells = measure(picture.decoded, 0.99)
    for name in ("green", "blue"):
        measures = cells.channels[name].measures
        means = measures["intensity_mean"]
        np.testing.assert_equal(measures["intensity_nucleus"], [math.nan, means[1]])
        np.testing.assert_equal(measures["intensity_nucleus_rim"][0], math.nan)
        np.testing.assert_equal(measures["intensity_cytoplasm"], [means[0], math.nan])


def test_scattered_cells_measure_as_in_their_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = GALLERY["labels with gaps"]
    made = []
    for boxes_fit in (True, False):
        monkeypatch.setattr(box_sums, "fit", lambda *_, answer=boxes_fit: answer)
        made.append(measure(picture.decoded, 0.99))
    for name in CHANNELS:
        one, other = (dict(cells.channels[name].measures) for cells in made)
        np.testing.assert_equal(one, other)


def test_65535_cells_of_one_pixel_are_measured_in_bounded_memory() -> None:
    mask = single_pixels(65_535, (512, 512)).astype(np.uint16)
    picture = Picture(mask, painted(mask), mask)
    tracemalloc.start()
    try:
        cells = measure(picture.decoded, 0.99)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 750e6  # one histogram is 134 MB
    assert cells.mask_ids.tolist() == list(range(1, 65_536))
    assert (cells.shape["area"] == 1).all()
    assert (cells.shape["nucleus_area"] == 1).all()
    assert len(set(cells.rles)) == 65_535
    row, column = cells.shape["y"], cells.shape["x"]
    assert (
        cells.channels["red"].measures["intensity_max"] == picture.channels["red"][row, column]
    ).all()


class Real(NamedTuple):
    """One real image, what was measured, and the rows of the table that was computed apart."""

    decoded: Decoded
    cells: Cells
    expected: list[dict[str, str]]


@pytest.fixture(scope="module", params=REAL)
def real(request: pytest.FixtureRequest, hpa_data: Path) -> Real:
    name: str = request.param
    folder = hpa_data / "hpa"
    channels = {
        channel: read_gray(folder / "train" / f"{name}_{channel}.png") for channel in CHANNELS
    }
    with np.load(folder / "hpa_cell_mask" / f"{name}.npz") as file:
        mask = file["arr_0"]
    decoded = Decoded(channels, 8, mask, None, ())
    with (folder / "expected_cells.csv").open(newline="", encoding="utf-8") as table:
        expected = [row for row in csv.DictReader(table) if row["ID"] == name]
    return Real(decoded, measure(decoded, 0.99), expected)


def read_gray(path: Path) -> Pixels:
    image = np.asarray(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))
    assert image.dtype == np.uint8
    return image


def test_real_cells_have_the_shapes_that_were_computed_apart(real: Real) -> None:
    shape = real.cells.shape
    ours = {
        "cell_label": real.cells.mask_ids,
        "area": shape["area"],
        "x1": shape["x"],
        "y1": shape["y"],
        "x2_excl": shape["x"] + shape["width"],
        "y2_excl": shape["y"] + shape["height"],
        "touches_border": shape["touches_border"],
    }
    assert {n: c.tolist() for n, c in ours.items()} == {
        n: [int(r[n]) for r in real.expected] for n in ours
    }


def test_real_cells_have_the_strings_that_were_computed_apart(real: Real) -> None:
    assert real.cells.rles == tuple(row["rle_counts"] for row in real.expected)


def test_strings_of_real_cells_have_their_areas_and_boxes_for_the_coco_api(real: Real) -> None:
    shape = real.cells.shape
    rles = [
        {"size": list(real.decoded.cell_mask.shape), "counts": rle.encode()}
        for rle in real.cells.rles
    ]
    assert coco.area(rles).tolist() == shape["area"].tolist()
    assert (
        coco.toBbox(rles).tolist()
        == np.transpose([shape[n] for n in ("x", "y", "width", "height")]).tolist()
    )


def test_real_cells_have_the_levels_that_were_computed_apart(real: Real) -> None:
    for name in CHANNELS:
        means = [float(row[f"mean_{name}"]) for row in real.expected]
        found = real.cells.channels[name].measures["intensity_mean"]
        assert found.tolist() == pytest.approx(means, abs=0.5001e-4)  # the table has four decimals
    brightest = [int(row["max_green"]) for row in real.expected]
    assert real.cells.channels["green"].measures["intensity_max"].tolist() == brightest


def test_pieces_of_real_cells_are_at_most_those_that_meet_at_edges(real: Real) -> None:
    four = [int(row["n_components4"]) for row in real.expected]
    assert all(
        ours <= theirs
        for ours, theirs in zip(real.cells.shape["pieces"].tolist(), four, strict=True)
    )


def test_real_cells_measure_as_pixel_by_pixel(real: Real) -> None:
    assert_cells_are_plain(real.decoded, real.cells, 0.99)


def test_there_are_47_real_cells(hpa_data: Path) -> None:
    with (hpa_data / "hpa" / "expected_cells.csv").open(newline="", encoding="utf-8") as table:
        cells = Counter(row["ID"] for row in csv.DictReader(table))
    assert cells == dict(zip(REAL, (19, 18, 10), strict=True))
