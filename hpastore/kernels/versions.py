"""What stored numbers lack, by the settings that they were computed with.

Context: a program gets a new measure, or a better formula for an old one, and stores hold millions
of cells.  Decision: each measure has a version of its own, and settings list the versions.  What
follows from the stored joint histograms is computed from them; the rest keeps its old values, or
NULL, until the next ingest reads the image's pixels.  Until then the image's settings say what it
really has.  Consequence: a new measure makes no other stale.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from hpastore.kernels import definitions
from hpastore.model import MeasurementSettings

OF_BACKGROUND: Final = "fraction"
"""The measure that depends on the background percentile."""

_FROM_HISTOGRAM: Final = frozenset(m.name for m in definitions.MEASURES if m.from_histogram)
_OF_LEVELS: Final = frozenset(m.name for m in definitions.CHANNEL_MEASURES)


def required_settings(background_percentile: float) -> MeasurementSettings:
    """Give the settings with which this program measures images."""
    return MeasurementSettings(background_percentile, definitions.VERSIONS)


def remeasured_settings(
    stored: MeasurementSettings, required: MeasurementSettings
) -> MeasurementSettings:
    """Give the settings of an image after all was computed that follows from its histograms.

    Parameters
    ----------
    stored
        What the image's numbers were computed with.
    required
        What they should be computed with.

    Returns
    -------
    MeasurementSettings
        `required` for an image that needs no pixels; `stored` for one that `remeasure` leaves as
        it is.

    Examples
    --------
    >>> stored = MeasurementSettings(0.99, {"entropy": 1, "brenner": 1})
    >>> required = MeasurementSettings(0.98, {"entropy": 2, "brenner": 2, "correlation": 1})
    >>> remeasured_settings(stored, required).measures
    {'entropy': 2, 'brenner': 1}
    """
    measures = {}
    for name, version in required.measures.items():
        if name in _FROM_HISTOGRAM:
            measures[name] = version
        elif name in stored.measures:
            measures[name] = stored.measures[name]
    return replace(required, measures=measures, levels=stored.levels)


def stale_measures(stored: MeasurementSettings, required: MeasurementSettings) -> tuple[str, ...]:
    """Name the measures that must be computed again from an image's histograms."""
    stale = set(outdated_measures(stored, required))
    if stored.background_percentile != required.background_percentile:
        stale.add(OF_BACKGROUND)
    return tuple(name for name in required.measures if name in stale & _FROM_HISTOGRAM)


def unmeasured(stored: MeasurementSettings, required: MeasurementSettings) -> tuple[str, ...]:
    """Name the measures that only an image's pixels can give.

    With other levels these are all measures of channels: the stored histograms count other levels.
    """
    names = {name for name in outdated_measures(stored, required) if name not in _FROM_HISTOGRAM}
    if stored.levels != required.levels:
        names |= _OF_LEVELS
    return tuple(name for name in required.measures if name in names)


def outdated_measures(
    stored: MeasurementSettings, required: MeasurementSettings
) -> tuple[str, ...]:
    """Name the measures that an image has in another version, or lacks."""
    return tuple(
        name for name, version in required.measures.items() if stored.measures.get(name) != version
    )
