"""Area, box, border contact, outline and pieces of every cell, from its runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:  # loads OpenCV
    from hpastore.kernels.label_image import LabelImage

_Ints = npt.NDArray[np.int64]
_Floats = npt.NDArray[np.float64]


class Boxes(NamedTuple):
    """Half-open bounding boxes in pixels; each (K,) int64."""

    x: _Ints
    y: _Ints
    width: _Ints
    height: _Ints


def areas(label: LabelImage) -> _Ints:
    """Pixels of each cell, (K,) int64."""
    return (
        np.add.reduceat(label.stop - label.start, label.first) if len(label.ids) else _no_values()
    )


def boxes(label: LabelImage) -> Boxes:
    """Tight box around all pixels of each cell."""
    if not len(label.ids):
        return Boxes(_no_values(), _no_values(), _no_values(), _no_values())
    height = label.rows.shape[0]
    left, top = np.divmod(label.start, height)
    right, bottom = np.divmod(label.stop - 1, height)
    wraps = right > left  # such a run holds the foot of one column and the head of the next
    y = np.minimum.reduceat(np.where(wraps, 0, top), label.first)
    y_stop = np.maximum.reduceat(np.where(wraps, height, bottom + 1), label.first)
    x = np.minimum.reduceat(left, label.first)
    x_stop = np.maximum.reduceat(right + 1, label.first)
    return Boxes(x, y, x_stop - x, y_stop - y)


def touch_border(box: Boxes, shape: tuple[int, int]) -> _Ints:
    """1 for each box that reaches the first or last row or column of an (H, W) image, else 0."""
    height, width = shape
    touches = (
        (box.x == 0) | (box.y == 0) | (box.x + box.width == width) | (box.y + box.height == height)
    )
    return np.asarray(touches, np.int64)


def far_edges(label: LabelImage, box: Boxes) -> tuple[_Ints, _Ints]:
    """Pixels of each cell in the last row or the last column of its box, each once.

    Found by the runs and not along the boxes: 65,535 scattered cells have boxes as large as the
    image.

    Returns
    -------
    pixel, cell
        (E,) int64 index into the flattened (H, W) image, and the cell that the pixel is of.
    """
    cell, column, top, bottom = _column_runs(label)
    whole = column == (box.x + box.width - 1)[cell]
    foot = ~whole & (bottom == (box.y + box.height)[cell])
    length = (bottom - top)[whole]
    end = np.cumsum(length)
    row = np.arange(length.sum()) - np.repeat(end - length - top[whole], length)
    rows = np.concatenate((row, bottom[foot] - 1))
    columns = np.concatenate((np.repeat(column[whole], length), column[foot]))
    cells = np.concatenate((np.repeat(cell[whole], length), cell[foot]))
    return rows * label.rows.shape[1] + columns, cells


def pieces(label: LabelImage) -> _Ints:
    """8-connected components of each cell, (K,) int64.

    Two runs of one cell in neighbouring columns touch where they overlap by a row or meet at a
    corner.  Runs are joined to their smallest neighbour until nothing moves.
    """
    runs = _column_runs(label)
    left, right = _neighbours(runs, label.rows.shape, corners=True)
    root = _connected_roots(len(runs.cell), left, right)
    return np.bincount(runs.cell[root == np.arange(len(root))], minlength=len(label.ids))


def border_shares(label: LabelImage) -> _Floats:
    """Share of each cell's outline that lies on the image's edge.

    The outline is made of all sides of pixels that face no pixel of the cell, those of holes too.

    Returns
    -------
    (K,) float64
        0 for a cell that does not touch the edge, 1 for one that is the image.

    Notes
    -----
    A run has a side at its top and one at its bottom.  Its pixels have two more sides each, but
    for those that face a pixel of the cell in the next column.
    """
    runs = _column_runs(label)
    height, width = label.rows.shape
    left, right = _neighbours(runs, label.rows.shape, corners=False)
    length = runs.bottom - runs.top
    shared = np.minimum(runs.bottom[left], runs.bottom[right]) - np.maximum(
        runs.top[left], runs.top[right]
    )
    at_edge = (runs.top == 0) + (runs.bottom == height).astype(np.int64)
    at_edge += length * (runs.column == 0) + length * (runs.column == width - 1)
    cells = len(label.ids)
    outline = np.bincount(runs.cell, 2 + 2 * length, cells)
    outline -= 2 * np.bincount(runs.cell[left], shared, cells)
    return np.asarray(np.bincount(runs.cell, at_edge, cells) / outline)


class _ColumnRuns(NamedTuple):
    """Runs cut at column ends; each (S,) int64, sorted by cell, column and row."""

    cell: _Ints
    column: _Ints
    top: _Ints
    bottom: _Ints
    """The row after the last."""


def _column_runs(label: LabelImage) -> _ColumnRuns:
    height = label.rows.shape[0]
    first, last = label.start // height, (label.stop - 1) // height
    times = last - first + 1
    run = np.repeat(np.arange(len(times)), times)
    column = first[run] + np.arange(len(run)) - (np.cumsum(times) - times)[run]
    top = np.maximum(label.start[run] - column * height, 0)
    bottom = np.minimum(label.stop[run] - column * height, height)
    return _ColumnRuns(label.cell[run], column, top, bottom)


def _neighbours(runs: _ColumnRuns, shape: tuple[int, int], *, corners: bool) -> tuple[_Ints, _Ints]:
    """Pairs of runs of one cell in neighbouring columns that share a row.

    With `corners` also those that meet at a corner.
    """
    height, width = shape
    reach = int(corners)
    # The place of a run's column; runs are in this order.
    place = (runs.cell * (width + 1) + runs.column + 1) * (height + 2)
    before = place - (height + 2)
    from_run = np.searchsorted(place + runs.bottom, before + runs.top + 1 - reach, "left")
    to_run = np.searchsorted(place + runs.top, before + runs.bottom - 1 + reach, "right")
    count = to_run - from_run
    right = np.repeat(np.arange(len(count)), count)
    nth = np.arange(len(right)) - np.repeat(np.cumsum(count) - count, count)
    return from_run[right] + nth, right


def _connected_roots(count: int, left: _Ints, right: _Ints) -> _Ints:
    """Join pairs of `count` nodes; give for each node the smallest one of its component."""
    root = np.arange(count)
    while True:
        a, b = root[left], root[right]
        apart = a != b
        if not apart.any():
            return root
        left, right, a, b = left[apart], right[apart], a[apart], b[apart]
        np.minimum.at(root, np.maximum(a, b), np.minimum(a, b))
        while (root[root] != root).any():
            root = root[root]


def _no_values() -> _Ints:
    return np.zeros(0, np.int64)
