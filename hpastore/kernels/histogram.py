"""The joint histogram of label rows and grey levels, and what follows from it."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
import numpy.typing as npt

LEVELS: Final = 256

_EXACT_FLOAT32: Final = 2**24
"""OpenCV returns counts as float32, exact up to here."""


def joint_histogram(
    rows: npt.NDArray[np.unsignedinteger], channel: npt.NDArray[np.uint8], count: int
) -> npt.NDArray[np.int64]:
    """Count the pixels of every row at every grey level, in one pass.

    Parameters
    ----------
    rows : (H, W) unsigned
        Values below `count`, as in `hpastore.kernels.label_image.LabelImage`.
    channel : (H, W) uint8
    count : int
        Number of rows, the background's included.

    Returns
    -------
    (count, 256) int64

    Examples
    --------
    >>> rows = np.array([[0, 1]], np.uint8)
    >>> joint_histogram(rows, np.array([[9, 200]], np.uint8), 2)[1, 200]
    np.int64(1)
    """
    if rows.dtype == np.uint8 and rows.size <= _EXACT_FLOAT32:
        from hpastore.runtime.opencv import cv2  # here: stored histograms are read without it

        ranges = [0, count, 0, LEVELS]
        counts = cv2.calcHist(
            [np.ascontiguousarray(rows), channel], [0, 1], None, [count, LEVELS], ranges
        )
        return np.asarray(counts).reshape(count, LEVELS).astype(np.int64)
    index = rows.astype(np.intp)
    index *= LEVELS
    index += channel
    return np.bincount(index.ravel(), minlength=count * LEVELS).reshape(count, LEVELS)


def quantile(counts: npt.NDArray[np.int64], share: float) -> npt.NDArray[np.float64]:
    """Quantile of each histogram, interpolated: equal to `numpy.quantile` of the pixels.

    Parameters
    ----------
    counts : (M, 256) int64
    share : float
        0..1.

    Returns
    -------
    (M,) float64
        NaN where a histogram is empty.

    Notes
    -----
    NumPy's formula (Hyndman and Fan 1996, type 7): with ``h = (n - 1) share`` and
    ``t = h - floor(h)`` it is ``a + (b - a) t`` for ``t < 0.5``, else ``b - (b - a)(1 - t)``,
    where a and b are the values at ``floor(h)`` and one after.
    """
    below = np.cumsum(counts, axis=1)
    last = below[:, -1] - 1
    position = last * share
    low = np.floor(position)
    a = _level_at(below, low)
    b = _level_at(below, np.minimum(low + 1, last))
    t = position - low
    value = np.where(t < 0.5, a + (b - a) * t, b - (b - a) * (1 - t))
    return np.where(last < 0, np.nan, value)


def share_above(counts: npt.NDArray[np.int64], level: float) -> npt.NDArray[np.float64]:
    """Share of each histogram's pixels strictly above a level.

    Parameters
    ----------
    counts : (M, 256) int64
        No histogram is empty.
    level : float
        Grey level; NaN gives NaN.

    Returns
    -------
    (M,) float64
    """
    if np.isnan(level):
        return np.full(len(counts), np.nan)
    bright = counts[:, int(level) + 1 :].sum(axis=1)
    return np.asarray(bright / counts.sum(axis=1))


def pack(counts: npt.NDArray[np.int64]) -> bytes:
    """Compress a joint histogram for storage.

    Little-endian uint32, the four byte planes one after the other, then zlib: most high bytes are
    zero, and planes compress to two thirds of what interleaved bytes do (real images: 4.2 KB
    instead of 6.4 KB for 19 cells).

    Parameters
    ----------
    counts : (M, 256) int64
        Each below 2**32.

    Returns
    -------
    bytes
        `unpack` gives the counts back.
    """
    planes = counts.astype("<u4").view(np.uint8).reshape(-1, 4).T
    return zlib.compress(planes.tobytes())


def unpack(data: bytes, rows: int) -> npt.NDArray[np.int64]:
    """Give back what `pack` was given.

    Parameters
    ----------
    data : bytes
        May come from anywhere: no more is inflated than `rows` take.
    rows : int
        Number of rows that were packed.

    Returns
    -------
    (rows, 256) int64

    Raises
    ------
    ValueError
        If it is no packed histogram of so many rows.

    Examples
    --------
    >>> unpack(pack(np.ones((2, 256), np.int64)), 2).sum()
    np.int64(512)
    """
    planes = np.frombuffer(inflate(data, 4 * LEVELS * rows), np.uint8).reshape(4, -1)
    if planes.shape[1] != LEVELS * rows:
        raise ValueError(f"it holds {planes.shape[1] / LEVELS:g} rows, not {rows}")
    counts = planes[0].astype(np.int64)
    for place in (1, 2, 3):
        if planes[
            place
        ].any():  # as of the background, but hardly of a cell: two thirds of the time
            counts += planes[place].astype(np.int64) << (8 * place)
    return np.asarray(counts.reshape(-1, LEVELS))


def inflate(data: bytes, limit: int) -> bytes:
    """Inflate the bytes of a packed histogram.

    Parameters
    ----------
    data : bytes
    limit : int
        Bytes; a few kilobytes may inflate to gigabytes.

    Raises
    ------
    ValueError
        If it does not inflate, is cut short, or gives more bytes.
    """
    inflater = zlib.decompressobj()
    try:
        inflated = inflater.decompress(data, limit + 1)
    except zlib.error as error:
        raise ValueError(f"it cannot be inflated ({error})") from error
    if len(inflated) > limit:
        raise ValueError(f"it inflates to more than {limit} bytes")
    if not inflater.eof or inflater.unused_data:
        raise ValueError("it is cut short, or something follows it")
    return inflated


def _level_at(
    below: npt.NDArray[np.int64], position: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Level of the pixel at a 0-based position of each sorted histogram."""
    return np.asarray((below <= position[:, None]).sum(axis=1), np.float64)
