"""The masks and outlines of stored cells."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from hpastore.kernels import rle
from hpastore.runtime.opencv import cv2
from hpastore.store.cell_masks import CellMask

Outline = npt.NDArray[np.float64]
"""(N, 2) x, y in pixels of the image, closed; a pixel's centre is at a whole number."""

_PIXEL: Final = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
"""The outline of a piece of one pixel: its corners, since its centre alone is not a line."""


def box_mask(cell: CellMask) -> npt.NDArray[np.bool_]:
    """Decode a cell's mask inside its box, (height, width)."""
    whole = rle.decode(cell.rle, cell.image_height, cell.image_width)
    return whole[cell.y : cell.y + cell.height, cell.x : cell.x + cell.width]


def outlines(cell: CellMask) -> list[Outline]:
    """Trace the outlines of a cell's pieces and holes."""
    mask = np.ascontiguousarray(box_mask(cell), np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    corner = np.array([cell.x, cell.y], np.float64)
    lines = [line[:, 0] + (_PIXEL if len(line) == 1 else 0) for line in contours]
    return [np.vstack((line, line[:1])) + corner for line in lines]
