"""COCO run-length encoding of all cells at once, and back.

The format is that of the COCO API (``maskApi.c``): column-major runs, zeros first; from the
fourth count on, the difference to the count two before; each number in groups of five bits, low
group first, bit 5 set where another group follows, as characters from ``'0'`` on.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # loads OpenCV, which stored masks do not need
    from hpastore.kernels.label_image import LabelImage

_GROUP = 5
_MORE = 32
_FIRST_CHARACTER = 48

_BATCH_SIZE = 500
"""Masks that are checked together: half a megabyte stays in the processor's cache."""

_MAX_FAST_PIXELS = 2**26
"""Larger images are checked mask by mask."""

_MAX_FAST_GROUPS = 5
"""Groups of a number without its last one: so that it fits into 30 bits."""

_FIRST_MORE = _FIRST_CHARACTER + _MORE

_MORE_CHARACTERS = bytes(range(_FIRST_MORE, _FIRST_MORE + _MORE))
"""Groups that another follows."""

_LAST_GROUPS = bytes((((c - _FIRST_CHARACTER) ^ 16) - 16) % 256 for c in range(256))
"""The value with a sign, as int8, of each character that is the last group of a number."""


def encode_cells(label: LabelImage) -> tuple[str, ...]:
    """Encode every cell of a label image as a compressed counts string.

    Parameters
    ----------
    label : LabelImage
        K cells.

    Returns
    -------
    K strings
        Each byte-identical to ``pycocotools.mask.encode`` of that cell's mask.

    Examples
    --------
    >>> from hpastore.kernels.label_image import label_image
    >>> encode_cells(label_image(np.array([[0, 5], [5, 5]])))
    ('13',)
    """
    if not len(label.ids):
        return ()
    counts, begin = _counts(label)
    nth = np.arange(len(counts)) - np.repeat(begin, np.diff(begin, append=len(counts)))
    counts[2:] -= np.where(nth[2:] > 2, counts[:-2], 0)
    text, ends = _characters(counts)
    cuts = [0, *ends[np.append(begin[1:], len(counts)) - 1].tolist()]
    return tuple(text[a:b] for a, b in pairwise(cuts))


