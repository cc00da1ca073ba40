"""Stored masks and histograms as they are decoded; see `hpastore.store.decoding`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from hpastore.errors import DamagedError
from hpastore.kernels import rle
from hpastore.kernels.histogram import LEVELS, inflate, unpack
from hpastore.reading.limits import MAX_CELLS, MAX_PIXELS
from hpastore.schema.tables import Image, ImageChannel

_MAX_INFLATED: Final = 4 * LEVELS * (MAX_CELLS + 1)
"""Bytes of the histogram of an image of most cells."""


def check_masks(counts: Sequence[str], pixels: Sequence[int], where: Callable[[int], str]) -> None:
    """Check the masks of cells before anybody decodes them.

    Parameters
    ----------
    counts : K strings
        Compressed COCO counts.
    pixels : K numbers
        Of the image of each.
    where : callable
        Names the row of one, by its place.

    Raises
    ------
    DamagedError
        If the runs of one do not fill its image, or have no pixel of a cell.
    """
    place = rle.first_damaged(counts, [size if size <= MAX_PIXELS else 0 for size in pixels])
    if place is not None:
        raise DamagedError(where(place), "its mask does not fill its image, or holds no pixel")


def in_box(counts: str, height: int, width: int, box: Sequence[int]) -> bool:
    """Whether a mask of an image has a box: x, y, width, height."""
    return [int(side[0]) for side in rle.extents([counts], height, width)[1:]] == list(box)


def histograms(
    connection: Connection, images: Sequence[int]
) -> Iterator[tuple[int, dict[str, npt.NDArray[np.int64]]]]:
    """Read images' joint histograms by channel: (cells + 1, 256) int64 each.

    Raises
    ------
    DamagedError
        If one cannot be inflated, or does not count the image's pixels and a pixel or more of each cell.
    """
    columns = (Image.name, Image.width, Image.height, Image.cell_count)
    statement = select(ImageChannel.image_id, ImageChannel.channel, ImageChannel.histogram, *columns)
    statement = statement.join(Image, Image.id == ImageChannel.image_id)
    statement = statement.where(ImageChannel.image_id.in_(images)).order_by(ImageChannel.image_id)
    for image_id, rows in groupby(connection.execute(statement), key=lambda row: row[0]):
        yield image_id, {row.channel: _histogram(row) for row in rows}


def _histogram(row: Any) -> npt.NDArray[np.int64]:
    where = f"image {row.name}"
    try:
        counts = counted(row.histogram, row.cell_count, row.width * row.height)
    except ValueError as error:
        raise DamagedError(where, f"its histogram of {row.channel} is damaged: {error}") from error
    return counts


def counted(packed: bytes, cells: int, pixels: int) -> npt.NDArray[np.int64]:
    """Unpack the joint histogram of an image.

    Parameters
    ----------
    packed : bytes
    cells, pixels : int
        Of the image.

    Returns
    -------
    (cells + 1, 256) int64

    Raises
    ------
    ValueError
        If it is none of such an image.
    """
    if not 0 <= cells <= MAX_CELLS:
        raise ValueError(f"no image has {cells} cells")
    counts = unpack(packed, cells + 1)
    of_rows = counts.sum(axis=1)
    if of_rows.sum() != pixels or (of_rows[1:] == 0).any():
        raise ValueError(f"it does not count the {pixels} pixels of its image, or none of a cell")
    return counts


def inflated(packed: bytes, where: str) -> bytes:
    """Inflate a histogram of which nobody knows how many cells it counts.

    Raises
    ------
    DamagedError
        If it cannot be, or gives more than any image has.
    """
    try:
        return inflate(packed, _MAX_INFLATED)
    except ValueError as error:
        raise DamagedError(where, f"its histogram is damaged: {error}") from error
