"""Do what the plan says: a pool of workers, one writer."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

import hpastore
from hpastore.errors import StoreError, UsageError
from hpastore.ingest.discover import Layout, discover
from hpastore.ingest.plan import plan as make_plan
from hpastore.ingest.pool import in_order, workers
from hpastore.ingest.worker import Task, measure_source
from hpastore.kernels.measures import VERSION
from hpastore.model import Failure, Found, Measured, Plan, Recipe, Touched, require_share
from hpastore.store import read, write
from hpastore.store.engine import Store

logger = logging.getLogger(__name__)

BACKGROUND_PERCENTILE: Final = 0.99
"""Of the first recipe of a store, unless it is given."""

EXECUTORS: Final = ("process", "serial")

Progress = Callable[[int, int], None]
"""Called with the number of images done, and of all."""


@dataclass(frozen=True)
class Summary:
    """What an ingest did; all but `seconds` are numbers of images or cells.

    `seconds` is wall time from the start of planning to the last commit.  `remeasured` and `gone`
    are always 0 in this version.
    """

    new: int = 0
    changed: int = 0
    relabelled: int = 0
    remeasured: int = 0
    gone: int = 0
    unchanged: int = 0
    rejected: int = 0
    cells: int = 0
    images_decoded: int = 0
    seconds: float = 0.0


def plan(store: Store | None, layout: Layout | Path | str) -> Plan:
    """Say what `ingest` would do, and touch nothing.

    Parameters
    ----------
    store : Store or None
        None is a store that is still to be made.
    layout : Layout or Path
        A path is a root in the usual layout.

    Raises
    ------
    InputError
        If the root, the table or a folder cannot be used.
    """
    found = discover(_layout(layout))
    return make_plan(found, {}) if store is None else _plan(store, found)


def ingest(
    store: Store,
    layout: Layout | Path | str,
    *,
    jobs: int | None = None,
    executor: str = "process",
    background_percentile: float | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Store the images that are new or changed.

    Each image is one transaction with the record of its files: a run may be stopped anywhere, and
    the next goes on.  An image that cannot be taken becomes a row in ``failure``; the others go on.

    Parameters
    ----------
    store : Store
    layout : Layout or Path
        A path is a root in the usual layout.
    jobs : int, optional
        Worker processes; by default one per core.
    executor : str
        ``process``, or ``serial``: everything in this process.
    background_percentile : float, optional
        Share 0..1; by default the store's own, 0.99 in a new store.
    progress : callable, optional
        Called with (images done, images to do).

    Returns
    -------
    Summary

    Raises
    ------
    InputError
        If the root, the table or a folder cannot be used.
    UsageError
        If an argument makes no sense, or the store was measured with another percentile.

    Notes
    -----
    Workers are spawned, so that a script must call this under ``if __name__ == "__main__":``.
    """
    began = time.monotonic()
    layout = _layout(layout)
    if executor not in EXECUTORS:
        raise UsageError(f"no executor {executor!r}; there are {' and '.join(EXECUTORS)}")
    processes = workers(jobs) if executor == "process" else 1
    with store.reading() as connection:
        _recipe(store, read.current_recipe(connection), background_percentile)
    found = discover(layout)
    todo = _plan(store, found)
    counts = Counter(unchanged=todo.unchanged, rejected=len(todo.rejected), relabelled=len(todo.relabelled))
    if todo.work or todo.rejected or todo.moved or todo.recovered:
        run = _begin(store, found, todo, background_percentile)
        work = _tasks(store, todo)
        measure = partial(measure_source, root=found.root, background_percentile=run.background_percentile)
        for done, result in enumerate(in_order(measure, work, min(processes, len(work))), 1):
            counts += run.write(result)
            if progress:
                progress(done, len(work))
        run.finish()
    return Summary(**counts, seconds=time.monotonic() - began)


