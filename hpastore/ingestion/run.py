"""Do what the plan says: a pool of workers, one writer."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from sqlalchemy import Connection

import hpastore
from hpastore.arguments import require_share
from hpastore.errors import InputError, NotFoundError, RejectedError, UsageError
from hpastore.ingestion.discover import Layout, discover
from hpastore.ingestion.file_counts import FileCounter
from hpastore.ingestion.plan import conflict, files_to_compare, is_listed, make_plan
from hpastore.ingestion.remeasure import (
    Batch,
    RemeasureCounts,
    batches,
    choose_settings,
    remeasure_batch,
    warn_outdated,
)
from hpastore.ingestion.store_state import StoreState, choose_policy, remember, warn_of_roots, warn_of_splits
from hpastore.ingestion.summary import Move, RunNotes, Summary
from hpastore.ingestion.worker import Task, compare, measure_source
from hpastore.kernels.custom import CustomMeasure
from hpastore.kernels.definitions import VERSION
from hpastore.kernels.plugins import load_measures
from hpastore.model import Change, Failure, FileStamp, Inputs, Measured, Plan, Touched
from hpastore.reading.places import find_root
from hpastore.runtime.failpoints import failpoint
from hpastore.runtime.gc import gc_paused
from hpastore.runtime.pool import each, workers
from hpastore.runtime.process import Limits, Lost
from hpastore.store import custom_measures, read, write
from hpastore.store.engine import Store
from hpastore.text import printable
from hpastore.vocabulary import BINARY_MASKS, NUCLEUS_MATCHES

logger = logging.getLogger(__name__)

EXECUTORS: Final = ("process", "serial")

Progress = Callable[[int, int], None]
"""Called with the number of images done, and of all."""

Stop = Callable[[], bool]
"""Says whether to come to an end: what is in flight is finished, nothing is begun."""


def plan(
    store: Store | None,
    layout: Layout | Path | str,
    *,
    background_percentile: float | None = None,
    prune: bool = False,
    resplit: bool = False,
    allow_gone: int | str = 0,
    moved_from: Sequence[str | Path] = (),
) -> Plan:
    """Say what `ingest` would do, and touch nothing.

    Files are read only where their times differ from those in the store and their sizes do not.

    Parameters
    ----------
    store : Store or None
        None is a store that is still to be made.
    layout : Layout or Path
        A path is a root in the usual layout.
    background_percentile, prune, resplit, allow_gone, moved_from
        As given to `ingest`.

    Returns
    -------
    Plan
        With a text in `stopped` where `ingest` would refuse to do it.

    Raises
    ------
    InputError
        If the root, the table or a folder cannot be used.
    UsageError
        If an argument makes no sense.
    NotFoundError
        If the store has none of the roots in `moved_from`.
    MeasureError
        If a measure that a user added cannot be loaded.
    """
    layout = _layout(layout)
    check_arguments(layout, background_percentile=background_percentile)
    policy = choose_policy(layout, prune=prune, resplit=resplit, allow_gone=allow_gone)
    load_measures()
    with gc_paused():
        found = discover(layout)
        if store is None:
            for root in moved_from:
                find_root(root, [])
            return make_plan(found, {}, policy=policy)
        memory = remember(store, background_percentile, policy).at(store, found, moved_from)
        draft = memory.plan(found)
    warn_of_roots(memory, found)
    doubts = {
        change.source.name: (change, files)
        for change in (*draft.doubtful, *draft.changed)
        if (files := files_to_compare(change, memory.known[change.source.name]))
    }
    if doubts:
        hashes = store.read(lambda connection: read.file_hashes(connection, list(doubts)))
        compared = {name: _compare(*doubt, hashes.get(name, {}), found) for name, doubt in doubts.items()}
        draft = memory.plan(found, compared)
    warn_of_splits(draft, found, memory.known)
    return draft


def ingest(
    store: Store,
    layout: Layout | Path | str,
    *,
    jobs: int | None = None,
    executor: str = "process",
    background_percentile: float | None = None,
    prune: bool = False,
    resplit: bool = False,
    allow_gone: int | str = 0,
    moved_from: Sequence[str | Path] = (),
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
        Whether images of this root that are gone are deleted, not only marked.
    resplit : bool
        Whether images that have another split than the layout's get it; they keep theirs by default.
    allow_gone : int or "all"
        How many images may be gone though they are more than a fifth of the root's (and more than 10), or
        all of them; by default such a run is refused.
    moved_from : sequence of str or Path
        Stored roots that have moved here, though fewer than four fifths of their images can be recognised.
    limits : Limits, optional
        StoreState and time of a worker.
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
        If the root, the table or a folder cannot be used, or if too many images would be gone.
    UsageError
        If an argument makes no sense.
    NotFoundError
        If the store has none of the roots in `moved_from`.
    MeasureError
        If a measure that a user added cannot be loaded.
    """
    began = time.monotonic()
    layout, stop = _layout(layout), stop or _never
    processes = check_arguments(layout, executor, jobs, background_percentile)
    policy, users = (
        choose_policy(layout, prune=prune, resplit=resplit, allow_gone=allow_gone),
        load_measures(),
    )
    with gc_paused():
        found = discover(layout)
        failpoint("ingest.discovered")
        memory = remember(store, background_percentile, policy).at(store, found, moved_from)
        todo = memory.plan(found)
        failpoint("ingest.planned")
    if todo.stopped:
        raise InputError(found.root, todo.stopped)
    if prune and not found.complete:
        logger.warning("nothing is pruned: with a limit, no image is called gone")
    if found.repeated:
        logger.info("%d rows name a label twice, which counts once", found.repeated)
    if found.near:
        logger.warning("%s", found.near)
    _say_unlabelled(todo, memory)
    warn_of_roots(memory, found)
    warn_of_splits(todo, found, memory.known)
    ledger, failed, notes = FileCounter(found, todo), 0, RunNotes()
    counts = Counter(
        unchanged=todo.unchanged,
        rejected=len(todo.rejected),
        rejected_before=todo.rejected_before,
        gone=len({*todo.gone, *todo.pruned}),
    )
    if todo.work or todo.rejected or todo.moved or todo.recovered or memory.roots.here:
        run, begun = _begin(store, found, todo, memory, background_percentile, users)
        counts += begun
        work = _tasks(store, todo, memory, str(found.root))
        measure = partial(measure_source, root=found.root, background_percentile=run.background_percentile)
        results = each(measure, work, min(processes, len(work)), limits=limits or Limits(), stop=stop)
        for done, (task, result) in enumerate(results, 1):
            failpoint("image.result")
            counts += run.write(_failed(task, result) if isinstance(result, Lost) else result, ledger, notes)
            if progress:
                progress(done, len(work))
        tally = run.remeasure(stop)
        counts, failed = counts + Counter(remeasured=tally.done), len(tally.failed)
        run.finish()
    notes.warn()
    return Summary(
        **counts,
        seconds=time.monotonic() - began,
        files=ledger.close(),
        foreign=found.foreign,
        moves=tuple(Move(one.root, one.live) for one in memory.roots.moved),
        failed=failed,
    )


