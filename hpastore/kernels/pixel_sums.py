"""Sums over each cell that its histograms do not hold: over pairs of pixels, and over its nucleus.

They are integers, hence exact, and the same whichever way they were found.  Here it is over the
whole image, however its cells lie; `hpastore.kernels.box_sums` does it in the cells' boxes, five
times as fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from hpastore.kernels.definitions import BRENNER_CHANNELS, CORRELATED_CHANNELS, NUCLEUS_CHANNELS
from hpastore.kernels.histogram import LEVELS, joint_histogram
from hpastore.runtime.opencv import cv2

_NEIGHBOURS: Final = (
    (np.s_[:, 1:], np.s_[:, :-1]),
    (np.s_[1:, :], np.s_[:-1, :]),
    (np.s_[1:, 1:], np.s_[:-1, :-1]),
    (np.s_[1:, :-1], np.s_[:-1, 1:]),
)

_Ints = npt.NDArray[np.int64]
_Rows = npt.NDArray[np.unsignedinteger]
_Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Part:
    """Part of each cell.

    Parameters
    ----------
    area : (K,) int64
        Its pixels.
    levels : (K,) int64 by channel
        Sum of their grey levels.
    """

    area: _Ints
    levels: Mapping[str, _Ints]


@dataclass(frozen=True)
class Sums:
    """What was summed up of K cells.

    Parameters
    ----------
    pairs : (K,) int64
        Pairs of pixels two columns apart, both in the cell, whatever lies between.
    steps : (K,) int64 by channel
        Squared differences of those pairs: ``Σ (I[r, c + 2] - I[r, c])²``.
    apart : (K,) int64 by channel
        Squared differences from green: ``Σ (I - green)²``.
    nucleus, rim : Part
        The cell's nucleus, as far as it lies in the cell; and what of that lies near its edge, see
        `rim_width`.  Both None without a nucleus mask.
    """

    pairs: _Ints
    steps: Mapping[str, _Ints]
    apart: Mapping[str, _Ints]
    nucleus: Part | None
    rim: Part | None


def sums_over_image(
    rows: _Rows, channels: Mapping[str, _Pixels], nuclei: _Rows | None, cells: int
) -> Sums:
    """Sum up over the whole image.

    Parameters
    ----------
    rows : (H, W) unsigned
        As in `hpastore.kernels.label_image.LabelImage`.
    channels : (H, W) uint8 by name
    nuclei : (H, W) unsigned, or None
        From `nucleus_rows`.
    cells : int
        K.

    Returns
    -------
    Sums
    """
    pairs = pair_rows(rows)
    steps = {
        name: _squares(pairs, channels[name][:, 2:], channels[name][:, :-2], cells)
        for name in BRENNER_CHANNELS
    }
    apart = {
        name: _squares(rows, channels[name], channels["green"], cells)
        for name in CORRELATED_CHANNELS
    }
    count = _count(pairs, cells)
    if nuclei is None:
        return Sums(count, steps, apart, None, None)
    nucleus = _part(nuclei, channels, cells)
    return Sums(
        count, steps, apart, nucleus, _part(_rim_rows(nuclei, nucleus.area), channels, cells)
    )


def pair_rows(rows: _Rows) -> _Rows:
    """Row of each pair of pixels two columns apart that lie in one cell, else 0.

    Parameters
    ----------
    rows : (H, W) unsigned

    Returns
    -------
    (H, max(W - 2, 0)) of the same dtype
    """
    left, right = rows[:, :-2], rows[:, 2:]
    return np.asarray(left * (left == right).view(np.uint8), rows.dtype)


def nucleus_rows(
    rows: _Rows, mask: npt.NDArray[np.integer], nuclei: npt.NDArray[np.integer]
) -> _Rows:
    """Row of each pixel that lies in a cell and in the nucleus of that cell, else 0.

    Parameters
    ----------
    rows : (H, W) unsigned
        Of the mask.
    mask, nuclei : (H, W) of any integer dtypes
        A nucleus has the id of its cell.

    Returns
    -------
    (H, W) of the dtype of the rows
    """
    return np.asarray(rows * (mask == nuclei).view(np.uint8), rows.dtype)


def rim_width(area: npt.ArrayLike) -> _Ints:
    """Width of the rims of nuclei: an eighth of the radius of a disc as large, at least 1 px.

    A pixel of a nucleus is in its rim if a pixel of the image that is not of the nucleus lies
    within that many rows and columns.  Where the image ends there is no edge.

    Parameters
    ----------
    area : int64
        Pixels of each nucleus.

    Returns
    -------
    int64

    Notes
    -----
    The width grows with the nucleus, so that an image measures alike at any resolution, whatever
    else is in it.  A nucleus 200 pixels across, as they are at 2048², has a rim of 12, or 1 µm:
    what the nuclear membrane is blurred to, and what masks are wrong by.

    Examples
    --------
    >>> rim_width([1, 804, 31416]).tolist()
    [1, 2, 12]
    """
    width = np.sqrt(np.asarray(area) // 201).astype(np.int64)  # 64 pi is 201.06
    return np.asarray(np.maximum(width, 1))


def _squares(rows: _Rows, a: _Pixels, b: _Pixels, cells: int) -> _Ints:
    """Sum of the squared differences of two images, by row; row 0 is left out."""
    if not rows.size:
        return np.zeros(cells, np.int64)
    difference = np.asarray(cv2.absdiff(a, b), np.uint8)
    counts = joint_histogram(rows, difference, cells + 1)[1:]
    return np.asarray(counts @ np.arange(LEVELS) ** 2)


def _part(rows: _Rows, channels: Mapping[str, _Pixels], cells: int) -> Part:
    return Part(
        _count(rows, cells),
        {
            name: joint_histogram(rows, channels[name], cells + 1)[1:] @ np.arange(LEVELS)
            for name in NUCLEUS_CHANNELS
        },
    )


def _count(rows: _Rows, cells: int) -> _Ints:
    """Pixels of each row but 0."""
    return np.bincount(rows.ravel(), minlength=cells + 1)[1:]


def _rim_rows(nuclei: _Rows, area: _Ints) -> _Rows:
    """Row of each pixel in the rim of a nucleus, else 0."""
    width = np.append(0, rim_width(area)).astype(np.float32)
    return np.asarray(nuclei * (_depth(nuclei) <= width[nuclei]).view(np.uint8), nuclei.dtype)


def _depth(rows: _Rows) -> npt.NDArray[np.float32]:
    """How far the nearest pixel of another row is, in rows or columns, whichever are more.

    The pixel one step nearer is the nearest one of the same row at the row's edge: the distance to
    that edge, plus 1.
    """
    inner = np.ones(rows.shape, np.uint8)
    for here, there in _NEIGHBOURS:
        same = (rows[here] == rows[there]).view(np.uint8)
        inner[here] &= same
        inner[there] &= same
    return np.asarray(cv2.distanceTransform(inner, cv2.DIST_C, 3), np.float32) + 1
