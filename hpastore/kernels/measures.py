"""The one table of measures: columns, rules, README and comments in the database derive from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hpastore.errors import UsageError
from hpastore.model import CHANNELS

VERSION: Final = 1
"""Version of the numbers; a change of any formula raises it, and stored numbers become stale."""


@dataclass(frozen=True)
class Measure:
    """One number of a cell, or of a cell in one channel.

    Parameters
    ----------
    name
        The column's name.
    kind
        ``integer``, ``real`` or ``flag``.
    unit
        ``px``, ``px²``, ``grey level`` and the like; empty for a count.
    sentence
        What it is, and when it is NULL.
    """

    name: str
    kind: str
    unit: str
    sentence: str

    @property
    def comment(self) -> str:
        """The column's comment: the sentence, and the unit in brackets."""
        return f"{self.sentence} [{self.unit}]" if self.unit else self.sentence


SHAPE_MEASURES: Final = (
    Measure("x", "integer", "px", "First column of the bounding box, 0-based"),
    Measure("y", "integer", "px", "First row of the bounding box, 0-based"),
    Measure("width", "integer", "px", "Columns of the bounding box; x + width is one past the last"),
    Measure("height", "integer", "px", "Rows of the bounding box; y + height is one past the last"),
    Measure("area", "integer", "px²", "Pixels of the cell's mask"),
    Measure("touches_border", "flag", "", "Whether the box reaches the first or last row or column"),
    Measure("pieces", "integer", "", "8-connected components of the cell's mask"),
    Measure(
        "nucleus_area",
        "integer",
        "px²",
        "Pixels of the nucleus with the cell's id; NULL without a nucleus mask",
    ),
)
"""Measures of a cell's mask, in the order of the columns."""

CHANNEL_MEASURES: Final = (
    Measure("intensity_min", "integer", "grey level 0..255", "Darkest pixel"),
    Measure("intensity_max", "integer", "grey level 0..255", "Brightest pixel"),
    Measure("intensity_mean", "real", "grey level 0..255", "Mean"),
    Measure("intensity_std", "real", "grey level", "Population standard deviation"),
    Measure("intensity_median", "real", "grey level 0..255", "Median, linear interpolation"),
    Measure("saturated", "real", "share 0..1", "Share of the pixels at level 255"),
    Measure("entropy", "real", "bit", "Shannon entropy of the 256-bin histogram"),
    Measure(
        "brenner",
        "real",
        "grey level²",
        "Focus: mean squared difference of pixels two columns apart; "
        "green and blue only, NULL without a pair",
    ),
    Measure(
        "fraction",
        "real",
        "share 0..1",
        "Share of the pixels strictly above the channel's background level; NULL without a background",
    ),
    Measure(
        "fraction_notebook",
        "real",
        "share 0..1",
        "What the public notebook computes: level over the whole image with cells set to zero, "
        "box without its last row and column; NULL where that box is empty",
    ),
)
"""Measures of a cell in one channel, in the order of the columns."""

BRENNER_CHANNELS: Final = ("green", "blue")


def channel_of(measure: str, channel: str | None) -> str | None:
    """Check a measure's name, and say which channel it is of.

    Parameters
    ----------
    measure : str
    channel : str or None
        Ignored for a measure of shape.

    Returns
    -------
    str or None
        None for a measure of shape.

    Raises
    ------
    UsageError
        With the names that there are; flags have no percentiles.

    Examples
    --------
    >>> channel_of("fraction", "green"), channel_of("area", "green")
    ('green', None)
    """
    shapes = [m.name for m in SHAPE_MEASURES if m.kind != "flag"]
    levels = [m.name for m in CHANNEL_MEASURES]
    if measure in shapes:
        return None
    if measure not in levels:
        raise UsageError(f"no measure {measure!r}; there are {', '.join(levels + shapes)}")
    having = BRENNER_CHANNELS if measure == "brenner" else CHANNELS
    if channel not in having:
        raise UsageError(f"no channel {channel!r} for {measure}; there are {', '.join(having)}")
    return channel
