"""The one table of measures: columns, rules, pages and database comments derive from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from hpastore.errors import UsageError
from hpastore.vocabulary import CHANNELS


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
        What it is by its formula, and when it is NULL.
    source
        Who defined it; empty where it is plain arithmetic.
    channels
        Those that it is taken in, if it is of a channel; it is NULL in others.
    version
        Of its formula; a change raises it, and stored numbers of older versions become stale.
    from_histogram
        Whether it follows from the stored joint histograms and the background percentile, so that
        no pixel is needed to compute it again.  The histograms tell an area too, but no other
        shape: measures of shape all wait for the mask.
    """

    name: str
    kind: str
    unit: str
    sentence: str
    source: str = ""
    channels: tuple[str, ...] = CHANNELS
    version: int = 1
    from_histogram: bool = False

    @property
    def comment(self) -> str:
        """The column's comment: the sentence, and the unit in brackets."""
        return f"{self.sentence} [{self.unit}]" if self.unit else self.sentence


_NOTEBOOK: Final = "How you might be able to clean the data, Kaggle 2021"

BRENNER_CHANNELS: Final = ("green", "blue")
CORRELATED_CHANNELS: Final = ("red", "blue", "yellow")
NUCLEUS_CHANNELS: Final = ("green", "blue")

SHAPE_MEASURES: Final = (
    Measure("x", "integer", "px", "First column of the bounding box, 0-based"),
    Measure("y", "integer", "px", "First row of the bounding box, 0-based"),
    Measure(
        "width", "integer", "px", "Columns of the bounding box; x + width is one past the last"
    ),
    Measure("height", "integer", "px", "Rows of the bounding box; y + height is one past the last"),
    Measure("area", "integer", "px²", "Pixels of the cell's mask"),
    Measure(
        "touches_border", "flag", "", "Whether the box reaches the first or last row or column"
    ),
    Measure("pieces", "integer", "", "8-connected components of the cell's mask"),
    Measure(
        "nucleus_area",
        "integer",
        "px²",
        "Pixels of the nucleus with the cell's id; NULL without a nucleus mask",
    ),
    Measure(
        "border_share",
        "real",
        "share 0..1",
        "Share of the cell's outline that lies on the image's edge; the outline is made of the "
        "sides of its pixels that face no pixel of the cell",
    ),
    Measure(
        "nucleus_size",
        "real",
        "median nuclei",
        "Area of the largest piece of nuclear light in the cell ÷ that of the image's median "
        "nucleus, both seen in blue and never taken from a nucleus mask; 0 without such light, "
        "NULL where blue cannot tell",
        "Level of light: Otsu 1979",
    ),
    Measure(
        "second_nucleus",
        "real",
        "median nuclei",
        "The same of the second largest piece; 0 without one, NULL as nucleus_size",
    ),
    Measure(
        "nucleus_cut",
        "real",
        "nucleus diameters",
        "How long the cell's outline runs between its largest piece of nuclear light and a "
        "neighbour's piece that continues it, ÷ the diameter of a disc as large as the piece; "
        "0 without such light, NULL as nucleus_size",
    ),
)
"""Measures of a cell's mask, in the order of the columns."""

