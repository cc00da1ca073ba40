"""COCO run-length encoding of all cells at once, and back.

The format is that of the COCO API (``maskApi.c``): column-major runs, zeros first; from the
fourth count on, the difference to the count two before; each number in groups of five bits, low
group first, bit 5 set where another group follows, as characters from ``'0'`` on.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from hpastore.kernels.labels import LabelImage

_GROUP = 5
_MORE = 32
_FIRST_CHARACTER = 48


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
    >>> from hpastore.kernels.labels import label_image
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
    codes = np.frombuffer(counts.encode("ascii"), np.uint8).astype(np.int64) - _FIRST_CHARACTER
    if not codes.size or codes.min() < 0 or codes.max() >= 2 * _MORE or codes[-1] >= _MORE:
        raise ValueError(f"{counts[:20]!r} is not a compressed COCO RLE")
    ends = np.flatnonzero(codes < _MORE) + 1
    begin = np.append(0, ends[:-1])
    if (ends - begin).max() > 12:
        raise ValueError(f"{counts[:20]!r} is not a compressed COCO RLE")
    shift = _GROUP * (np.arange(len(codes)) - np.repeat(begin, ends - begin))
    values = np.add.reduceat((codes & (_MORE - 1)) << shift, begin)
    negative = codes[ends - 1] & (_MORE // 2) != 0
    values -= np.where(negative, np.int64(1) << (_GROUP * (ends - begin)), 0)
    # x[i] += x[i - 2] from the fourth on: a running sum over every other number.
    for parity in (1, 2):
        values[parity::2] = np.cumsum(values[parity::2])
    return values
