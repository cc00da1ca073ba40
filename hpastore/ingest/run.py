"""Do what the plan says: a pool of workers, one writer."""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from sqlalchemy import Connection

import hpastore
from hpastore.collector import resting
from hpastore.errors import NotFoundError, RejectedError, UsageError
from hpastore.failpoints import reach
from hpastore.ingest.accounts import Accounts, Ledger
from hpastore.ingest.discover import Layout, discover
from hpastore.ingest.installed import load_measures, wanted
from hpastore.ingest.plan import conflict, unsure
from hpastore.ingest.plan import plan as make_plan
from hpastore.ingest.pool import each, workers
from hpastore.ingest.process import Limits, Lost
from hpastore.ingest.remeasure import Batch, Tally, batches, choose_recipe, remeasure_batch, warn_outdated
from hpastore.ingest.worker import Task, compare, measure_source
from hpastore.kernels.custom import UserMeasure
from hpastore.kernels.measures import VERSION
from hpastore.model import (
    Change,
    Failure,
    FileStamp,
    Found,
    Known,
    Measured,
    Plan,
    Recipe,
    Touched,
    Wanted,
    require_share,
)
from hpastore.store import own, read, write
from hpastore.store.engine import Store

logger = logging.getLogger(__name__)

EXECUTORS: Final = ("process", "serial")

Progress = Callable[[int, int], None]
"""Called with the number of images done, and of all."""

Stop = Callable[[], bool]
"""Says whether to come to an end: what is in flight is finished, nothing is begun."""


_MOVING: Final = ("new", "changed", "relabelled", "remeasured", "gone")


@dataclass(frozen=True)
class Summary:
    """What an ingest did; all but `seconds`, `files` and `moved` are numbers of images or cells.

    `new` images were stored for the first time, `changed` ones replaced, `remeasured` ones had stale
    numbers or lacked a measure that a user added, `gone` ones were marked as gone or pruned.  `seconds`
    is wall time from the start of planning to the last commit.  `moved` is whether the cells are others,
    that clean sets could follow; `failed` ones lack such a measure still, since it fails on them.
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
    files: Accounts = field(
        default=Accounts(0, 0, 0, MappingProxyType({}), MappingProxyType({})), compare=False
    )
    moved: bool = field(default=False, compare=False)
    failed: int = field(default=0, compare=False)


def plan(
    store: Store | None,
    layout: Layout | Path | str,
    *,
    background_percentile: float | None = None,
    prune: bool = False,
) -> Plan:
    """Say what `ingest` would do, and touch nothing.

    Files are read only where their times differ from those in the store and their sizes do not.

    Parameters
    ----------
    store : Store or None
        None is a store that is still to be made.
    layout : Layout or Path
        A path is a root in the usual layout.
    background_percentile, prune
        As given to `ingest`.

    Raises
    ------
    InputError
        If the root, the table or a folder cannot be used.
    UsageError
        If the percentile is no share.
    MeasureError
        If a measure that a user added cannot be loaded.
    """
    check_arguments(background_percentile=background_percentile)
    load_measures()
    with resting():
        found = discover(_layout(layout))
        if store is None:
            return make_plan(found, {})
        memory = _remember(store, background_percentile)
        draft = memory.plan(found, prune=prune)
    doubts = {
        change.source.name: (change, files)
        for change in (*draft.doubtful, *draft.changed)
        if (files := unsure(change, memory.known[change.source.name]))
    }
    if not doubts:
        return draft
    hashes = store.read(lambda connection: read.file_hashes(connection, list(doubts)))
    compared = {name: _compare(*doubt, hashes.get(name, {}), found) for name, doubt in doubts.items()}
    return memory.plan(found, compared, prune=prune)


def ingest(
    store: Store,
    layout: Layout | Path | str,
    *,
    jobs: int | None = None,
    executor: str = "process",
    background_percentile: float | None = None,
    prune: bool = False,
    limits: Limits | None = None,
    stop: Stop | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Make the store follow its inputs.

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
        Share 0..1; by default the store's own, 0.99 in a new store.  Another than the store's makes
        its numbers stale, and they are computed again from the stored histograms.
    prune : bool
        Whether images of this root and split that are gone are deleted, not only marked.
    limits : Limits, optional
        Memory and time of a worker.
    stop : callable, optional
        Asked again and again; once it says true, the run finishes what is in flight and returns.
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
        If an argument makes no sense.
    MeasureError
        If a measure that a user added cannot be loaded.

    Notes
    -----
    Workers are spawned, so that a script must call this under ``if __name__ == "__main__":``.
    """
    began = time.monotonic()
    processes = check_arguments(executor, jobs, background_percentile)
    layout, stop, users = _layout(layout), stop or _never, load_measures()
    with resting():
        found = discover(layout)
        reach("ingest.discovered")
        memory = _remember(store, background_percentile)
        todo = memory.plan(found, prune=prune)
        reach("ingest.planned")
    if prune and not found.complete:
        logger.warning("nothing is pruned: with a limit, no image is called gone")
    if found.repeated:
        logger.info("%d rows name a label twice, which counts once", found.repeated)
    ledger, failed = Ledger(found, todo), 0
    counts = Counter(unchanged=todo.unchanged)
    counts += Counter(rejected=len(todo.rejected), relabelled=len(todo.relabelled))
    counts += Counter(gone=len(todo.pruned if prune else todo.gone))
    if todo.work or todo.rejected or todo.moved or todo.recovered:
        run = _begin(store, found, todo, background_percentile, users)
        work = _tasks(store, todo, memory, str(found.root))
        measure = partial(measure_source, root=found.root, background_percentile=run.background_percentile)
        results = each(measure, work, min(processes, len(work)), limits=limits or Limits(), stop=stop)
        for done, (task, result) in enumerate(results, 1):
            reach("image.result")
            counts += run.write(_failed(task, result) if isinstance(result, Lost) else result, ledger)
            if progress:
                progress(done, len(work))
        tally = run.remeasure(stop)
        counts, failed = counts + Counter(remeasured=tally.done), len(tally.failed)
        run.finish()
    moved = bool(todo.returned) or any(counts[name] for name in _MOVING)
    seconds = time.monotonic() - began
    return Summary(**counts, seconds=seconds, files=ledger.close(), moved=moved, failed=failed)


