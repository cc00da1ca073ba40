from __future__ import annotations

import zlib

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from hpastore.kernels.histogram import LEVELS, joint_histogram, pack, quantile, share_above, unpack
from hpastore.kernels.label_image import label_image
from tests.gallery import Picture, Pixels, every_picture, many

Counts = npt.NDArray[np.int64]
Rows = npt.NDArray[np.unsignedinteger]

shares = st.floats(0, 1) | st.sampled_from((0.0, 0.001, 0.25, 0.5, 0.75, 0.99, 0.999, 1.0))


def plain_histogram(rows: Rows, channel: Pixels, count: int) -> Counts:
    counts = np.zeros((count, LEVELS), np.int64)
    for row, level in zip(rows.ravel().tolist(), channel.ravel().tolist(), strict=True):
        counts[row, level] += 1
    return counts


def counts_of(levels: dict[int, int]) -> Counts:
    """One histogram from the number of pixels at each level."""
    counts = np.zeros((1, LEVELS), np.int64)
    counts[0, list(levels)] = list(levels.values())
    return counts


def pixels_of(counts: Counts) -> npt.NDArray[np.int64]:
    """The pixels that one histogram counts, sorted."""
    return np.repeat(np.arange(LEVELS), counts)


@st.composite
def rows_and_channels(draw: st.DrawFn) -> tuple[Rows, Pixels, int]:
    shape = draw(array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))
    count = draw(st.integers(1, 256))
    rows = draw(arrays(np.uint8, shape, elements=st.integers(0, count - 1)))
    return rows, draw(arrays(np.uint8, shape)), count


histograms = st.dictionaries(st.integers(0, 255), st.integers(1, 40), min_size=1, max_size=8).map(
    counts_of
)


@every_picture
@pytest.mark.parametrize("name", ["red", "green", "blue", "yellow"])
def test_a_drawn_image_is_counted_as_pixel_by_pixel(picture: Picture, name: str) -> None:
    label, channel = label_image(picture.cell_mask), picture.channels[name]
    count = len(label.ids) + 1
    counts = joint_histogram(label.rows, channel, count)
    assert counts.dtype == np.int64
    assert (counts == plain_histogram(label.rows, channel, count)).all()


@many
@given(rows_and_channels())
def test_the_fast_and_the_wide_way_count_as_pixel_by_pixel(image: tuple[Rows, Pixels, int]) -> None:
    rows, channel, count = image
    slow = plain_histogram(rows, channel, count)
    for dtype in (np.uint8, np.uint16, np.uint32):
        counts = joint_histogram(rows.astype(dtype), channel, count)
        assert counts.dtype == np.int64
        assert (counts == slow).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_order_in_memory_does_not_matter(dtype: type[np.unsignedinteger]) -> None:
    rng = np.random.default_rng(0)
    rows, channel = (
        rng.integers(0, 5, (16, 18)).astype(dtype),
        rng.integers(0, 256, (16, 18)).astype(np.uint8),
    )
    for view in (np.s_[:, :], np.s_[::2, ::3], np.s_[::-1, 1:]):
        slow = plain_histogram(rows[view], channel[view], 5)
        assert (joint_histogram(rows[view], channel[view], 5) == slow).all()
        assert (joint_histogram(np.asfortranarray(rows[view]), channel[view], 5) == slow).all()
        assert (joint_histogram(rows[view], np.asfortranarray(channel[view]), 5) == slow).all()


@pytest.mark.parametrize("side", [4096, 4097])
def test_counts_are_exact_beyond_the_whole_numbers_of_float32(side: int) -> None:
    counts = joint_histogram(np.ones((side, side), np.uint8), np.full((side, side), 9, np.uint8), 2)
    assert counts[1, 9] == side * side
    assert counts.sum() == side * side


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(0, 0), (3, 0), (0, 3)])
def test_no_pixels_give_a_histogram_of_zeros(
    dtype: type[np.unsignedinteger], shape: tuple[int, int]
) -> None:
    counts = joint_histogram(np.zeros(shape, dtype), np.zeros(shape, np.uint8), 3)
    assert counts.shape == (3, LEVELS)
    assert counts.dtype == np.int64
    assert not counts.any()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_rows_and_channel_are_never_changed(dtype: type[np.unsignedinteger]) -> None:
    rows, channel = np.array([[0, 1]], dtype), np.array([[9, 200]], np.uint8)
    rows.setflags(write=False)
    channel.setflags(write=False)
    joint_histogram(rows, channel, 2)
    assert rows.tolist() == [[0, 1]]
    assert channel.tolist() == [[9, 200]]


