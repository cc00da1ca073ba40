"""Focus of a cell's image."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from hpastore.kernels.histogram import LEVELS, joint_histogram


def pair_rows(rows: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.unsignedinteger]:
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


def brenner(
    pairs: npt.NDArray[np.unsignedinteger], channel: npt.NDArray[np.uint8], count: int
) -> npt.NDArray[np.float64]:
    """Brenner's focus measure of every cell: high where the image is sharp.

    Parameters
    ----------
    pairs : (H, max(W - 2, 0)) unsigned
        From `pair_rows`.
    channel : (H, W) uint8
    count : int
        Number of rows, the background's included.

    Returns
    -------
    (count - 1,) float64
        Mean of ``(I[r, c + 2] - I[r, c])²`` over the pairs in the cell, squared grey levels;
        NaN for a cell without a pair.

    Notes
    -----
    Brenner et al. 1976, J. Histochem. Cytochem. 24, 100-111.  Squares are summed as integers, from
    the joint histogram of rows and absolute differences.
    """
    if not pairs.size:
        return np.full(count - 1, np.nan)
    difference = np.asarray(cv2.absdiff(channel[:, 2:], channel[:, :-2]), np.uint8)
    counts = joint_histogram(pairs, difference, count)[1:]
    total = counts @ np.arange(LEVELS) ** 2
    n = counts.sum(axis=1)
    return np.asarray(np.divide(total, n, out=np.full(count - 1, np.nan), where=n > 0))