def check_arguments(
    executor: str = EXECUTORS[0], jobs: int | None = None, background_percentile: float | None = None
) -> int:
    """Look at the arguments of `ingest`, and choose the number of worker processes; 0 is this one.

    Raises
    ------
    UsageError
        If one makes no sense.
    """
    if executor not in EXECUTORS:
        raise UsageError(f"no executor {executor!r}; there are {' and '.join(EXECUTORS)}")
    if background_percentile is not None:
        require_share(background_percentile, "background percentile")
    processes = workers(jobs)
    return processes if executor == "process" else 0


def retry(store: Store, names: Sequence[str] | None = None) -> list[str]:
    """Have rejected images tried again by the next ingest, though their files did not change.

    Parameters
    ----------
    store : Store
    names : sequence of str, optional
        By default all; a single text is one name.

    Returns
    -------
    list of str
        The names of those images.

    Raises
    ------
    NotFoundError
        If a name is none of a rejected image.
    """
    names = [names] if isinstance(names, str) else names

    def forget(connection: Connection) -> list[str]:
        there = read.rejected(connection)
        unknown = sorted(set(names or ()) - set(there))
        if unknown:
            raise NotFoundError(f"no rejected image {unknown[0]}; 'hpastore failures' shows those there are")
        chosen = sorted(there if names is None else set(names))
        write.forget_tries(connection, chosen)
        return chosen

    return store.write(forget)


@dataclass(frozen=True)
class _Memory:
    """What the store remembers, and what its numbers shall be."""

    known: Mapping[str, Known]
    rejected: Mapping[str, read.Rejection]
    recipe: Recipe
    wanted: Wanted

    def plan(
        self, found: Found, compared: Mapping[str, tuple[str, ...]] | None = None, *, prune: bool = False
    ) -> Plan:
        """Compare with what is found."""
        root, named = str(found.root), {source.name for source in found.sources}
        # A failure may have been met in another split, but not in another root: that holds another image.
        mine = [
            name
            for name, rejection in self.rejected.items()
            if rejection.root == root and (rejection.split == found.split or name in named)
        ]
        failed = {name: r.failure for name, r in self.rejected.items() if not _readable_now(r)}
        return make_plan(
            found, self.known, failed, mine, self.recipe, compared, prune=prune, wanted=self.wanted
        )


def _remember(store: Store, background_percentile: float | None) -> _Memory:
    users = load_measures()

    def remember(connection: Connection) -> _Memory:
        recipe = choose_recipe(read.current_recipe(connection), background_percentile)
        known = read.known_images(connection)
        if users:
            known = own.with_measures(connection, known)
        return _Memory(known, read.rejected(connection), recipe, wanted(users))

    return store.read(remember)