def check_arguments(
    layout: Layout,
    executor: str = EXECUTORS[0],
    jobs: int | None = None,
    background_percentile: float | None = None,
) -> int:
    """Look at the arguments of `ingest`, and choose the number of worker processes; 0 is this one.

    Raises
    ------
    UsageError
        If one makes no sense.
    """
    if executor not in EXECUTORS:
        raise UsageError(f"no executor {executor!r}; there are {' and '.join(EXECUTORS)}")
    if layout.split is not None and not (layout.split.strip() and layout.split.isprintable()):
        raise UsageError(f"invalid --split {printable(layout.split)!r} (give a name, such as train)")
    for option, value, choices in (
        ("--binary-mask", layout.binary_mask, BINARY_MASKS),
        ("--match-nuclei", layout.match_nuclei, NUCLEUS_MATCHES),
    ):
        if value is not None and value not in choices:
            raise UsageError(f"invalid {option} {value!r} (choose from {', '.join(choices)})")
    if background_percentile is not None:
        require_share(background_percentile, "background percentile")
    processes = workers(jobs)
    return processes if executor == "process" else 0


def forget(store: Store, root: str | Path, *, prune: bool = False) -> int:
    """End the images of a root that is not followed any more: as if all had left their inputs.

    Parameters
    ----------
    store : Store
    root : str or Path
        As it is stored, or as it may be written now.
    prune : bool
        Whether its images are deleted, those too that were gone before; otherwise they are marked as gone,
        and return when they are ingested again.

    Returns
    -------
    int
        Number of images that were marked or deleted.

    Raises
    ------
    NotFoundError
        If the store has no image and no rejected one of this root.
    """
    now = datetime.now(UTC)

    def end(connection: Connection) -> int:
        roots = {row["root"] for row in read.image_roots(connection)}
        rejected = read.rejected(connection)
        chosen = find_root(root, roots | {rejection.root for rejection in rejected.values()})
        names = sorted(read.names_of(connection, chosen, live=not prune))
        run_id = write.begin_run(
            connection, root=chosen, split=None, version=hpastore.__version__, started_at=now
        )
        if prune:
            write.delete_images(connection, names)
        else:
            write.mark_gone(connection, names, now)
        failed = [name for name, rejection in rejected.items() if rejection.root == chosen]
        write.clear_failures(connection, failed)
        write.count_run(connection, run_id, {"gone": len(names)})
        write.finish_run(connection, run_id, now)
        return len(names)

    return store.write(end)


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


