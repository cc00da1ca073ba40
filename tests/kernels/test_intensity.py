from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpastore.kernels.histogram import LEVELS
from hpastore.kernels.intensity import correlation, intensity_measures, moments
from tests.gallery import Pixels, many
from tests.kernels.test_image import plain_correlation

columns = st.integers(1, 40).flatmap(lambda n: arrays(np.uint8, (2, n)))


def counted(*cells: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Histograms of the pixels of cells."""
    return np.array(
        [np.bincount(np.asarray(pixels, np.uint8), minlength=LEVELS) for pixels in cells]
    )


def correlated(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Of one cell."""
    apart = ((np.asarray(a, np.int64) - np.asarray(b, np.int64)) ** 2).sum()
    return float(correlation(moments(counted(a)), moments(counted(b)), np.array([apart]))[0])


@many
@given(columns)
def test_moments_are_the_sums_that_they_say(pixels: Pixels) -> None:
    found = moments(counted(*pixels))
    for k, values in enumerate(pixels.astype(int).tolist()):
        middle = int(found.middle[k])
        assert abs(middle - sum(values) / len(values)) <= 0.5
        exact = (
            len(values),
            sum(values),
            sum(v - middle for v in values),
            sum((v - middle) ** 2 for v in values),
        )
        assert (found.n[k], found.total[k], found.offset[k], found.square[k]) == exact
        assert 2 * found.offset[k] ** 2 <= found.n[k] * found.square[k]  # nothing cancels


@many
@given(columns)
def test_correlation_is_pearsons(pixels: Pixels) -> None:
    found = correlated(*pixels)
    assert found == pytest.approx(plain_correlation(*pixels), rel=1e-12, abs=1e-15, nan_ok=True)
    assert not abs(found) > 1
    np.testing.assert_equal(correlated(*pixels[::-1]), found)


@pytest.mark.parametrize(("slope", "expected"), [(1, 1), (3, 1), (-1, -1), (-3, -1)])
def test_channels_that_are_lines_of_each_other_correlate_by_one_and_no_more(
    slope: int, expected: int
) -> None:
    for n in range(2, 80):
        a = np.arange(n)
        b = slope * a + (240 if slope < 0 else 0)
        assert correlated(a, b) == pytest.approx(expected, abs=1e-15)
        assert abs(correlated(a, b)) <= 1
    a = np.array([14, 30, 38, 58, 8])  # 1.0000000000000002 before it is cut off
    assert correlated(a, 3 * a + 27) == 1


def test_a_flat_channel_does_not_correlate() -> None:
    assert math.isnan(correlated([7, 7, 7], [1, 2, 3]))
    assert math.isnan(correlated([1, 2, 3], [255, 255, 255]))
    assert math.isnan(correlated([1], [2]))


def test_a_trace_of_one_level_among_16_million_pixels_still_correlates() -> None:
    n = 2**24
    counts = np.zeros((2, LEVELS), np.int64)
    counts[0, [254, 255]] = 1, n - 1
    counts[1, [0, 1]] = n - 1, 1
    found = moments(counts)
    one, other = (type(found)(*(column[k : k + 1] for column in found)) for k in (0, 1))
    apart = np.array([(n - 1) * 255**2 + 253**2])  # the odd pixels are one and the same
    assert correlation(one, other, apart)[0] == pytest.approx(-1, abs=1e-12)


def test_no_cells_have_no_correlation() -> None:
    none = moments(np.zeros((0, LEVELS), np.int64))
    assert correlation(none, none, np.zeros(0, np.int64)).shape == (0,)


def test_the_spread_of_a_million_bright_pixels_is_exact() -> None:
    counts = np.zeros((1, LEVELS), np.int64)
    counts[0, [254, 255]] = 1, 999_999
    exact = math.sqrt(999_999) / 1_000_000  # sqrt(p (1 - p)) of a coin
    found = intensity_measures(counts, moments(counts))["intensity_std"][0]
    assert found == pytest.approx(exact, rel=1e-12)


def test_no_cells_have_levels_of_the_right_dtype() -> None:
    none = np.zeros((0, LEVELS), np.int64)
    for column in intensity_measures(none, moments(none)).values():
        assert column.shape == (0,)
        assert column.dtype == np.float64
