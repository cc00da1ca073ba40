"""Compute what follows from the stored histograms: levels, fractions, and measures of users."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from hpastore.errors import MeasureError
from hpastore.ingest.installed import load_measures, wanted
from hpastore.kernels.custom import UserMeasure, Values, of_histograms
from hpastore.kernels.histogram import unpack
from hpastore.kernels.measure import remeasure as measure_again
from hpastore.kernels.measures import VERSION
from hpastore.model import Recipe, require_share
from hpastore.store import own, read, write
from hpastore.store.engine import Store

logger = logging.getLogger(__name__)

BACKGROUND_PERCENTILE: Final = 0.99
"""Of the first recipe of a store, unless it is given."""

_BATCH: Final = 500
_BATCH_CELLS: Final = 10_000
"""Images, and cells if there are more, whose numbers are replaced in one transaction: half a second."""

_BATCH_CELLS_OF_USERS: Final = 1_000
"""The same where users' measures are asked: they may take a millisecond a cell, and others wait to write."""


@dataclass(frozen=True)
class Remeasured:
    """What a `remeasure` did.

    Parameters
    ----------
    background_percentile
        Of the store's recipe, share 0..1.
    remeasured
        Number of images whose numbers were of another recipe, or that lacked a measure that a user added.
    seconds
        Wall time.
    measures
        Number of images that were given each of the measures that users added, by its name.
    failed
        Number of images that one of these measures fails on; they lack it still.
    """

    background_percentile: float
    remeasured: int
    seconds: float
    measures: dict[str, int] = field(default_factory=dict)
    failed: int = 0


class Batch(NamedTuple):
    """What was done to some images."""

    last: int | None
    """The key of the last one; None where none was left."""
    done: int = 0
    measures: Mapping[str, int] = {}
    failed: Mapping[str, str] = {}
    """Why an image lacks a measure that a user added, by its name."""


