"""Channels as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from hpastore.errors import UsageError
from hpastore.runtime.opencv import cv2
from hpastore.vocabulary import CHANNELS

Channels = Mapping[str, npt.NDArray[np.uint8]]
"""Grey levels by the channel's name, (H, W) each."""

Picture = npt.NDArray[np.uint8]
"""(H, W, 3), red, green, blue."""

COLOURS: Final = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "yellow": (1, 1, 0)}
"""How HPA shows the channels."""

_LETTERS: Final = {name[0]: name for name in CHANNELS}


class ColourMap(NamedTuple):
    """How grey levels become colours.

    Parameters
    ----------
    channels
        Shown in their colours, added up; a single channel is shown in grey.
    gain
        Factor for grey levels; products above 255 are shown as 255.
    """

    channels: tuple[str, ...]
    gain: float

    @property
    def description(self) -> str:
        """The text of a figure's footnote."""
        names = (
            ", ".join(self.channels) if len(self.channels) > 1 else f"{self.channels[0]} in grey"
        )
        times = "" if self.gain == 1 else f" times {self.gain:g}"
        return f"{names}; levels 0..255 as stored{times}"


def parse_channels(channels: str, gain: float) -> ColourMap:
    """Read the channels to show: letters such as ``rgb`` or ``rgby``, or one channel's name.

    Raises
    ------
    UsageError
    """
    if not 0 < gain <= 255:
        raise UsageError(f"gain takes a factor above 0 and up to 255, not {gain:g}")
    if channels in CHANNELS:
        return ColourMap((channels,), gain)
    letters = set(channels)
    if not letters or len(letters) < len(channels) or not letters <= set(_LETTERS):
        names = ", ".join(CHANNELS)
        raise UsageError(
            f"no channels {channels!r}; use letters of rgby, such as rgb, or one of {names}"
        )
    return ColourMap(tuple(name for name in CHANNELS if name[0] in channels), gain)


def colour_picture(channels: Channels, colours: ColourMap, shape: tuple[int, int]) -> Picture:
    """Draw channels as a picture.

    Parameters
    ----------
    channels : mapping of (H, W) uint8
        Those of `colours`; one that is missing is black.
    colours : ColourMap
    shape : tuple of int
        Height and width.

    Returns
    -------
    (H, W, 3) uint8
    """
    is_grey = len(colours.channels) == 1
    planes: list[Any] = [np.zeros(shape, np.uint8) for _ in range(3)]
    for name in colours.channels:
        if name not in channels:
            continue
        bright = cv2.convertScaleAbs(channels[name], alpha=colours.gain)
        for place, share in enumerate((1, 1, 1) if is_grey else COLOURS[name]):
            if share:
                planes[place] = cv2.add(planes[place], bright)  # saturates at 255
    return np.stack(planes, axis=-1)


def shrink(picture: Picture, max_side: int) -> Picture:
    """Shrink a picture whose longer side has more than `max_side` pixels."""
    scale = max_side / max(picture.shape[:2])
    if scale >= 1:
        return picture
    size = [max(1, round(length * scale)) for length in picture.shape[1::-1]]
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def rgb(channels: Channels, shape: tuple[int, int]) -> Picture:
    """Stack the red, green and blue channels.

    Parameters
    ----------
    channels : mapping of (H, W) uint8
        By the names of `hpastore.vocabulary.CHANNELS`; one that is missing is black.
    shape : tuple of int
        Height and width.

    Returns
    -------
    (H, W, 3) uint8
        Microtubules, protein and nucleus, in this order.
    """
    black = np.zeros(shape, np.uint8)
    return np.stack([channels.get(name, black) for name in ("red", "green", "blue")], axis=-1)