def _compare(
    change: Change, files: tuple[FileStamp, ...], hashes: Mapping[str, str], found: Inputs
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
    found: Inputs,
    todo: Plan,
    memory: StoreState,
    background_percentile: float | None,
    users: Sequence[CustomMeasure],
) -> tuple[_Run, Counter[str]]:
    """Record the run, and all that needs no pixel; count what that was."""
    now, root = datetime.now(UTC), str(found.root)

    def begin(connection: Connection) -> tuple[_Run, Counter[str], int]:
        # Looked at again: another process may have changed the recipe meanwhile, and taken images.
        recipe = choose_settings(read.current_settings(connection), background_percentile)
        recipe_id = write.adopt_settings(connection, recipe)
        table = None if found.table is None else str(found.table)
        columns = {"root": root, "split": found.split, "version": hpastore.__version__, "labels": table}
        run_id = write.begin_run(connection, started_at=now, **columns)
        failpoint("run.begun")
        for before in memory.roots.here:
            write.move_root(connection, before, root, run_id)
        write.write_failures(connection, todo.rejected, run_id=run_id, now=now)
        returned = {*todo.returned}
        for source in todo.relabelled:
            if place := read.stored_place(connection, source.name):
                write.relabel_image(connection, source, root, None)
                returned |= {source.name} if place.gone else set()
        write.move_images(connection, [*todo.moved, *todo.returned], root, None)
        write.split_images(connection, todo.resplit, found.split)
        here = read.names_of(connection, root) if todo.gone or todo.pruned else set()
        pruned = [name for name in todo.pruned if name in here]
        write.mark_gone(connection, [name for name in todo.gone if name in here], now)
        write.clear_failures(connection, todo.recovered)
        verdicts = sum(read.count_verdicts(connection, name) for name in pruned)
        write.delete_images(connection, pruned)
        counts = Counter(relabelled=len(todo.relabelled), returned=len(returned), resplit=len(todo.resplit))
        moved = len(todo.moved) + sum(one.live for one in memory.roots.moved)
        others = Counter(rejected=len(todo.rejected), gone=len({*todo.gone, *todo.pruned}), moved=moved)
        write.count_run(connection, run_id, counts + others)
        run = _Run(store, run_id, recipe_id, recipe.background_percentile, root, found.split, users, memory)
        return run, counts, verdicts

    run, counts, verdicts = store.write(begin)
    if verdicts:
        gone = len(todo.pruned)
        logger.warning("%d gone images were pruned; clean sets remember %d verdicts on them", gone, verdicts)
    return run, counts


def _say_unlabelled(todo: Plan, memory: StoreState) -> None:
    """Say which images have no row, and which lose their labels."""
    orphans = [orphan.name for orphan in todo.orphans if orphan.kind == "image_without_label"]
    if orphans:
        logger.info(
            "%d images have no row in the table and are not taken, such as %s", len(orphans), orphans[0]
        )
    known = memory.known
    lost = sum(1 for source in todo.relabelled if known[source.name].labels and not source.labels)
    if lost:
        logger.warning("%d images lose their labels, since this run has none (--labels none)", lost)