@dataclass(frozen=True)
class _Run:
    """One run in the store, and how its results are written."""

    store: Store
    run_id: int
    recipe_id: int
    background_percentile: float
    root: str
    split: str | None

    def write(self, result: Measured | Touched | Failure) -> Counter[str]:
        """Store one result in one transaction with the record of it, and count it."""
        with self.store.writing() as connection:
            counts = self._write(connection, result, datetime.now(UTC))
            write.count_run(connection, self.run_id, counts)
        return counts

    def finish(self) -> None:
        """Record that the run came to its end."""
        with self.store.writing() as connection:
            write.finish_run(connection, self.run_id, datetime.now(UTC))

    def _write(
        self, connection: Connection, result: Measured | Touched | Failure, now: datetime
    ) -> Counter[str]:
        if isinstance(result, Failure):
            write.write_failures(connection, [result], run_id=self.run_id, now=now)
            return Counter(rejected=1)
        name = result.source.name
        stored = read.file_hashes(connection, [name]).get(name)
        if stored == {file.role: file.sha256 for file in result.files}:
            # Touched, or stored by another process since this run began.
            relabelled = write.touch_image(connection, result.source, result.files, self.root)
            return Counter({"relabelled" if relabelled else "unchanged": 1})
        if isinstance(result, Touched):  # replaced by another process meanwhile; the next run looks again
            return Counter(unchanged=1)
        dropped = read.count_verdicts(connection, name)
        columns = {"root": self.root, "split": self.split, "recipe_id": self.recipe_id, "ingested_at": now}
        cells = write.write_image(connection, result, columns)
        _warn(result, dropped)
        return Counter({"changed" if stored else "new": 1, "images_decoded": 1, "cells": cells})


def _warn(measured: Measured, dropped: int) -> None:
    """Say what people should know of an image that was stored."""
    name, cells = measured.source.name, measured.cells
    if not len(cells.mask_ids):
        logger.warning("%s: its mask is empty; stored without cells", name)
    elif cells.channels["green"].background_level is None:
        logger.warning("%s: its cells cover the whole image; stored without fractions", name)
    if dropped:
        logger.warning("%s: changed, so that %d verdicts of clean sets on its old cells went", name, dropped)


def _begin(store: Store, found: Found, todo: Plan, background_percentile: float | None) -> _Run:
    """Record the run, and all that needs no pixel."""
    now, root = datetime.now(UTC), str(found.root)
    with store.writing() as connection:
        # Looked at again: another process may have made the first recipe meanwhile.
        recipe = _recipe(store, read.current_recipe(connection), background_percentile)
        recipe_id = write.adopt_recipe(connection, recipe)
        columns = {"root": root, "split": found.split, "version": hpastore.__version__}
        run_id = write.begin_run(connection, started_at=now, **columns)
        write.write_failures(connection, todo.rejected, run_id=run_id, now=now)
        for source in todo.relabelled:
            write.relabel_image(connection, source, root)
        write.move_images(connection, todo.moved, root, found.split)
        write.clear_failures(connection, todo.recovered)
        write.count_run(
            connection, run_id, Counter(rejected=len(todo.rejected), relabelled=len(todo.relabelled))
        )
    return _Run(store, run_id, recipe_id, recipe.background_percentile, root, found.split)


def _tasks(store: Store, todo: Plan) -> list[Task]:
    """Images to decode by name; a changed one with the hashes of what is stored."""
    with store.reading() as connection:
        hashes = read.file_hashes(connection, [source.name for source in todo.changed])
    return [Task(source, hashes.get(source.name, {})) for source in sorted((*todo.new, *todo.changed))]


def _plan(store: Store, found: Found) -> Plan:
    with store.reading() as connection:
        failed = read.failed_names(connection, str(found.root), found.split)
        return make_plan(found, read.known_images(connection), failed)


def _layout(layout: Layout | Path | str) -> Layout:
    return layout if isinstance(layout, Layout) else Layout(Path(layout))


def _recipe(store: Store, current: Recipe | None, background_percentile: float | None) -> Recipe:
    """Choose the store's own recipe; in a new store, the one that is asked for."""
    if background_percentile is not None:
        require_share(background_percentile, "background percentile")
    if current is None:
        share = BACKGROUND_PERCENTILE if background_percentile is None else background_percentile
        return Recipe(share, VERSION)
    if current.version != VERSION:
        reason = f"has measures of version {current.version}, this program {VERSION}; ingest into a new store"
        raise StoreError(store.url, reason)
    if background_percentile not in (None, current.background_percentile):
        raise UsageError(
            f"this store measures at background percentile {current.background_percentile}; "
            "leave the percentile out, or ingest into a new store"
        )
    return current
