"""The sums of `hpastore.kernels.pixel_sums`, cell by cell in the cells' boxes.

Context: one pass of the image for each sum, through a joint histogram, takes 1 ns a pixel, eleven
times. Decision: each cell is cut out with its mask, and what is cut out stays in the processor's
cache, where OpenCV sums up 16 pixels at once.  Consequence: the time depends on the boxes; where
these are too large or too many, `fit` says so, and the whole image is the better way.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from hpastore.kernels.definitions import BRENNER_CHANNELS, CORRELATED_CHANNELS, NUCLEUS_CHANNELS
from hpastore.kernels.pixel_sums import Part, Sums, rim_width
from hpastore.kernels.shape import Boxes
from hpastore.runtime.opencv import cv2

if TYPE_CHECKING:
    from cv2.typing import MatLike

_MAX_CELLS: Final = 4096
_MAX_BOX_AREA: Final = 4
"""Area of all boxes together, in images; those of real cells cover 0.2 to 1.6."""

_Ints = npt.NDArray[np.int64]
_Rows = npt.NDArray[np.unsignedinteger]
_Pixels = npt.NDArray[np.uint8]


def fit(box: Boxes, shape: tuple[int, int]) -> bool:
    """Whether the boxes of an (H, W) image's cells are few and small enough for `sums_in_boxes`."""
    pixels = int((box.width * box.height).sum())
    return len(box.x) <= _MAX_CELLS and pixels <= _MAX_BOX_AREA * shape[0] * shape[1]


def sums_in_boxes(
    rows: _Rows, channels: Mapping[str, _Pixels], nuclei: _Rows | None, box: Boxes
) -> Sums:
    """Sum up each cell in its box.

    Parameters
    ----------
    rows : (H, W) uint8 or uint16
        As in `hpastore.kernels.label_image.LabelImage`.
    channels : (H, W) uint8 by name
    nuclei : (H, W) of the dtype of the rows, or None
        From `hpastore.kernels.pixel_sums.nucleus_rows`.
    box : Boxes
        Of the K cells.

    Returns
    -------
    Sums
        Those of `hpastore.kernels.pixel_sums.sums_over_image`.
    """
    sums = _zeros(len(box.x), has_nuclei=nuclei is not None)
    for k, (x, y, width, height) in enumerate(
        zip(*(values.tolist() for values in box), strict=True)
    ):
        window = _around(x, y, width, height, rows.shape)
        pixels = {name: channel[window] for name, channel in channels.items()}
        inside = _mask(rows[window] == k + 1)
        _add_pairs(sums, k, inside, pixels)
        _add_differences(sums, k, inside, pixels)
        if nuclei is not None and sums.nucleus and sums.rim:
            nucleus = _mask(nuclei[window] == k + 1)
            _add_nucleus(sums.nucleus, sums.rim, k, nucleus, pixels)
    return sums


def _zeros(cells: int, *, has_nuclei: bool) -> Sums:
    def zeros(names: Iterable[str]) -> dict[str, _Ints]:
        return {name: np.zeros(cells, np.int64) for name in names}

    def part() -> Part | None:
        return Part(np.zeros(cells, np.int64), zeros(NUCLEUS_CHANNELS)) if has_nuclei else None

    pairs = np.zeros(cells, np.int64)
    return Sums(pairs, zeros(BRENNER_CHANNELS), zeros(CORRELATED_CHANNELS), part(), part())


def _around(x: int, y: int, width: int, height: int, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of a box and, where the image goes on, of one pixel around it."""
    return (
        slice(max(y - 1, 0), min(y + height + 1, shape[0])),
        slice(max(x - 1, 0), min(x + width + 1, shape[1])),
    )


def _mask(chosen: npt.NDArray[np.bool_]) -> MatLike:
    """255 where it is true, else 0; twice as fast as OpenCV's comparison."""
    return np.negative(chosen.view(np.uint8))


def _add_pairs(sums: Sums, k: int, inside: MatLike, pixels: Mapping[str, MatLike]) -> None:
    if inside.shape[1] < 3:
        return
    both = cv2.bitwise_and(inside[:, 2:], inside[:, :-2])
    sums.pairs[k] = cv2.countNonZero(both)
    for name, found in sums.steps.items():
        right = cv2.bitwise_and(pixels[name][:, 2:], both)
        found[k] = _squares(right, cv2.bitwise_and(pixels[name][:, :-2], both))


def _add_differences(sums: Sums, k: int, inside: MatLike, pixels: Mapping[str, MatLike]) -> None:
    green = cv2.bitwise_and(pixels["green"], inside)
    for name, found in sums.apart.items():
        found[k] = _squares(cv2.bitwise_and(pixels[name], inside), green)


def _squares(a: MatLike, b: MatLike) -> int:
    """Sum of squared differences; OpenCV may square a rounded root, so the integer is restored."""
    return round(cv2.norm(a, b, cv2.NORM_L2SQR))


def _add_nucleus(
    whole: Part, rim: Part, k: int, nucleus: MatLike, pixels: Mapping[str, MatLike]
) -> None:
    x, y, width, height = cv2.boundingRect(nucleus)
    if not width:
        return
    window = _around(x, y, width, height, nucleus.shape)
    nucleus, pixels = nucleus[window], {name: pixels[name][window] for name in NUCLEUS_CHANNELS}
    _add_part(whole, k, nucleus, pixels)
    depth = cv2.distanceTransform(nucleus, cv2.DIST_C, 3)
    near = _mask(np.asarray(depth <= rim_width(whole.area[k])))
    _add_part(rim, k, cv2.bitwise_and(near, nucleus), pixels)


def _add_part(part: Part, k: int, inside: MatLike, pixels: Mapping[str, MatLike]) -> None:
    part.area[k] = cv2.countNonZero(inside)
    for name, found in part.levels.items():
        found[k] = round(cv2.sumElems(cv2.bitwise_and(pixels[name], inside))[0])