def remeasure(
    store: Store,
    background_percentile: float | None = None,
    *,
    stop: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Remeasured:
    """Bring all numbers of a store to one background percentile and to the measures that are installed.

    Background levels, fractions and users' measures of histograms follow from the joint histograms; no
    pixel is read.  What a run that was ended has left is done by the next one, or by the next ingest.

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
    MeasureError
        If a measure that a user added cannot be loaded.
    """
    began = time.monotonic()
    if background_percentile is not None:
        require_share(background_percentile, "background percentile")
    users = load_measures()

    def adopt(connection: Connection) -> tuple[Recipe, int]:
        recipe = choose_recipe(read.current_recipe(connection), background_percentile)
        write.adopt_recipe(connection, recipe)
        return recipe, read.count_stale(connection, wanted(users).of_histograms)

    recipe, total = store.write(adopt)
    tally = Tally()
    for batch in batches(lambda after: store.write(lambda c: remeasure_batch(c, users, after)), stop):
        tally.add(batch)
        if progress:
            progress(tally.done, total)
    tally.warn()
    warn_outdated(store, users)
    seconds = time.monotonic() - began
    measures = dict(sorted(tally.measures.items()))
    return Remeasured(recipe.background_percentile, tally.done, seconds, measures, len(tally.failed))


def choose_recipe(current: Recipe | None, background_percentile: float | None) -> Recipe:
    """Choose the percentile that is asked for, else the store's own."""
    own = current.background_percentile if current else BACKGROUND_PERCENTILE
    return Recipe(own if background_percentile is None else background_percentile, VERSION)


class Tally:
    """The sum of batches."""

    def __init__(self) -> None:
        self.done = 0
        self.measures = Counter[str]()
        self.failed: dict[str, str] = {}

    def add(self, batch: Batch) -> None:
        """Add a batch."""
        self.done += batch.done
        self.measures.update(batch.measures)
        self.failed |= batch.failed

    def warn(self) -> None:
        """Say so where measures of users fail."""
        for name, reason in list(self.failed.items())[:1]:
            others = f" (one of {len(self.failed)} images)" if len(self.failed) > 1 else ""
            logger.warning("%s%s: %s; mend the measure, then hpastore remeasure", name, others, reason)


def batches(do: Callable[[int], Batch], stop: Callable[[], bool] | None = None) -> Iterator[Batch]:
    """Do batch after batch, in the order of the images' keys, until nothing is left that can be done.

    Another process may have changed the recipe meanwhile, so that one round is not always the last.
    """
    going = True
    while going:
        after, going = 0, False
        while not (stop and stop()) and (batch := do(after)).last is not None:
            after, going = batch.last, going or batch.done > 0
            yield batch


def remeasure_batch(connection: Connection, users: Sequence[UserMeasure], after: int) -> Batch:
    """Compute what some images lack, those with the next keys, in a writing transaction."""
    (recipe, recipe_id), measures = read.recipe_in_use(connection), wanted(users).of_histograms
    most_cells = _BATCH_CELLS_OF_USERS if measures else _BATCH_CELLS
    chosen = read.stale_images(connection, _BATCH, most_cells, measures, after)
    if not chosen:
        return Batch(None)
    # One without a histogram too: it would be tried again and again.
    numbers: dict[int, Any] = {image_id: {} for image_id in read.of_other_recipe(connection, chosen)}
    lacking = _lacking(connection, users, chosen)
    values: dict[str, dict[int, Values]] = {
        user.name: {image_id: {} for image_id in images} for user, images in lacking
    }
    cells = own.cells(connection, sorted({image_id for _, images in lacking for image_id in images}))
    failed = {}
    for image_id, packed in read.histograms(connection, chosen):
        histograms = {channel: unpack(counts) for channel, counts in packed.items()}
        if image_id in numbers:
            share = recipe.background_percentile
            numbers[image_id] = {name: measure_again(h, share) for name, h in histograms.items()}
        for user, images in lacking:
            if image_id in images:
                try:
                    values[user.name][image_id] = _ask(user, cells[image_id], histograms)
                except MeasureError as error:
                    failed[image_id] = str(error)
                    del values[user.name][image_id]
    if numbers:
        write.remeasure_images(connection, recipe_id, numbers)
    for user, _ in lacking:
        write.add_measures(connection, [user], values[user.name])
    names = own.names(connection, list(failed))
    return Batch(
        chosen[-1],
        len(numbers.keys() | {image_id for images in values.values() for image_id in images}),
        {name: len(images) for name, images in values.items() if images},
        {names[image_id]: reason for image_id, reason in failed.items()},
    )


def warn_outdated(store: Store, users: Sequence[UserMeasure]) -> None:
    """Say so where images lack numbers that only pixels can give."""
    if outdated := store.read(read.outdated):
        logger.warning(
            "%d images hold measures of another version of hpastore; ingest their roots again", outdated
        )
    crops = wanted(users).of_crops
    if crops and (lacking := store.read(lambda connection: own.count_lacking(connection, crops))):
        names = ", ".join(sorted(name for name, _ in crops))
        logger.warning(
            "%d images lack a measure that takes pixels (%s); ingest their roots again", lacking, names
        )


def _lacking(
    connection: Connection, users: Sequence[UserMeasure], images: Sequence[int]
) -> list[tuple[UserMeasure, set[int]]]:
    """Tell measures of histograms with the images that lack them, where there are any."""
    has = own.versions(connection, images)
    lacking = (
        (user, {key for key in images if (user.name, user.version) not in has.get(key, ())})
        for user in users
        if user.of_histogram
    )
    return [(user, keys) for user, keys in lacking if keys]


def _ask(
    user: UserMeasure,
    cells: Sequence[tuple[int, int]],
    histograms: Mapping[str, npt.NDArray[np.int64]],
) -> Values:
    """Ask a measure about the cells of an image in all channels."""
    mask_ids = [mask_id for _, mask_id in cells]
    values: Values = {}
    for channel, counts in histograms.items():
        values |= of_histograms([user], channel, mask_ids, counts[1:])
    return values