def decode(counts: str, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Decode one compressed counts string.

    Parameters
    ----------
    counts : str
    height, width : int
        Size of the image, pixels.

    Returns
    -------
    (H, W) bool, in Fortran order

    Raises
    ------
    ValueError
        If the runs do not add up to ``height * width``, or the string is cut short.

    Examples
    --------
    >>> decode("13", 2, 2).astype(int).tolist()
    [[0, 1], [1, 1]]
    """
    lengths = _lengths(counts)
    if (lengths < 0).any() or (lengths > height * width).any() or lengths.sum() != height * width:
        raise ValueError(f"the runs of {counts[:20]!r} do not fill {height} x {width} pixels")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(width, height).T


class Extents(NamedTuple):
    """Areas and boxes of K masks: (K,) int64 each; boxes are half-open, in pixels."""

    area: npt.NDArray[np.int64]
    x: npt.NDArray[np.int64]
    y: npt.NDArray[np.int64]
    width: npt.NDArray[np.int64]
    height: npt.NDArray[np.int64]


def extents(counts: Sequence[str], height: int, width: int) -> Extents:
    """Measure the masks of one image without drawing them.

    Parameters
    ----------
    counts : K strings
        As of `encode_cells`.
    height, width : int
        Size of the image, pixels.

    Raises
    ------
    ValueError
        If any of them is not what `decode` takes, or has no pixel.

    Examples
    --------
    >>> [int(values[0]) for values in extents(["13"], 2, 2)]
    [3, 0, 0, 2, 2]
    """
    if not counts:
        return Extents(*(np.zeros(0, np.int64) for _ in Extents._fields))
    pixels = height * width
    lengths, begin = _all_lengths(counts, pixels)
    cell = np.repeat(np.arange(len(counts)), np.diff(begin, append=len(lengths)))
    ones = np.flatnonzero(((np.arange(len(lengths)) - begin[cell]) % 2 == 1) & (lengths > 0))
    cell, stop = cell[ones], np.cumsum(lengths)[ones]
    stop -= cell * pixels  # each mask fills the image
    lengths = lengths[ones]
    first = np.searchsorted(cell, np.arange(len(counts)))
    if len(np.unique(cell)) < len(counts):
        raise ValueError("a mask has no pixel")
    (left, top), (right, bottom) = divmod(stop - lengths, height), divmod(stop - 1, height)
    # A run that goes on in the next column has touched the lower and the upper border.
    wraps = left < right
    x, y = left[first], np.minimum.reduceat(np.where(wraps, 0, top), first)
    x_end = np.maximum.reduceat(right, first) + 1
    y_end = np.maximum.reduceat(np.where(wraps, height - 1, bottom), first) + 1
    return Extents(np.add.reduceat(lengths, first), x, y, x_end - x, y_end - y)


def first_damaged(counts: Sequence[str], pixels: Sequence[int]) -> int | None:
    """Find a mask that `extents` would refuse, in a tenth of its time.

    Parameters
    ----------
    counts : K strings
        As of `encode_cells`, or anything else.
    pixels : K numbers
        Height times width of each mask's image.

    Returns
    -------
    int or None
        The place of the first; None where all are masks that fill their images.

    Examples
    --------
    >>> first_damaged(["13", "13", "12"], [4, 4, 4])
    2
    """
    for start in range(0, len(counts), _BATCH_SIZE):
        some, sizes = counts[start : start + _BATCH_SIZE], pixels[start : start + _BATCH_SIZE]
        if not _all_fill(some, sizes):
            for place, (text, size) in enumerate(zip(some, sizes, strict=True), start):
                if not _fills(text, size):
                    return place
    return None


def overlaps(some: Sequence[str], others: Sequence[str]) -> npt.NDArray[np.float64]:
    """Intersection over union of each of some masks with each of others, of images of one size.

    Parameters
    ----------
    some, others : N and M strings
        As of `encode_cells`; no mask is empty.

    Returns
    -------
    (N, M) float64
        Shares 0..1.

    Examples
    --------
    >>> overlaps(["13", "22"], ["13"])
    array([[1.        ],
           [0.66666667]])
    """
    shares = np.zeros((len(some), len(others)))
    masks = [_cumulative_pixels(other) for other in others]
    for i, (edges, covered) in enumerate(map(_cumulative_pixels, some)):
        for j, (ends, sums) in enumerate(masks):
            # Pixels of the one mask in the runs of the other: its running sum grows along a
            # straight line.
            common = np.diff(np.interp(ends, edges, covered))[1::2].sum()
            shares[i, j] = common / (covered[-1] + sums[-1] - common)
    return shares


def _fills(counts: str, pixels: int) -> bool:
    """Whether a mask fills its image, and has a pixel."""
    try:
        extents([counts], 1, pixels)
    except (ValueError, TypeError, OverflowError):
        return False
    return True


def _all_fill(counts: Sequence[str], pixels: Sequence[int]) -> bool:
    """Whether all of some masks are written as `encode_cells` does, and fill their images.

    A mask may fill its image and be written otherwise: `_fills` tells.
    """
    try:
        text = "".join(counts).encode("ascii")
        stops = np.cumsum(np.fromiter(map(len, counts), np.int64, len(counts)))
        sizes = np.fromiter(pixels, np.int64, len(counts))
    except (ValueError, TypeError, OverflowError):
        return False
    begin = np.append(0, stops[:-1])
    if sizes.max() > _MAX_FAST_PIXELS or (begin == stops).any():
        return False
    characters = np.frombuffer(text, np.uint8)
    if characters.min() < _FIRST_CHARACTER or characters.max() >= _FIRST_MORE + _MORE:
        return False
    if (characters[stops - 1] >= _FIRST_MORE).any():  # cut short
        return False
    more = np.flatnonzero(characters >= _FIRST_MORE)
    last_groups = np.frombuffer(text.translate(_LAST_GROUPS, _MORE_CHARACTERS), np.int8)
    differences = last_groups.astype(np.int32)
    groups = (characters[more] - np.uint8(_FIRST_MORE)).astype(np.int32)
    if not _add_groups(differences, more - np.arange(len(more)), groups):
        return False
    begin -= np.searchsorted(more, begin)
    return _lengths_fill(differences, begin, sizes)


def _add_groups(
    values: npt.NDArray[np.int32], owner: npt.NDArray[np.int64], groups: npt.NDArray[np.int32]
) -> bool:
    """Put the lower groups of bits below the last groups of their numbers, one number in ten.

    Parameters
    ----------
    values : (N,) int32
        The last group of each number; changed in place.
    owner : (M,) int64
        The number that a group belongs to, ascending.
    groups : (M,) int32

    Returns
    -------
    bool
        Whether no number has more than `_MAX_FAST_GROUPS`.
    """
    for _ in range(_MAX_FAST_GROUPS):
        if not len(owner):
            return True
        # Of several groups of one number, the last one is assigned: the highest that is left.
        values[owner] = (values[owner] << _GROUP) + groups
        lower = np.flatnonzero(owner[1:] == owner[:-1])
        owner, groups = owner[lower], groups[lower]
    return False


def _lengths_fill(
    differences: npt.NDArray[np.int32], begin: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]
) -> bool:
    """Whether the runs of all masks have lengths that add up; the differences are used up.

    Sums of 32 bits may wrap round, but no difference is so large that the next length of its run
    is allowed again.
    """
    numbers = np.diff(begin, append=len(differences))
    if numbers.min() < 2 or (differences[begin + 1] <= 0).any():  # no pixel
        return False
    third = begin[numbers > 2]
    differences[third + 2] -= differences[third]  # the third is no difference: so it becomes one
    filled = np.zeros_like(sizes)
    for parity in (0, 1):
        first = (begin + 1 - parity) // 2
        lengths = np.cumsum(differences[parity::2], dtype=np.int32)
        # Without what the sum has come to at the end of the mask before.
        before = np.append(np.int32(0), lengths[first[1:] - 1])
        lengths -= np.repeat(before, np.diff(first, append=len(lengths)))
        if lengths.min() < 0 or lengths.max() > _MAX_FAST_PIXELS:
            return False
        filled += np.add.reduceat(lengths, first, dtype=np.int64)
    return bool((filled == sizes).all())


def _cumulative_pixels(counts: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ends of the runs of zeros and ones, with 0 before them, and the pixels of ones up to each."""
    lengths = _lengths(counts)
    ones = np.where(np.arange(len(lengths)) % 2 == 1, lengths, 0)
    return np.append(0, np.cumsum(lengths)), np.append(0, np.cumsum(ones))


def _all_lengths(
    counts: Sequence[str], pixels: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Run lengths of all strings, one string after the other, and where each string's begin."""
    differences, ends = _numbers("".join(counts))
    stops = np.cumsum([len(text) for text in counts])
    last = np.searchsorted(ends, stops)
    if (ends[last] != stops).any() or (np.diff(last, prepend=-1) == 0).any():
        raise ValueError("a string is empty or cut short")
    if (
        np.abs(differences) > pixels
    ).any():  # with this no sum can wrap round and come back as a length
        raise ValueError(f"a run does not fit into {pixels} pixels")
    begin = np.append(0, last[:-1] + 1)
    # x[i] += x[i - 2] from the fourth on: running sums over every other number of all strings,
    # without what they had summed up by the begin of the string.
    sums = np.empty_like(differences)
    for parity in (0, 1):
        sums[parity::2] = np.cumsum(differences[parity::2])
    numbers = np.diff(begin, append=len(sums))
    odd = (np.arange(len(sums)) - np.repeat(begin, numbers)) % 2 == 1
    before = np.append(0, sums)[begin]
    lengths = sums - np.where(odd, np.repeat(before, numbers), np.repeat(sums[begin], numbers))
    lengths[begin] = differences[begin]
    if (lengths < 0).any() or (np.add.reduceat(lengths, begin) != pixels).any():
        raise ValueError(f"the runs of a mask do not fill {pixels} pixels")
    return lengths, begin


def _counts(label: LabelImage) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Run lengths of all cells, one cell after the other, and where each cell begins."""
    total, cells = label.rows.size, len(label.ids)
    last = np.append(label.first[1:], len(label.start)) - 1
    previous = np.append(0, label.stop[:-1])
    previous[label.first] = 0
    slot = 2 * np.arange(len(label.start)) + label.cell
    counts = np.zeros(2 * len(label.start) + cells, np.int64)
    counts[slot] = label.start - previous
    counts[slot + 1] = label.stop - label.start
    tail = slot[last] + 2
    counts[tail] = total - label.stop[last]
    begin = slot[label.first]
    full = counts[tail] == 0  # a mask that ends in ones has no last count of zeros
    return np.delete(counts, tail[full]), begin - (np.cumsum(full) - full)


def _characters(numbers: npt.NDArray[np.int64]) -> tuple[str, npt.NDArray[np.int64]]:
    """All numbers as text, and where each number's text ends."""
    # A number needs g groups where it fits into 5 g bits with a sign.
    magnitude = np.where(numbers < 0, ~numbers, numbers)
    groups = np.ones(len(numbers), np.int64)
    for g in range(1, 13):
        groups += magnitude >= 1 << (_GROUP * g - 1)
    ends = np.cumsum(groups)
    text = np.empty(ends[-1], np.uint8)
    for g in range(int(groups.max())):
        has = groups > g
        bits = (numbers[has] >> (_GROUP * g)) & (_MORE - 1)
        more = np.where(groups[has] > g + 1, _MORE, 0)
        text[(ends - groups)[has] + g] = bits + more + _FIRST_CHARACTER
    return text.tobytes().decode("ascii"), ends


def _lengths(counts: str) -> npt.NDArray[np.int64]:
    """Undo `_characters` and the differences."""
    values, _ = _numbers(counts)
    # x[i] += x[i - 2] from the fourth on: a running sum over every other number.
    for parity in (1, 2):
        values[parity::2] = np.cumsum(values[parity::2])
    return values


def _numbers(text: str) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Undo `_characters`: all numbers, and where each number's text ends."""
    # Below '0' it wraps.
    codes = np.frombuffer(text.encode("ascii"), np.uint8) - np.uint8(_FIRST_CHARACTER)
    if not codes.size or codes.max() >= 2 * _MORE or codes[-1] >= _MORE:
        raise ValueError(f"{text[:20]!r} is not a compressed COCO RLE")
    ends = np.flatnonzero(codes < _MORE) + 1
    begin = np.append(0, ends[:-1])
    groups = ends - begin
    max_groups = int(groups.max())
    if max_groups > 12:
        raise ValueError(f"{text[:20]!r} is not a compressed COCO RLE")
    values = (codes[begin] & (_MORE - 1)).astype(np.int64)
    for g in range(1, max_groups):
        has = np.flatnonzero(groups > g)
        values[has] |= (codes[begin[has] + g].astype(np.int64) & (_MORE - 1)) << (_GROUP * g)
    negative = np.flatnonzero(codes[ends - 1] & (_MORE // 2))
    values[negative] -= np.int64(1) << (_GROUP * groups[negative])
    return values, ends
