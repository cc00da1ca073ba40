"""Channels as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.errors import UsageError
from hpastore.runtime.opencv import cv2
from hpastore.vocabulary import CHANNELS

Picture = npt.NDArray[np.uint8]
"""(H, W, 3), red, green, blue."""

COLOURS: Final = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
"""How HPA shows the channels."""

_LETTERS: Final = {name[0]: name for name in CHANNELS}


class Look(NamedTuple):
    """How pixels become colours.

    Parameters
    ----------
    channels
        In their colours, added up; one alone is drawn in grey.
    gain
        What grey levels are multiplied with; above 255 they are white.
    """

    channels: tuple[str, ...]
    gain: float

    @property
    def words(self) -> str:
        """What a figure says of it."""
        names = ", ".join(self.channels) if len(self.channels) > 1 else f"{self.channels[0]} in grey"
        times = "" if self.gain == 1 else f" times {self.gain:g}"
        return f"{names}; levels 0..255 as stored{times}"


def look(channels: str, gain: float) -> Look:
    """Read a choice of channels: letters as in ``rgb`` or ``rgby``, or one channel's name.

    Raises
    ------
    UsageError
    """
    if not 0 < gain <= 255:
        raise UsageError(f"gain takes a factor above 0, at most 255, not {gain:g}")
    if channels in CHANNELS:
        return Look((channels,), gain)
    if not channels or len(set(channels)) < len(channels) or not set(channels) <= set(_LETTERS):
        allowed = "letters of rgby, such as rgb, or one of " + ", ".join(CHANNELS)
        raise UsageError(f"no channels {channels!r}; use {allowed}")
    return Look(tuple(name for name in CHANNELS if name[0] in channels), gain)


def coloured(channels: Mapping[str, npt.NDArray[np.uint8]], look: Look) -> Picture:
    """Draw channels as a picture.

    Parameters
    ----------
    channels : mapping of (H, W) uint8
        Those of the look.
    look : Look

    Returns
    -------
    (H, W, 3) uint8
    """
    if len(look.channels) == 1:
        (gray,) = (channels[name] for name in look.channels)
        return np.repeat(cv2.convertScaleAbs(gray, alpha=look.gain)[:, :, None], 3, axis=2)
    shape = channels[look.channels[0]].shape
    planes: list[Any] = [np.zeros(shape, np.uint8) for _ in range(3)]
    for name in look.channels:
        for place, share in enumerate(COLOURS[name]):
            if share:
                bright = cv2.convertScaleAbs(channels[name], alpha=look.gain)
                planes[place] = cv2.add(planes[place], bright)  # stops at 255
    return np.stack(planes, axis=-1)


def reduced(picture: Picture, most: int) -> Picture:
    """Shrink a picture whose longer side has more pixels than can be shown."""
    scale = most / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = [max(1, round(length * scale)) for length in picture.shape[1::-1]]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def rgb(channels: Mapping[str, npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
    """Stack the red, green and blue channels.

    Parameters
    ----------
    channels : mapping of (H, W) uint8
        By the names of `hpastore.vocabulary.CHANNELS`.

    Returns
    -------
    (H, W, 3) uint8
        Microtubules, protein, nucleus, in this order.
    """
    return np.stack([channels[name] for name in ("red", "green", "blue")], axis=-1)
