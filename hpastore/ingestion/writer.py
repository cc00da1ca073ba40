"""Write the results of a run: one transaction per image, with the record of the run."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import NamedTuple

from sqlalchemy import Connection

import hpastore
from hpastore.ingestion.failures import conflict, is_listed
from hpastore.ingestion.file_counts import FileCounter
from hpastore.ingestion.notices import log_pruned
from hpastore.ingestion.remeasure import (
    Batch,
    RemeasureCounts,
    batches,
    choose_settings,
    remeasure_batch,
    warn_outdated,
)
from hpastore.ingestion.store_state import StoreState
from hpastore.ingestion.summary import RunNotes
from hpastore.kernels.custom import CustomMeasure
from hpastore.kernels.versions import unmeasured
from hpastore.model import Failure, Inputs, Measured, MeasurementSettings, Plan, Touched
from hpastore.runtime.failpoints import failpoint
from hpastore.store import custom_measures, image_records, measurement_settings, write
from hpastore.store.engine import Store
from hpastore.store.image_records import ImageRecord

logger = logging.getLogger(__name__)


class _Written(NamedTuple):
    """What the writing of one result did."""

    counts: Counter[str]
    failure: Failure | None = None
    stored: bool = False
    """Whether cells were stored, and not only files, labels or a split."""
    verdicts: int = 0
    """Number of verdicts that clean sets have on the cells that were replaced."""


@dataclass(frozen=True)
class Writer:
    """Writes the results of one run.

    Parameters
    ----------
    store
    run_id
        Key of the run's row.
    settings
        What the images are measured with.
    settings_id
        Their key.
    root, split
        Of the inputs.
    measures
        The installed custom measures.
    state
        What the store held when the run was planned.
    """

    store: Store
    run_id: int
    settings: MeasurementSettings
    settings_id: int
    root: str
    split: str | None
    measures: Sequence[CustomMeasure]
    state: StoreState

    def write(
        self, result: Measured | Touched | Failure, counter: FileCounter, notes: RunNotes
    ) -> Counter[str]:
        """Store one result and the record of it in one transaction, and count it."""
        now = datetime.now(UTC)

        def write_result(connection: Connection) -> _Written:
            written = self._write(connection, result, now)
            write.count_run(connection, self.run_id, written.counts)
            return written

        # Not flushed to the disk one by one: `finish` flushes all commits before it too.
        written = self.store.write(write_result, durable=False)
        if written.failure is not None:
            counter.add_rejected(written.failure)
        elif not isinstance(result, Failure):
            counter.add_taken(result.source.name, stored=written.stored)
        if isinstance(result, Measured) and written.stored:
            notes.add(result.source.name, result.notes)
            notes.add_replaced(written.verdicts)
        return written.counts

    def remeasure(self, stop: Callable[[], bool] | None) -> RemeasureCounts:
        """Compute stale numbers from the stored histograms."""
        counts = RemeasureCounts()

        def write_batch(after: int) -> Batch:
            return self.store.write(partial(self._remeasure_batch, after=after))

        for batch in batches(write_batch, stop):
            counts.add(batch)
        counts.warn()
        return counts

    def finish(self) -> None:
        """Record that the run is complete."""
        self.store.write(self._finish)
        warn_outdated(self.store, self.measures)

    def _finish(self, connection: Connection) -> None:
        write.finish_run(connection, self.run_id, datetime.now(UTC))
        failpoint("run.finished")

    def _remeasure_batch(self, connection: Connection, after: int) -> Batch:
        batch = remeasure_batch(connection, self.measures, after)
        write.count_run(connection, self.run_id, Counter(remeasured=batch.done))
        return batch

    def _write(
        self, connection: Connection, result: Measured | Touched | Failure, now: datetime
    ) -> _Written:
        if isinstance(result, Failure):
            return self._reject(connection, result, now)
        source = result.source
        place = image_records.image_record(connection, source.name)
        hashes = image_records.file_hashes(connection, [source.name]) if place else {}
        found = {file.role: file.sha256 for file in result.files}
        same_bytes = hashes.get(source.name) == found

        # Touched; measured only for a custom measure; or stored by another process meanwhile.
        is_current = isinstance(result, Touched) or self._has_current_numbers(place, result)
        if place and same_bytes and is_current:
            return self._write_touched(connection, result, place)
        if isinstance(result, Touched):
            # Another process has replaced the image meanwhile; the next run compares it again.
            return _Written(Counter(unchanged=1))
        if place and not same_bytes and place.root != self.root and not place.gone:
            # Another process has stored the image from another root meanwhile.
            return self._reject(connection, conflict(source, place.root), now)
        return self._write_measured(connection, result, place, now)

    def _write_touched(
        self, connection: Connection, result: Measured | Touched, place: ImageRecord
    ) -> _Written:
        """Record times, labels and split of an image whose stored cells stay."""
        source = result.source
        if source.name in self.state.policy.kept:
            return _Written(Counter(unchanged=1))
        split = self._choose_split(place)
        relabelled = write.touch_image(connection, source, result.files, self.root, split)
        counts = Counter({"relabelled" if relabelled else "unchanged": 1})
        counts += _returned(place) + Counter(resplit=int(split != place.split))
        if isinstance(result, Measured):
            counts += self._add_measures(connection, place, result)
        return _Written(counts)

    def _write_measured(
        self,
        connection: Connection,
        measured: Measured,
        place: ImageRecord | None,
        now: datetime,
    ) -> _Written:
        """Store an image with its cells; those of a stored image are replaced."""
        name = measured.source.name
        verdicts = image_records.count_verdicts(connection, name) if place else 0
        columns = {
            "root": self.root,
            "split": self._choose_split(place),
            "settings_id": self.settings_id,
            "ingested_at": now,
        }
        cells = write.write_image(connection, measured, columns, self.measures)
        kind = "changed" if place else "new"
        counts = Counter({kind: 1, "images_decoded": 1, "cells": cells}) + _returned(place)
        return _Written(counts, stored=True, verdicts=verdicts)

    def _reject(self, connection: Connection, failure: Failure, now: datetime) -> _Written:
        write.write_failures(connection, [failure], run_id=self.run_id, now=now)
        before = self.state.rejected.get(failure.image_name)
        listed = {} if before is None else {failure.image_name: before.failure}
        counts = Counter(rejected=1, rejected_before=int(is_listed(failure, listed)))
        return _Written(counts, failure)

    def _has_current_numbers(self, place: ImageRecord | None, measured: Measured) -> bool:
        """Whether a stored image has all measures of pixels, of the same masks."""
        if place is None or place.masks != measured.masks:
            return False
        return not unmeasured(place.settings, self.settings)

    def _choose_split(self, place: ImageRecord | None) -> str | None:
        """An image keeps its split, unless the user requested another with --resplit."""
        resplit = self.state.policy.resplit and self.split is not None
        if place is None or place.split is None or resplit:
            return self.split
        return place.split

    def _add_measures(
        self, connection: Connection, place: ImageRecord, measured: Measured
    ) -> Counter[str]:
        """Add the custom measures that a stored image lacks; its cells stay."""
        stored = custom_measures.versions(connection, [place.image_id]).get(place.image_id, ())
        measures = measured.cells.custom_versions.items() - stored
        lacking = [one for one in self.measures if (one.name, one.version) in measures]
        if not lacking:
            return Counter()
        names = {one.name for one in lacking}
        values = {key: array for key, array in measured.cells.custom.items() if key[0] in names}
        custom_measures.add_measures(connection, lacking, {place.image_id: values})
        # An image with other settings is counted when its numbers are computed again.
        return Counter(images_decoded=1, remeasured=int(place.settings_id == self.settings_id))


def start_run(
    store: Store,
    inputs: Inputs,
    todo: Plan,
    state: StoreState,
    background_percentile: float | None,
    measures: Sequence[CustomMeasure],
) -> tuple[Writer, Counter[str]]:
    """Record a run, and do everything that needs no pixel.

    Parameters
    ----------
    store : Store
    inputs : Inputs
    todo : Plan
    state : StoreState
    background_percentile : float, optional
        As the user gave it.
    measures : sequence of CustomMeasure
        The installed ones.

    Returns
    -------
    writer, counts
        The writer of the run's results, and what was done already.
    """
    now = datetime.now(UTC)
    root = str(inputs.root)

    def start(connection: Connection) -> tuple[Writer, Counter[str], int]:
        # Read again: another process may have changed the settings meanwhile.
        settings = choose_settings(
            measurement_settings.current_settings(connection), background_percentile
        )
        settings_id = write.adopt_settings(connection, settings)
        run_id = write.begin_run(
            connection,
            root=root,
            split=inputs.split,
            labels=None if inputs.table is None else str(inputs.table),
            version=hpastore.__version__,
            started_at=now,
        )
        failpoint("run.begun")
        writer = Writer(store, run_id, settings, settings_id, root, inputs.split, measures, state)
        counts, verdicts = _write_plan(connection, writer, inputs, todo, now)
        return writer, counts, verdicts

    writer, counts, verdicts = store.write(start)
    if verdicts:
        log_pruned(len(todo.pruned), verdicts)
    return writer, counts


def _write_plan(
    connection: Connection, writer: Writer, inputs: Inputs, todo: Plan, now: datetime
) -> tuple[Counter[str], int]:
    """Carry out what needs no pixel; count it, and the verdicts on deleted images."""
    root = writer.root
    moved_roots = writer.state.roots
    for before in moved_roots.here:
        write.move_root(connection, before, root, writer.run_id)
    write.write_failures(connection, todo.rejected, run_id=writer.run_id, now=now)

    returned = set(todo.returned)
    for source in todo.relabelled:
        if place := image_records.image_record(connection, source.name):
            write.relabel_image(connection, source, root, None)
            if place.gone:
                returned.add(source.name)
    write.move_images(connection, [*todo.moved, *todo.returned], root, None)
    write.split_images(connection, todo.resplit, inputs.split)

    # Another process may have moved images to another root meanwhile, where they are not gone.
    here = image_records.image_names(connection, root) if todo.gone or todo.pruned else set()
    pruned = [name for name in todo.pruned if name in here]
    write.mark_gone(connection, [name for name in todo.gone if name in here], now)
    write.clear_failures(connection, todo.recovered)
    verdicts = sum(image_records.count_verdicts(connection, name) for name in pruned)
    write.delete_images(connection, pruned)

    counts = Counter(
        relabelled=len(todo.relabelled), returned=len(returned), resplit=len(todo.resplit)
    )
    recorded = counts + Counter(
        rejected=len(todo.rejected),
        gone=len({*todo.gone, *todo.pruned}),
        moved=len(todo.moved) + sum(one.live for one in moved_roots.moved),
    )
    write.count_run(connection, writer.run_id, recorded)
    return counts, verdicts


def _returned(place: ImageRecord | None) -> Counter[str]:
    return Counter(returned=1) if place and place.gone else Counter()