@many
@given(histograms, shares)
@example(counts_of({7: 1}), 0.3)
@example(counts_of({0: 1, 255: 1}), 0.5)
@example(counts_of({3: 100}), 0.99)
def test_quantile_is_numpys_of_the_pixels_to_the_last_bit(counts: Counts, share: float) -> None:
    assert quantile(counts, share)[0] == np.quantile(pixels_of(counts[0]), share)


@many
@given(st.lists(histograms, min_size=1, max_size=6), shares)
def test_quantile_of_many_histograms_is_that_of_each(parts: list[Counts], share: float) -> None:
    together = quantile(np.concatenate(parts), share)
    assert together.tolist() == [quantile(counts, share)[0] for counts in parts]


@pytest.mark.parametrize("share", [0.001, 0.01, 1 / 3, 0.5, 0.9, 0.99, 0.999, 1 - 2**-53])
def test_quantile_is_numpys_for_a_million_pixels(share: float) -> None:
    counts = np.random.default_rng(0).integers(0, 8000, (1, LEVELS))
    assert quantile(counts, share)[0] == np.quantile(pixels_of(counts[0]), share)


@many
@given(histograms)
def test_shares_0_and_1_are_the_darkest_and_the_brightest_pixel(counts: Counts) -> None:
    levels = np.flatnonzero(counts[0])
    assert quantile(counts, 0)[0] == levels[0]
    assert quantile(counts, 1)[0] == levels[-1]


@many
@given(st.integers(0, 255), shares)
def test_every_quantile_of_one_pixel_is_that_pixel(level: int, share: float) -> None:
    assert quantile(counts_of({level: 1}), share).tolist() == [level]


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99, 1.0])
def test_quantile_of_no_pixels_is_nan_and_leaves_the_others_alone(share: float) -> None:
    values = quantile(np.concatenate([counts_of({}), counts_of({5: 2})]), share)
    assert np.isnan(values[0])
    assert values[1] == 5


def test_no_histograms_give_no_values_of_the_right_dtype() -> None:
    none = np.zeros((0, LEVELS), np.int64)
    for values in (quantile(none, 0.5), share_above(none, 3.0), share_above(none, np.nan)):
        assert values.shape == (0,)
        assert values.dtype == np.float64


@many
@given(histograms, st.floats(0, 255) | st.integers(0, 255).map(float))
def test_share_above_counts_the_pixels_strictly_above(counts: Counts, level: float) -> None:
    assert share_above(counts, level).tolist() == [np.mean(pixels_of(counts[0]) > level)]


def test_a_pixel_at_the_level_is_not_above_it() -> None:
    counts = counts_of({10: 3, 11: 1})
    assert share_above(counts, 9.99).tolist() == [1.0]
    assert share_above(counts, 10.0).tolist() == [0.25]
    assert share_above(counts, 10.5).tolist() == [0.25]
    assert share_above(counts, 255.0).tolist() == [0.0]


def test_share_above_no_level_is_nan() -> None:
    assert np.isnan(
        share_above(np.concatenate([counts_of({1: 1}), counts_of({2: 2})]), np.nan)
    ).all()


@many
@given(
    arrays(
        np.int64, st.tuples(st.integers(0, 4), st.just(LEVELS)), elements=st.integers(0, 2**32 - 1)
    )
)
def test_unpack_gives_back_what_pack_was_given(counts: Counts) -> None:
    back = unpack(pack(counts), len(counts))
    assert back.dtype == np.int64
    assert back.shape == counts.shape
    assert (back == counts).all()


def test_what_is_stored_are_four_planes_of_bytes_lowest_first() -> None:
    counts = counts_of({0: 0x04030201, 255: 7})
    planes = zlib.decompress(pack(counts))
    assert len(planes) == 4 * LEVELS
    assert [planes[LEVELS * i] for i in range(4)] == [1, 2, 3, 4]
    assert planes[LEVELS - 1] == 7
    assert sum(planes) == 1 + 2 + 3 + 4 + 7


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "cut short"),
        (b"no zlib", "cannot be inflated"),
        (zlib.compress(bytes(4 * LEVELS))[:-1], "cut short"),
        (zlib.compress(bytes(4 * LEVELS)) + b"x", "something follows it"),
        (zlib.compress(bytes(4 * LEVELS)), "it holds 1 rows, not 2"),
        (zlib.compress(bytes(12 * LEVELS)), "inflates to more than 2048 bytes"),
        (zlib.compress(bytes(2**28)), "inflates to more than 2048 bytes"),
    ],
)
def test_what_is_no_packed_histogram_of_so_many_rows_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        unpack(data, 2)
