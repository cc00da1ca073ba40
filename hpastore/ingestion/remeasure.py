"""Compute background levels and measures, built-in and custom, from the stored histograms."""

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
from hpastore.kernels.custom import CustomMeasure, Values, histogram_measures
from hpastore.kernels.image import remeasure as measure_again
from hpastore.kernels.plugins import load_measures, required_measures
from hpastore.kernels.versions import remeasured_settings, required_settings, stale_measures
from hpastore.model import MeasurementSettings
from hpastore.store import arrays, custom_measures, image_records, measurement_settings, write
from hpastore.store.engine import Store
from hpastore.store.status import warn_of_unmeasured
from hpastore.text import count_text

logger = logging.getLogger(__name__)

BACKGROUND_PERCENTILE: Final = 0.99
"""Of a new store, unless the user gives another."""

_BATCH: Final = 500
_BATCH_CELLS: Final = 10_000
"""Images, or cells if these are more, that one transaction replaces: half a second."""

_BATCH_CELLS_OF_CUSTOM: Final = 1_000
"""With custom measures, which may take a millisecond a cell while other writers wait."""


@dataclass(frozen=True)
class Remeasured:
    """What a `remeasure` did.

    Parameters
    ----------
    background_percentile
        Of the store's current settings, share 0..1.
    remeasured
        Number of images whose numbers had another background percentile, or that lacked the
        current version of a measure of histograms.
    seconds
        Wall time.
    measures
        Number of images that got each custom measure, by its name.
    failed
        Number of images that still lack a custom measure, since it fails on them.
    """

    background_percentile: float
    remeasured: int
    seconds: float
    measures: dict[str, int] = field(default_factory=dict)
    failed: int = 0


class Batch(NamedTuple):
    """What was done to some images."""

    last: int | None
    """The key of the last one; None if none was left."""
    done: int = 0
    measures: Mapping[str, int] = {}
    """Number of images that got each custom measure, by its name."""
    failed: Mapping[str, str] = {}
    """Why an image lacks a custom measure, by the image's name."""