def _readable_now(rejection: read.Rejection) -> bool:
    """Whether files that could not be read may be now, of which their times tell nothing."""
    failure, root = rejection.failure, Path(rejection.root)
    if failure.code not in ("io", "changed", "missing_file"):
        return False
    return all(os.access(root / f.uri, os.R_OK) and (root / f.uri).is_file() for f in failure.files)


def _compare(
    change: Change, files: tuple[FileStamp, ...], hashes: Mapping[str, str], found: Found
) -> tuple[str, ...]:
    """Which files differ from those that are stored; one that cannot be read may."""
    doubted = {file.role: hashes[file.role] for file in files if file.role in hashes}
    try:
        _, differing = compare(change.source._replace(files=files), doubted, found.root)
    except RejectedError:
        return change.roles
    return tuple(role for role in change.roles if role not in doubted or role in differing)


def _begin(
    store: Store,
    found: Found,
    todo: Plan,
    background_percentile: float | None,
    users: Sequence[UserMeasure],
) -> _Run:
    """Record the run, and all that needs no pixel."""
    now, root = datetime.now(UTC), str(found.root)

    def begin(connection: Connection) -> tuple[_Run, int]:
        # Looked at again: another process may have changed the recipe meanwhile, and taken images.
        recipe = choose_recipe(read.current_recipe(connection), background_percentile)
        recipe_id = write.adopt_recipe(connection, recipe)
        columns = {"root": root, "split": found.split, "version": hpastore.__version__}
        run_id = write.begin_run(connection, started_at=now, **columns)
        reach("run.begun")
        write.write_failures(connection, todo.rejected, run_id=run_id, now=now)
        for source in todo.relabelled:
            if read.stored_place(connection, source.name):
                write.relabel_image(connection, source, root, found.split)
        write.move_images(connection, [*todo.moved, *todo.returned], root, found.split)
        here = read.names_of(connection, root, found.split) if todo.gone or todo.pruned else set()
        pruned = [name for name in todo.pruned if name in here]
        write.mark_gone(connection, [name for name in todo.gone if name in here], now)
        write.clear_failures(connection, todo.recovered)
        verdicts = sum(read.count_verdicts(connection, name) for name in pruned)
        write.delete_images(connection, pruned)
        counts = Counter(rejected=len(todo.rejected), relabelled=len(todo.relabelled))
        counts += Counter(gone=len({*todo.gone, *todo.pruned}))
        write.count_run(connection, run_id, counts)
        run = _Run(store, run_id, recipe_id, recipe.background_percentile, root, found.split, users)
        return run, verdicts

    run, verdicts = store.write(begin)
    if verdicts:
        gone = len(todo.pruned)
        logger.warning("%d gone images were pruned; clean sets remember %d verdicts on them", gone, verdicts)
    return run


def _tasks(store: Store, todo: Plan, memory: _Memory, root: str) -> list[Task]:
    """Images to look at, by name; those that only their bytes tell about with the hashes that are stored."""
    doubtful = [change.source for change in todo.doubtful]
    names = [source.name for source in doubtful]
    hashes = store.read(lambda connection: read.file_hashes(connection, names))
    anyway = (*todo.new, *todo.unmeasured, *(change.source for change in todo.changed))
    tasks = [Task(source, {}) for source in anyway]
    for source in doubtful:
        stored = memory.known[source.name]
        elsewhere = stored.root if stored.root != root else None
        outdated = stored.recipe.version != VERSION or not memory.wanted.of_crops <= stored.measures
        tasks.append(Task(source, hashes.get(source.name, {}), elsewhere, outdated))
    return sorted(tasks, key=lambda task: task.source.name)


def _failed(task: Task, lost: Lost) -> Failure:
    """A failure of an image that no worker could finish."""
    source = task.source
    message = f"{source.name}: {lost.reason}"
    return Failure(source.name, source.files[0].uri, lost.code, message, source.files)


class _Written(NamedTuple):
    """What the writing of one result did."""

    counts: Counter[str]
    failure: Failure | None = None
    stored: bool = False
    """Whether cells were stored, and not only what else is known of them."""
    dropped: int = 0
    """Verdicts of clean sets that went with the cells that were replaced."""


