"""The pieces of a binary mask as cells of their own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from hpastore.runtime.opencv import cv2


def has_one_id(mask: npt.NDArray[np.integer]) -> bool:
    """Whether a mask holds exactly one value besides 0.

    Parameters
    ----------
    mask : (H, W) of any integer dtype, 0 is background
    """
    highest = mask.max()
    return bool(highest > 0 and np.count_nonzero(mask == highest) == np.count_nonzero(mask))


def label_components(mask: npt.NDArray[np.integer]) -> npt.NDArray[np.int32]:
    """Number the 8-connected components of what is not background.

    Parameters
    ----------
    mask : (H, W) of any integer dtype, 0 is background

    Returns
    -------
    (H, W) int32
        Components are 1, 2, ... in the order of their first pixels, row by row.

    Examples
    --------
    >>> label_components(np.array([[0, 9, 0, 9], [9, 0, 0, 9]])).tolist()
    [[0, 1, 0, 2], [1, 0, 0, 2]]
    """
    count, found = cv2.connectedComponents(
        (mask != 0).view(np.uint8), connectivity=8, ltype=cv2.CV_32S
    )
    flat = np.asarray(found, np.int32).ravel()
    # OpenCV numbers them by blocks of 2 x 2 pixels.  Starts of runs are few, and sorted fast.
    starts = np.append(0, np.flatnonzero(flat[1:] != flat[:-1]) + 1)
    ids, first = np.unique(flat[starts], return_index=True)
    inside = ids != 0
    number = np.zeros(count, np.int32)
    number[ids[inside][np.argsort(first[inside])]] = np.arange(1, np.count_nonzero(inside) + 1)
    return number[flat].reshape(mask.shape)
