"""Images whose background is far brighter than that of the others."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import numpy as np
from sqlalchemy import Connection

from hpastore.schema.clean_rows import RuleRow
from hpastore.store.image_records import background_levels
from hpastore.text import count_text, short_list

logger = logging.getLogger(__name__)

_MEASURES: Final = ("fraction", "fraction_notebook")
"""Compare a cell's pixels with the background."""

_FEWEST: Final = 5
"""Images that make a distribution."""

_LEAST: Final = 32
"""Grey levels above the median, an eighth of all, that are far at least."""


def warn_of_bright_backgrounds(
    connection: Connection, rules: Sequence[RuleRow], split: str | None
) -> None:
    """Warn of images whose cells have low fractions since their background is full of light.

    Context: where the mask lacks many cells, these are background, and its level is a level of
    cells.  Decision: an image whose level is above Tukey's outer fence, Q3 + 3 (Q3 - Q1), and far
    above the median, is named (Tukey 1977, Exploratory Data Analysis).

    Parameters
    ----------
    connection
    rules
        Of one clean set.
    split
        Only images in this split.
    """
    channels = {rule.channel for rule in rules if rule.measure in _MEASURES}
    for channel in sorted(channel for channel in channels if channel is not None):
        levels = background_levels(connection, channel, split)
        if len(levels) < _FEWEST:
            continue
        q1, median, q3 = np.quantile(list(levels.values()), (0.25, 0.5, 0.75)).tolist()
        fence = max(q3 + 3 * (q3 - q1), median + _LEAST)
        far = sorted((name for name in levels if levels[name] > fence), key=lambda n: -levels[n])
        if far:
            named = short_list([f"{name} {levels[name]:g}" for name in far])
            logger.warning(
                "%s a %s background level far above the median of %g: %s; cells that the masks "
                "lack are background, and the fractions of the others come out low",
                count_text(len(far), "image has", "images have"),
                channel,
                median,
                named,
            )
