"""Do what the plan says: a pool of workers, one writer."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import hpastore
from hpastore.errors import StoreError, UsageError
from hpastore.ingest.discover import Layout, discover
from hpastore.ingest.plan import plan as make_plan
from hpastore.ingest.pool import in_order, workers
from hpastore.ingest.worker import measure_source
from hpastore.kernels.measures import VERSION
from hpastore.model import Failure, Found, Measured, Plan, Recipe, require_share
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
    began, started_at = time.monotonic(), datetime.now(UTC)
    layout = _layout(layout)
    recipe = _recipe(store, background_percentile)
    if executor not in EXECUTORS:
        raise UsageError(f"no executor {executor!r}; there are {' and '.join(EXECUTORS)}")
    processes = workers(jobs) if executor == "process" else 1
    found = discover(layout)
    todo = _plan(store, found)
    counts = Counter(unchanged=todo.unchanged, rejected=len(todo.rejected), relabelled=len(todo.relabelled))
    if todo.work or todo.rejected or todo.moved or todo.recovered:
        run = _begin(store, layout, found.root, recipe, todo, started_at)
        work = sorted((*todo.new, *todo.changed))
        changed = {source.name for source in todo.changed}
        measure = partial(measure_source, root=found.root, background_percentile=recipe.background_percentile)
        for done, result in enumerate(in_order(measure, work, min(processes, len(work))), 1):
            counts += run.write(result, changed)
            if progress:
                progress(done, len(work))
        run.finish(counts)
    return Summary(**counts, seconds=time.monotonic() - began)


@dataclass(frozen=True)
class _Run:
    """One run in the store, and how its results are written."""

    store: Store
    run_id: int
    recipe_id: int
    root: str
    split: str | None

    def write(self, result: Measured | Failure, changed: Container[str]) -> Counter[str]:
        """Store one result in one transaction, and count it."""
        now = datetime.now(UTC)
        with self.store.writing() as connection:
            if isinstance(result, Failure):
                write.write_failures(connection, [result], run_id=self.run_id, now=now)
                return Counter(rejected=1)
            columns = {
                "root": self.root,
                "split": self.split,
                "recipe_id": self.recipe_id,
                "ingested_at": now,
            }
            cells = write.write_image(connection, result, columns)
        if not cells:
            logger.warning("%s: its mask is empty; stored without cells", result.source.name)
        elif result.cells.channels["green"].background_level is None:
            logger.warning(
                "%s: its cells cover the whole image; stored without fractions", result.source.name
            )
        kind = "changed" if result.source.name in changed else "new"
        return Counter({kind: 1, "images_decoded": 1, "cells": cells})

    def finish(self, counts: Counter[str]) -> None:
        """Record what the run did."""
        columns = {name: counts[name] for name in ("changed", "relabelled", "rejected", "cells")}
        with self.store.writing() as connection:
            write.finish_run(
                connection, self.run_id, added=counts["new"], finished_at=datetime.now(UTC), **columns
            )


def _begin(
    store: Store, layout: Layout, root: Path, recipe: Recipe, todo: Plan, started_at: datetime
) -> _Run:
    """Record the run, and all that needs no pixel."""
    with store.writing() as connection:
        recipe_id = write.adopt_recipe(connection, recipe)
        columns = {"root": str(root), "split": layout.split, "version": hpastore.__version__}
        run_id = write.begin_run(connection, started_at=started_at, **columns)
        write.write_failures(connection, todo.rejected, run_id=run_id, now=started_at)
        for source in todo.relabelled:
            write.relabel_image(connection, source, str(root))
        write.move_images(connection, todo.moved, str(root))
        write.clear_failures(connection, todo.recovered)
    return _Run(store, run_id, recipe_id, str(root), layout.split)


def _plan(store: Store, found: Found) -> Plan:
    with store.reading() as connection:
        return make_plan(found, read.known_images(connection))


def _layout(layout: Layout | Path | str) -> Layout:
    return layout if isinstance(layout, Layout) else Layout(Path(layout))


def _recipe(store: Store, background_percentile: float | None) -> Recipe:
    """Choose the store's own recipe; in a new store, the one that is asked for."""
    if background_percentile is not None:
        require_share(background_percentile, "background percentile")
    with store.reading() as connection:
        current = read.current_recipe(connection)
    if current is None:
        return Recipe(
            BACKGROUND_PERCENTILE if background_percentile is None else background_percentile, VERSION
        )
    if current.version != VERSION:
        reason = f"has measures of version {current.version}, this program {VERSION}; ingest into a new store"
        raise StoreError(store.url, reason)
    if background_percentile not in (None, current.background_percentile):
        raise UsageError(
            f"this store measures at background percentile {current.background_percentile}; "
            "leave the percentile out, or ingest into a new store"
        )
    return current
