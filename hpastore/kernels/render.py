"""Channels as a picture."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt


def rgb(channels: Mapping[str, npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Stack the red, green and blue channels.

    Parameters
    ----------
    channels : mapping of (H, W) uint8
        By the names of `hpastore.model.CHANNELS`.

    Returns
    -------
    (H, W, 3) uint8
        Microtubules, protein, nucleus, in this order.
    """
    return np.stack([channels[name] for name in ("red", "green", "blue")], axis=-1)
