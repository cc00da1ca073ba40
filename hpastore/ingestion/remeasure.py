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

from hpastore.arguments import require_share
from hpastore.errors import MeasureError
from hpastore.kernels.custom import CustomMeasure, Values, of_histograms
from hpastore.kernels.definitions import VERSION
from hpastore.kernels.image import remeasure as measure_again
from hpastore.kernels.plugins import load_measures, wanted
from hpastore.model import MeasurementSettings
from hpastore.store import arrays, custom_measures, read, write
from hpastore.store.engine import Store
from hpastore.store.status import warn_of_other_version

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

    def adopt(connection: Connection) -> tuple[MeasurementSettings, int]:
        recipe = choose_settings(read.current_settings(connection), background_percentile)
        write.adopt_settings(connection, recipe)
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


def choose_settings(
    current: MeasurementSettings | None, background_percentile: float | None
) -> MeasurementSettings:
    """Choose the percentile that is asked for, else the store's own."""
    kept = current.background_percentile if current else BACKGROUND_PERCENTILE
    return MeasurementSettings(kept if background_percentile is None else background_percentile, VERSION)


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


def remeasure_batch(connection: Connection, users: Sequence[CustomMeasure], after: int) -> Batch:
    """Compute what some images lack, those with the next keys, in a writing transaction."""
    (recipe, recipe_id), measures = read.settings_in_use(connection), wanted(users).of_histograms
    most_cells = _BATCH_CELLS_OF_USERS if measures else _BATCH_CELLS
    chosen = read.stale_images(connection, _BATCH, most_cells, measures, after)
    if not chosen:
        return Batch(None)
    # One without a histogram too: it would be tried again and again.
    numbers: dict[int, Any] = {image_id: {} for image_id in read.of_other_recipe(connection, chosen)}
    asked = _Asked(connection, users, chosen)
    for image_id, histograms in arrays.histograms(connection, chosen):
        if image_id in numbers:
            share = recipe.background_percentile
            numbers[image_id] = {name: measure_again(h, share) for name, h in histograms.items()}
        asked.ask(image_id, histograms)
    if numbers:
        write.remeasure_images(connection, recipe_id, numbers)
    for user, images in asked.values.items():
        custom_measures.add_measures(connection, [asked.users[user]], images)
    given = {user: len(images) for user, images in asked.values.items() if images}
    done = numbers.keys() | {image_id for images in asked.values.values() for image_id in images}
    names = custom_measures.names(connection, list(asked.failed))
    failed = {names[image_id]: reason for image_id, reason in asked.failed.items()}
    return Batch(chosen[-1], len(done), given, failed)


def warn_outdated(store: Store, users: Sequence[CustomMeasure]) -> None:
    """Say so where images lack numbers that only pixels can give."""
    store.read(warn_of_other_version)
    crops = wanted(users).of_crops
    if crops and (lacking := store.read(lambda connection: custom_measures.count_lacking(connection, crops))):
        names = ", ".join(sorted(name for name, _ in crops))
        failed = store.read(read.count_failures_of_measures)
        what = f"'hpastore retry' for the {failed} that a measure failed on, then " if failed else ""
        logger.warning(
            "%d images lack a measure that takes pixels (%s); %singest their roots again",
            lacking,
            names,
            what,
        )


class _Asked:
    """Measures of histograms, asked about the images that lack them."""

    def __init__(self, connection: Connection, users: Sequence[CustomMeasure], images: Sequence[int]) -> None:
        has = custom_measures.versions(connection, images)
        self.users = {user.name: user for user in users if user.of_histogram}
        self.values: dict[str, dict[int, Values]] = {}
        """By measure and image; nothing of an image without a histogram."""
        for name, user in self.users.items():
            lacking = [key for key in images if (name, user.version) not in has.get(key, ())]
            if lacking:
                self.values[name] = {key: {} for key in lacking}
        lacking = sorted({key for images in self.values.values() for key in images})
        self.cells = custom_measures.cells(connection, lacking)
        self.failed: dict[int, str] = {}

    def ask(self, image_id: int, histograms: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Ask those that an image lacks about its cells; one that fails is left out."""
        for name, images in self.values.items():
            if image_id in images:
                try:
                    images[image_id] = _values(self.users[name], self.cells[image_id], histograms)
                except (MeasureError, MemoryError) as error:
                    self.failed[image_id] = str(error) or f"measure {name}: needs more memory than there is"
                    del images[image_id]


def _values(
    user: CustomMeasure,
    cells: Sequence[tuple[int, int]],
    histograms: Mapping[str, npt.NDArray[np.int64]],
) -> Values:
    """Values of a measure of an image's cells in all its channels."""
    mask_ids = [mask_id for _, mask_id in cells]
    values: Values = {}
    for channel, counts in histograms.items():
        values |= of_histograms([user], channel, mask_ids, counts[1:])
    return values