@dataclass(frozen=True)
class _Run:
    """One run in the store, and how its results are written."""

    store: Store
    run_id: int
    recipe_id: int
    background_percentile: float
    root: str
    split: str | None
    users: Sequence[UserMeasure]

    def write(self, result: Measured | Touched | Failure, ledger: Ledger) -> Counter[str]:
        """Store one result in one transaction with the record of it, and count it."""
        now = datetime.now(UTC)

        def store(connection: Connection) -> _Written:
            written = self._write(connection, result, now)
            write.count_run(connection, self.run_id, written.counts)
            return written

        written = self.store.write(store, lasting=False)  # `finish` lasts, and what came before it
        if written.failure is not None:
            ledger.reject(written.failure)
        elif not isinstance(result, Failure):
            ledger.take(result.source.name, stored=written.stored)
        if isinstance(result, Measured) and written.stored:
            _warn(result, written.dropped)
        return written.counts

    def remeasure(self, stop: Stop) -> Tally:
        """Compute stale numbers from the stored histograms."""
        tally = Tally()
        for batch in batches(lambda after: self.store.write(partial(self._remeasure, after=after)), stop):
            tally.add(batch)
        tally.warn()
        return tally

    def finish(self) -> None:
        """Record that the run came to its end."""
        self.store.write(self._finish)
        warn_outdated(self.store, self.users)

    def _finish(self, connection: Connection) -> None:
        write.finish_run(connection, self.run_id, datetime.now(UTC))
        reach("run.finished")

    def _write(self, connection: Connection, result: Measured | Touched | Failure, now: datetime) -> _Written:
        if isinstance(result, Failure):
            write.write_failures(connection, [result], run_id=self.run_id, now=now)
            return _Written(Counter(rejected=1), result)
        source = result.source
        place = read.stored_place(connection, source.name)
        hashes = read.file_hashes(connection, [source.name]).get(source.name) if place else {}
        same = hashes == {file.role: file.sha256 for file in result.files}
        if place and same and (place.version == VERSION or isinstance(result, Touched)):
            # Touched, unmeasured, or stored by another process since this run began.
            relabelled = write.touch_image(connection, source, result.files, self.root, self.split)
            counts = Counter({"relabelled" if relabelled else "unchanged": 1})
            if isinstance(result, Measured):
                counts += self._add_measures(connection, place, result)
            return _Written(counts)
        if isinstance(result, Touched):  # replaced by another process meanwhile; the next run looks again
            return _Written(Counter(unchanged=1))
        if place and not same and place.root != self.root:  # of another process, stored since this run began
            failure = conflict(source, place.root)
            write.write_failures(connection, [failure], run_id=self.run_id, now=now)
            return _Written(Counter(rejected=1), failure)
        dropped = read.count_verdicts(connection, source.name) if place else 0
        split = self.split if self.split is not None or place is None else place.split
        columns = {"root": self.root, "split": split, "recipe_id": self.recipe_id, "ingested_at": now}
        cells = write.write_image(connection, result, columns, self.users)
        counts = Counter({"changed" if place else "new": 1, "images_decoded": 1, "cells": cells})
        return _Written(counts, stored=True, dropped=dropped)

    def _add_measures(self, connection: Connection, place: read.Place, measured: Measured) -> Counter[str]:
        """Give an image that is stored as it is the measures of users that it lacks."""
        has = own.versions(connection, [place.image_id]).get(place.image_id, ())
        taken = measured.cells.custom_versions.items() - has
        lacking = [user for user in self.users if (user.name, user.version) in taken]
        if not lacking:
            return Counter()
        names = {user.name for user in lacking}
        values = {key: of for key, of in measured.cells.custom.items() if key[0] in names}
        own.add_measures(connection, lacking, {place.image_id: values})
        # One of another recipe is counted when that is mended.
        return Counter(images_decoded=1, remeasured=int(place.recipe_id == self.recipe_id))

    def _remeasure(self, connection: Connection, after: int) -> Batch:
        batch = remeasure_batch(connection, self.users, after)
        write.count_run(connection, self.run_id, Counter(remeasured=batch.done))
        return batch


def _warn(measured: Measured, dropped: int) -> None:
    """Say what people should know of an image that was stored."""
    name, cells = measured.source.name, measured.cells
    if not len(cells.mask_ids):
        logger.warning("%s: its mask is empty; stored without cells", name)
    elif cells.channels["green"].background_level is None:
        logger.warning("%s: its cells cover the whole image; stored without fractions", name)
    if dropped:
        logger.warning("%s: changed; clean sets remember %d verdicts on its old cells", name, dropped)


def _layout(layout: Layout | Path | str) -> Layout:
    return layout if isinstance(layout, Layout) else Layout(Path(layout))


def _never() -> bool:
    return False