CHANNEL_MEASURES: Final = (
    Measure("intensity_min", "integer", "grey level 0..255", "Darkest pixel", from_histogram=True),
    Measure(
        "intensity_max", "integer", "grey level 0..255", "Brightest pixel", from_histogram=True
    ),
    Measure("intensity_mean", "real", "grey level 0..255", "Mean", from_histogram=True),
    Measure(
        "intensity_std", "real", "grey level", "Population standard deviation", from_histogram=True
    ),
    Measure(
        "intensity_median",
        "real",
        "grey level 0..255",
        "Median, linear interpolation",
        "Hyndman and Fan 1996, type 7",
        from_histogram=True,
    ),
    Measure(
        "intensity_p99",
        "real",
        "grey level 0..255",
        "99th percentile, linear interpolation",
        "Hyndman and Fan 1996, type 7",
        from_histogram=True,
    ),
    Measure(
        "intensity_p999",
        "real",
        "grey level 0..255",
        "99.9th percentile, linear interpolation",
        "Hyndman and Fan 1996, type 7",
        from_histogram=True,
    ),
    Measure(
        "saturated", "real", "share 0..1", "Share of the pixels at level 255", from_histogram=True
    ),
    Measure(
        "entropy",
        "real",
        "bit",
        "Shannon entropy of the 256-bin histogram",
        "Shannon 1948",
        from_histogram=True,
    ),
    Measure(
        "brenner",
        "real",
        "grey level²",
        "Focus: mean squared difference of pixels two columns apart; "
        "green and blue only, NULL without a pair",
        "Brenner et al. 1976",
        BRENNER_CHANNELS,
    ),
    Measure(
        "fraction",
        "real",
        "share 0..1",
        "Share of the pixels strictly above the channel's background level; NULL without a "
        "background",
        f"{_NOTEBOOK}, by its text",
        from_histogram=True,
    ),
    Measure(
        "fraction_notebook",
        "real",
        "share 0..1",
        "What the public notebook computes: level over the whole image with cells set to zero, "
        "box without its last row and column; NULL where that box is empty",
        f"{_NOTEBOOK}, by its code",
    ),
    Measure(
        "correlation",
        "real",
        "-1..1",
        "Correlation of the pixels with those of green; red, blue and yellow only, NULL where the "
        "cell is of one level in either",
        "Pearson 1895; of two channels, Manders et al. 1992",
        CORRELATED_CHANNELS,
    ),
    Measure(
        "intensity_nucleus",
        "real",
        "grey level 0..255",
        "Mean over the nucleus with the cell's id, inside the cell; "
        "green and blue only, NULL without a nucleus or nucleus mask",
        channels=NUCLEUS_CHANNELS,
    ),
    Measure(
        "intensity_nucleus_rim",
        "real",
        "grey level 0..255",
        "Mean over the rim of that nucleus: its pixels within sqrt(its area / 201) rows and "
        "columns, rounded down but 1 at least, of a pixel outside of it (an eighth of the radius "
        "of a disc); green and blue only, NULL as intensity_nucleus",
        channels=NUCLEUS_CHANNELS,
    ),
    Measure(
        "intensity_cytoplasm",
        "real",
        "grey level 0..255",
        "Mean over the cell outside that nucleus; "
        "green and blue only, NULL without a nucleus mask or such a pixel",
        channels=NUCLEUS_CHANNELS,
    ),
)
"""Measures of a cell in one channel, in the order of the columns."""

MEASURES: Final = (*SHAPE_MEASURES, *CHANNEL_MEASURES)
"""All built-in measures."""

VERSIONS: Final[Mapping[str, int]] = {m.name: m.version for m in MEASURES}
"""Version of each measure by its name."""


def channel_of(measure: str, channel: str | None, others: Iterable[str] = ()) -> str | None:
    """Check a measure's name, and say which channel it is of.

    Parameters
    ----------
    measure : str
    channel : str or None
        Ignored for a measure of shape.
    others
        Names of custom measures, for the message.

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
    shapes = {m.name: m for m in SHAPE_MEASURES if m.kind != "flag"}
    levels = {m.name: m for m in CHANNEL_MEASURES}
    if measure in shapes:
        return None
    if measure not in levels:
        raise UsageError(
            f"no measure {measure!r}; there are {', '.join([*levels, *shapes, *sorted(others)])}"
        )
    having = levels[measure].channels
    if channel is None:
        raise UsageError(f"{measure} needs a channel: {', '.join(having)}")
    if channel not in having:
        raise UsageError(f"no channel {channel!r} for {measure}; there are {', '.join(having)}")
    return channel