def remeasure(
    store: Store,
    background_percentile: float | None = None,
    *,
    stop: Callable[[], bool] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Remeasured:
    """Bring all numbers of a store to one background percentile, and add measures.

    Background levels, fractions and other measures of histograms, also custom ones, follow from the
    joint histograms; no pixel is read.  Measures that need pixels keep their values, or NULL, until
    the next ingest.  The next run or the next ingest completes what a stopped run has left.

    Parameters
    ----------
    store : Store
    background_percentile : float, optional
        Share 0..1, which becomes the store's current one; by default the store keeps its own.
    stop : callable, optional
        Called after each batch; once it returns true, the rest is left.
    progress : callable, optional
        Called with (images done, images to do).

    Returns
    -------
    Remeasured

    Raises
    ------
    UsageError
        If the percentile is not a share.
    MeasureError
        If a custom measure cannot be loaded.
    """
    began = time.monotonic()
    if background_percentile is not None:
        require_share(background_percentile, "background percentile")
    measures = load_measures()

    def adopt(connection: Connection) -> tuple[MeasurementSettings, int]:
        custom_measures.refuse_imported(connection, measures)
        settings = choose_settings(
            measurement_settings.current_settings(connection), background_percentile
        )
        write.adopt_settings(connection, settings)
        return settings, measurement_settings.count_stale(
            connection, required_measures(measures).of_histograms
        )

    def write_batch(after: int) -> Batch:
        return store.write(lambda connection: remeasure_batch(connection, measures, after))

    settings, total = store.write(adopt)
    counts = RemeasureCounts()
    for batch in batches(write_batch, stop):
        counts.add(batch)
        if progress:
            progress(counts.done, total)
    counts.warn()
    warn_outdated(store, measures)
    return Remeasured(
        settings.background_percentile,
        counts.done,
        time.monotonic() - began,
        dict(sorted(counts.measures.items())),
        len(counts.failed),
    )


def choose_settings(
    current: MeasurementSettings | None, background_percentile: float | None
) -> MeasurementSettings:
    """Choose the requested percentile, else the store's current one; all else is the program's."""
    if background_percentile is None:
        background_percentile = current.background_percentile if current else BACKGROUND_PERCENTILE
    return required_settings(background_percentile)


class RemeasureCounts:
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
        """Warn of images on which a custom measure fails, with the first one's error."""
        if not self.failed:
            return
        name, reason = next(iter(self.failed.items()))
        others = f" (one of {len(self.failed):,} images)" if len(self.failed) > 1 else ""
        logger.warning(
            "%s%s: %s; fix the measure, then run hpastore remeasure", name, others, reason
        )


def batches(
    write_batch: Callable[[int], Batch], stop: Callable[[], bool] | None = None
) -> Iterator[Batch]:
    """Write batch after batch, in the order of the images' keys, until nothing is left to do.

    Another process may change the settings meanwhile, so one round is not always the last.

    Parameters
    ----------
    write_batch : callable
        Takes the key after which the batch begins.
    stop : callable, optional
        Called before each batch; once it returns true, the rest is left.
    """
    is_complete = False
    while not is_complete:
        is_complete = True
        after = 0
        while not (stop and stop()):
            batch = write_batch(after)
            if batch.last is None:
                break
            after = batch.last
            if batch.done:
                is_complete = False
            yield batch


def remeasure_batch(connection: Connection, measures: Sequence[CustomMeasure], after: int) -> Batch:
    """Compute what the images with the next keys lack, in a writing transaction."""
    settings = measurement_settings.current_settings(connection)
    if settings is None or settings != choose_settings(settings, None):
        return Batch(None)  # another version of hpastore works on this store meanwhile
    required = required_measures(measures).of_histograms
    max_cells = _BATCH_CELLS_OF_CUSTOM if required else _BATCH_CELLS
    chosen = measurement_settings.stale_images(connection, _BATCH, max_cells, required, after)
    if not chosen:
        return Batch(None)

    stale = measurement_settings.stale_settings(connection, chosen)
    lacking = {
        image_id: stale_measures(stored, settings)
        for stored, images in stale.values()
        for image_id in images
    }
    # An image without a histogram gets its settings too, or it would be tried again and again.
    numbers: dict[int, Any] = {image_id: {} for image_id in lacking}
    custom = _CustomValues(connection, measures, chosen)
    for image_id, histograms in arrays.histograms(connection, chosen):
        if image_id in lacking:
            numbers[image_id] = {
                channel: measure_again(histogram, settings.background_percentile, lacking[image_id])
                for channel, histogram in histograms.items()
            }
        custom.compute(image_id, histograms)

    for stored, images in stale.values():
        settings_id = write.write_settings(connection, remeasured_settings(stored, settings))
        of_settings = {image_id: numbers[image_id] for image_id in images}
        write.remeasure_images(connection, settings_id, of_settings)
    custom.write(connection)

    names = custom_measures.names(connection, list(custom.failed))
    return Batch(
        chosen[-1],
        len(numbers.keys() | custom.images()),
        {name: len(images) for name, images in custom.values.items() if images},
        {names[image_id]: reason for image_id, reason in custom.failed.items()},
    )


def warn_outdated(store: Store, measures: Sequence[CustomMeasure]) -> None:
    """Warn of images that lack numbers, if only their pixels can give them."""
    store.read(warn_of_unmeasured)
    crops = required_measures(measures).of_crops
    if not crops:
        return
    lacking = store.read(lambda connection: custom_measures.count_lacking(connection, crops))
    if not lacking:
        return
    failed = store.read(image_records.count_measure_failures)
    retry = ""
    if failed:
        images = count_text(failed, "image")
        retry = f"run 'hpastore retry' for the {images} that a measure failed on, then "
    logger.warning(
        "%s a custom measure of pixels (%s); %singest their roots again",
        count_text(lacking, "image lacks", "images lack"),
        ", ".join(sorted(name for name, _ in crops)),
        retry,
    )


class _CustomValues:
    """Values of the custom measures of histograms, of images that lack them."""

    def __init__(
        self, connection: Connection, measures: Sequence[CustomMeasure], images: Sequence[int]
    ) -> None:
        stored = custom_measures.versions(connection, images)
        self.measures = {measure.name: measure for measure in measures if measure.of_histogram}
        self.values: dict[str, dict[int, Values]] = {}
        """By measure and image; an image without a histogram has no values."""
        for name, measure in self.measures.items():
            lacking = [key for key in images if (name, measure.version) not in stored.get(key, ())]
            if lacking:
                self.values[name] = {key: {} for key in lacking}
        self.cells = custom_measures.cells(connection, sorted(self.images()))
        self.failed: dict[int, str] = {}
        """Why a measure fails, by image."""

    def images(self) -> set[int]:
        """Keys of the images that get a value."""
        return {key for values in self.values.values() for key in values}

    def compute(self, image_id: int, histograms: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Compute the measures that an image lacks; a measure that fails is left out."""
        for name, values in self.values.items():
            if image_id not in values:
                continue
            try:
                values[image_id] = _cell_values(
                    self.measures[name], self.cells[image_id], histograms
                )
            except (MeasureError, MemoryError) as error:
                reason = str(error) or f"measure {name}: needs more memory than there is"
                self.failed[image_id] = reason
                del values[image_id]

    def write(self, connection: Connection) -> None:
        """Store all values."""
        for name, values in self.values.items():
            custom_measures.add_measures(connection, [self.measures[name]], values)


def _cell_values(
    measure: CustomMeasure,
    cells: Sequence[tuple[int, int]],
    histograms: Mapping[str, npt.NDArray[np.int64]],
) -> Values:
    """Compute a measure of an image's cells in all its channels."""
    mask_ids = [mask_id for _, mask_id in cells]
    values: Values = {}
    for channel, counts in histograms.items():
        values |= histogram_measures([measure], channel, mask_ids, counts[1:])
    return values
