"""Compute again what depends on the background percentile, from the stored histograms."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from hpastore.kernels.histogram import unpack
from hpastore.kernels.measure import remeasure as measure_again
from hpastore.kernels.measures import VERSION
from hpastore.model import Recipe, require_share
from hpastore.store import read, write
from hpastore.store.engine import Store

logger = logging.getLogger(__name__)

BACKGROUND_PERCENTILE: Final = 0.99
"""Of the first recipe of a store, unless it is given."""

_BATCH: Final = 500
_BATCH_CELLS: Final = 10_000
"""Images, and cells if there are more, whose numbers are replaced in one transaction: half a second."""


@dataclass(frozen=True)
class Remeasured:
    """What a `remeasure` did.

    Parameters
    ----------
    background_percentile
        Of the store's recipe, share 0..1.
    remeasured
        Number of images whose numbers were of another recipe.
    seconds
        Wall time.
    """

    background_percentile: float
    remeasured: int
    seconds: float


def remeasure(
    store: Store,
    background_percentile: float | None = None,
    *,
    stop: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Remeasured:
    """Bring all numbers of a store to one background percentile; no pixel is read.

    Background levels and fractions follow from the joint histograms.  What a run that was ended has
    left is done by the next one, or by the next ingest.

    Parameters
    ----------
    store : Store
    background_percentile : float, optional
        Share 0..1, which becomes the store's own; by default it is as it was.
    stop : callable, optional
        Asked after each batch; once it says true, the rest is left.
    progress : callable, optional
        Called with (images done, images to do).

    Returns
    -------
    Remeasured

    Raises
    ------
    UsageError
        If the percentile is no share.
    """
    began = time.monotonic()
    if background_percentile is not None:
        require_share(background_percentile, "background percentile")

    def adopt(connection: Connection) -> tuple[Recipe, int]:
        recipe = choose_recipe(read.current_recipe(connection), background_percentile)
        write.adopt_recipe(connection, recipe)
        return recipe, read.count_stale(connection)

    recipe, total = store.write(adopt)
    done = 0
    while not (stop and stop()) and (batch := store.write(remeasure_batch)):
        done += batch
        if progress:
            progress(done, total)
    warn_outdated(store)
    return Remeasured(recipe.background_percentile, done, time.monotonic() - began)


def choose_recipe(current: Recipe | None, background_percentile: float | None) -> Recipe:
    """Choose the percentile that is asked for, else the store's own."""
    own = current.background_percentile if current else BACKGROUND_PERCENTILE
    return Recipe(own if background_percentile is None else background_percentile, VERSION)


def remeasure_batch(connection: Connection) -> int:
    """Compute the numbers of some stale images again, in a writing transaction; 0 where none is left."""
    recipe, recipe_id = read.recipe_in_use(connection)
    stale = read.stale_images(connection, _BATCH, _BATCH_CELLS)
    numbers: dict[int, dict[str, Any]] = {image_id: {} for image_id in stale}  # one without a histogram too
    for image_id, channels in read.histograms(connection, stale):
        for channel, packed in channels.items():
            numbers[image_id][channel] = measure_again(unpack(packed), recipe.background_percentile)
    write.remeasure_images(connection, recipe_id, numbers)
    return len(stale)


def warn_outdated(store: Store) -> None:
    """Say so where stored numbers are of another version of the measures, which only pixels can mend."""
    if outdated := store.read(read.outdated):
        logger.warning(
            "%d images hold measures of another version of hpastore; ingest their roots again", outdated
        )
