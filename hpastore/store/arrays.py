"""Check and decode stored masks and histograms; see `hpastore.store.decoding`."""

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

_MAX_HISTOGRAM_BYTES: Final = 4 * LEVELS * (MAX_CELLS + 1)
"""Bytes of the histogram of an image with the largest allowed number of cells."""


def check_masks(counts: Sequence[str], pixels: Sequence[int], where: Callable[[int], str]) -> None:
    """Check the masks of cells before they are decoded.

    Parameters
    ----------
    counts : K strings
        Compressed COCO counts.
    pixels : K numbers
        Pixels of each cell's image.
    where : callable
        Names the row of a cell by its index.

    Raises
    ------
    DamagedError
        If a mask does not have the size of its image, or has no pixel.
    """
    allowed = [size if size <= MAX_PIXELS else 0 for size in pixels]
    index = rle.first_damaged(counts, allowed)
    if index is not None:
        raise DamagedError(
            where(index), "its mask does not have the size of its image, or is empty"
        )


def has_box(counts: str, height: int, width: int, box: Sequence[int]) -> bool:
    """Whether the bounding box of a mask is `box`: x, y, width, height."""
    _, *sides = rle.extents([counts], height, width)
    return [int(side[0]) for side in sides] == list(box)


def histograms(
    connection: Connection, images: Sequence[int]
) -> Iterator[tuple[int, dict[str, npt.NDArray[np.int64]]]]:
    """Read images' joint histograms by channel: (cells + 1, 256) int64 each.

    Raises
    ------
    DamagedError
        If one is damaged, see `unpack_histogram`.
    """
    columns = (Image.name, Image.width, Image.height, Image.cell_count)
    statement = select(
        ImageChannel.image_id, ImageChannel.channel, ImageChannel.histogram, *columns
    )
    statement = statement.join(Image, Image.id == ImageChannel.image_id)
    statement = statement.where(ImageChannel.image_id.in_(images)).order_by(ImageChannel.image_id)
    for image_id, rows in groupby(connection.execute(statement), key=lambda row: row[0]):
        yield image_id, {row.channel: _histogram(row) for row in rows}


def _histogram(row: Any) -> npt.NDArray[np.int64]:
    where = f"image {row.name}"
    try:
        counts = unpack_histogram(row.histogram, row.cell_count, row.width * row.height)
    except ValueError as error:
        raise DamagedError(where, f"its histogram of {row.channel} is damaged: {error}") from error
    return counts


def unpack_histogram(packed: bytes, cells: int, pixels: int) -> npt.NDArray[np.int64]:
    """Unpack the joint histogram of an image and check its sums.

    Parameters
    ----------
    packed : bytes
    cells, pixels : int
        Numbers of cells and pixels of the image.

    Returns
    -------
    (cells + 1, 256) int64

    Raises
    ------
    ValueError
        If it cannot be unpacked, its sum is not the number of pixels, or a cell has no pixel.
    """
    if not 0 <= cells <= MAX_CELLS:
        raise ValueError(f"an image cannot have {cells} cells")
    counts = unpack(packed, cells + 1)
    row_sums = counts.sum(axis=1)
    if row_sums.sum() != pixels or (row_sums[1:] == 0).any():
        raise ValueError(f"its sum is not the {pixels} pixels of its image, or a cell has no pixel")
    return counts


def inflate_histogram(packed: bytes, where: str) -> bytes:
    """Decompress a histogram of an unknown number of cells.

    Parameters
    ----------
    packed : bytes
    where : str
        The row that holds it.

    Raises
    ------
    DamagedError
        If it cannot be decompressed, or is larger than that of any image.
    """
    try:
        return inflate(packed, _MAX_HISTOGRAM_BYTES)
    except ValueError as error:
        raise DamagedError(where, f"its histogram is damaged: {error}") from error