def _tasks(store: Store, todo: Plan, memory: StoreState, root: str) -> list[Task]:
    """Images to look at, by name; those that only their bytes tell about with the hashes that are stored."""
    policy = memory.policy
    names = [change.source.name for change in todo.doubtful]
    hashes = store.read(lambda connection: read.file_hashes(connection, names))
    tasks = [Task(source, {}, masks=policy.masks()) for source in todo.new]
    tasks += [Task(source, {}, masks=memory.known[source.name].masks) for source in todo.unmeasured]
    for change in todo.changed:
        masks = policy.masks(memory.known[change.source.name].masks)
        tasks.append(Task(change.source, {}, masks=masks))
    for name, change in zip(names, todo.doubtful, strict=True):
        stored = memory.known[name]
        elsewhere = stored.root if stored.root != root and not stored.gone else None
        reread = bool(policy.reread(stored))
        unmeasured = not memory.required.of_crops <= stored.measures
        outdated = reread or unmeasured or stored.settings.version != VERSION
        outdated &= name not in policy.kept
        masks = stored.masks if unmeasured and not reread else policy.masks(stored.masks)
        tasks.append(Task(change.source, hashes.get(name, {}), elsewhere, outdated, masks))
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
    users: Sequence[CustomMeasure]
    memory: StoreState

    def write(
        self, result: Measured | Touched | Failure, ledger: FileCounter, notes: RunNotes
    ) -> Counter[str]:
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
            notes.add(result.source.name, result.notes)
            notes.replaced(written.dropped)
        return written.counts

    def remeasure(self, stop: Stop) -> RemeasureCounts:
        """Compute stale numbers from the stored histograms."""
        tally = RemeasureCounts()
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
        failpoint("run.finished")

    def _write(self, connection: Connection, result: Measured | Touched | Failure, now: datetime) -> _Written:
        if isinstance(result, Failure):
            return self._reject(connection, result, now)
        source = result.source
        place = read.stored_place(connection, source.name)
        returned = Counter(returned=1) if place and place.gone else Counter[str]()
        hashes = read.file_hashes(connection, [source.name]).get(source.name) if place else {}
        same = hashes == {file.role: file.sha256 for file in result.files}
        if place and same and (isinstance(result, Touched) or _is_measured_so(place, result)):
            # Touched, unmeasured, or stored by another process since this run began.
            if source.name in self.memory.policy.kept:
                return _Written(Counter(unchanged=1))
            split = self._first_split(place)
            returned += Counter(resplit=int(split != place.split))
            relabelled = write.touch_image(connection, source, result.files, self.root, split)
            counts = Counter({"relabelled" if relabelled else "unchanged": 1}) + returned
            if isinstance(result, Measured):
                counts += self._add_measures(connection, place, result)
            return _Written(counts)
        if isinstance(result, Touched):  # replaced by another process meanwhile; the next run looks again
            return _Written(Counter(unchanged=1))
        if place and not same and place.root != self.root and not place.gone:
            # Another process has stored it from elsewhere since this run began.
            return self._reject(connection, conflict(source, place.root), now)
        dropped = read.count_verdicts(connection, source.name) if place else 0
        columns = {
            "root": self.root,
            "split": self._first_split(place),
            "recipe_id": self.recipe_id,
            "ingested_at": now,
        }
        cells = write.write_image(connection, result, columns, self.users)
        counts = Counter({"changed" if place else "new": 1, "images_decoded": 1, "cells": cells})
        return _Written(counts + returned, stored=True, dropped=dropped)

    def _reject(self, connection: Connection, failure: Failure, now: datetime) -> _Written:
        write.write_failures(connection, [failure], run_id=self.run_id, now=now)
        before = self.memory.rejected.get(failure.image_name)
        known = before is not None and is_listed(failure, {failure.image_name: before.failure})
        return _Written(Counter(rejected=1, rejected_before=int(known)), failure)

    def _first_split(self, place: read.Place | None) -> str | None:
        """The split of an image: its own if it has one, unless another was asked for."""
        if place is None or place.split is None or (self.memory.policy.resplit and self.split is not None):
            return self.split
        return place.split

    def _add_measures(self, connection: Connection, place: read.Place, measured: Measured) -> Counter[str]:
        """Give an image that is stored as it is the measures of users that it lacks."""
        has = custom_measures.versions(connection, [place.image_id]).get(place.image_id, ())
        taken = measured.cells.custom_versions.items() - has
        lacking = [user for user in self.users if (user.name, user.version) in taken]
        if not lacking:
            return Counter()
        names = {user.name for user in lacking}
        values = {key: of for key, of in measured.cells.custom.items() if key[0] in names}
        custom_measures.add_measures(connection, lacking, {place.image_id: values})
        # One of another recipe is counted when that is mended.
        return Counter(images_decoded=1, remeasured=int(place.recipe_id == self.recipe_id))

    def _remeasure(self, connection: Connection, after: int) -> Batch:
        batch = remeasure_batch(connection, self.users, after)
        write.count_run(connection, self.run_id, Counter(remeasured=batch.done))
        return batch


def _is_measured_so(place: read.Place, measured: Measured) -> bool:
    """Whether a stored image was measured as it was now: by the same formulas, its masks read alike."""
    return place.version == VERSION and place.masks == measured.masks


def _layout(layout: Layout | Path | str) -> Layout:
    return layout if isinstance(layout, Layout) else Layout(Path(layout))


def _never() -> bool:
    return False
