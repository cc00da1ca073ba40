"""Make a store follow its inputs: plan, ingest, forget a root, retry rejected images."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

import hpastore
from hpastore.classes import DEFAULT_CLASSES, Classes
from hpastore.errors import InputError, NotFoundError
from hpastore.ingestion.discover import discover
from hpastore.ingestion.file_counts import FileCounter
from hpastore.ingestion.layout import Layout
from hpastore.ingestion.notices import log_before, log_columns, log_roots, log_splits
from hpastore.ingestion.options import check_arguments
from hpastore.ingestion.plan import make_plan
from hpastore.ingestion.policy import choose_policy
from hpastore.ingestion.store_state import StoreState, read_state
from hpastore.ingestion.summary import Move, RunNotes, Summary
from hpastore.ingestion.tasks import make_tasks
from hpastore.ingestion.worker import Task, measure_source
from hpastore.ingestion.writer import Writer, start_run
from hpastore.kernels.plugins import load_measures
from hpastore.model import Failure, Inputs, Plan
from hpastore.reading.places import find_root
from hpastore.runtime.executor import Executor, ExecutorName, Limits, TaskFailure
from hpastore.runtime.failpoints import failpoint
from hpastore.runtime.gc import gc_paused
from hpastore.runtime.pool import make_executor
from hpastore.store import image_records, roots_and_splits, write
from hpastore.store.classes import choose_classes, store_classes
from hpastore.store.engine import Store

Progress = Callable[[int, int], None]
"""Called with the number of images done, and of all."""

Stop = Callable[[], bool]
"""Whether to stop: images in flight are finished, no other is begun."""


def plan(
    store: Store | None,
    layout: Layout | Path | str,
    *,
    background_percentile: float | None = None,
    prune: bool = False,
    resplit: bool = False,
    allow_gone: int | str = 0,
    moved_from: Sequence[str | Path] = (),
    classes: Classes | None = None,
) -> Plan:
    """Say what `ingest` would do, and change nothing.

    Files are read only if their times differ from the stored ones and their sizes do not.

    Parameters
    ----------
    store : Store or None
        None for a store that does not exist yet.
    layout : Layout or Path
        A path is a root in the usual layout.
    background_percentile, prune, resplit, allow_gone, moved_from
        As for `ingest`.
    classes : Classes, optional
        Those that a store without images will have; by default its own.

    Returns
    -------
    Plan
        With a text in `stopped` if `ingest` would refuse to carry it out.

    Raises
    ------
    InputError
        If the root, the table or a folder cannot be used.
    UsageError
        If an argument makes no sense, or the store has images and other classes.
    NotFoundError
        If the store has none of the roots in `moved_from`.
    MeasureError
        If a custom measure cannot be loaded.
    """
    layout = _as_layout(layout)
    check_arguments(layout, background_percentile=background_percentile)
    policy = choose_policy(layout, prune=prune, resplit=resplit, allow_gone=allow_gone)
    load_measures()
    with gc_paused():
        inputs = discover(layout, _classes(store, classes))
        if store is None:
            for root in moved_from:
                find_root(root, [])
            return make_plan(inputs, {}, policy=policy)
        state = read_state(store, background_percentile, policy)
        state = state.with_roots(store, inputs, moved_from)
        todo = state.compare(inputs)

    log_roots(state, inputs)
    compared = state.compare_bytes(store, inputs, todo)
    if compared:
        todo = state.compare(inputs, compared)
    log_splits(todo, inputs, state.images)
    log_columns(state)
    return todo


def ingest(
    store: Store,
    layout: Layout | Path | str,
    *,
    jobs: int | None = None,
    executor: ExecutorName = "process",
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

    Each image is one transaction with the record of its files: a run may be stopped at any time,
    and the next run goes on.  An image that cannot be stored becomes a row in ``failure``; the
    others go on.

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
        Share 0..1; by default the store's current one, 0.99 in a new store.  Another one makes all
        numbers stale, and they are computed again from the stored histograms.
    prune : bool
        Whether images of this root that are gone are deleted, not only marked.
    resplit : bool
        Whether images that have another split than the layout's get it; by default they keep
        theirs.
    allow_gone : int or "all"
        How many images may be gone, even if they are more than a fifth of the root's (and more than
        10), or all of them; by default such a run is refused.
    moved_from : sequence of str or Path
        Stored roots that have moved here, even if fewer than four fifths of their images are found.
    limits : Limits, optional
        Memory and time of a worker.
    stop : callable, optional
        Called repeatedly; once it returns true, the run finishes the images in flight and returns.
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
        If a custom measure cannot be loaded.
    """
    began = time.monotonic()
    layout = _as_layout(layout)
    processes = check_arguments(layout, executor, jobs, background_percentile)
    policy = choose_policy(layout, prune=prune, resplit=resplit, allow_gone=allow_gone)
    measures = load_measures()
    with gc_paused():
        inputs = discover(layout, store_classes(store))
        failpoint("ingest.discovered")
        state = read_state(store, background_percentile, policy)
        state = state.with_roots(store, inputs, moved_from)
        todo = state.compare(inputs)
        failpoint("ingest.planned")
    if todo.stopped:
        raise InputError(inputs.root, todo.stopped)
    log_before(inputs, todo, state)

    counter = FileCounter(inputs, todo)
    notes = RunNotes()
    counts = Counter(
        unchanged=todo.unchanged,
        rejected=len(todo.rejected),
        rejected_before=todo.rejected_before,
        gone=len({*todo.gone, *todo.pruned}),
    )
    failed = 0
    if todo.work or todo.rejected or todo.moved or todo.recovered or state.roots.here:
        writer, done = start_run(store, inputs, todo, state, background_percentile, measures)
        counts += done
        tasks = _list_tasks(store, inputs, todo, state)
        workers = make_executor(executor, min(processes, len(tasks)), limits)
        counts += _process(tasks, writer, inputs.root, counter, notes, workers, stop, progress)
        remeasured = writer.remeasure(stop)
        counts += Counter(remeasured=remeasured.done)
        failed = len(remeasured.failed)
        writer.finish()
    notes.warn()
    return Summary(
        **counts,
        seconds=time.monotonic() - began,
        files=counter.result(),
        foreign=inputs.foreign,
        moves=tuple(Move(one.root, one.live) for one in state.roots.moved),
        failed=failed,
    )


def forget(store: Store, root: str | Path, *, prune: bool = False) -> int:
    """Mark the images of a root as gone, as if all were missing in their inputs.

    Parameters
    ----------
    store : Store
    root : str or Path
        As the store has it, or any path of the same folder.
    prune : bool
        Whether its images are deleted, including those marked as gone before.  By default they are
        marked as gone, and return when they are ingested again.

    Returns
    -------
    int
        Number of images that were marked or deleted.

    Raises
    ------
    NotFoundError
        If the store has neither images nor rejected images of this root.
    """
    now = datetime.now(UTC)

    def forget_root(connection: Connection) -> int:
        rejected = image_records.rejected_images(connection)
        roots = {row["root"] for row in roots_and_splits.images_per_root(connection)}
        roots |= {rejection.root for rejection in rejected.values()}
        stored_root = find_root(root, roots)
        names = sorted(image_records.image_names(connection, stored_root, live=not prune))
        run_id = write.begin_run(
            connection, root=stored_root, split=None, version=hpastore.__version__, started_at=now
        )
        if prune:
            write.delete_images(connection, names)
        else:
            write.mark_gone(connection, names, now)
        failed = [name for name, rejection in rejected.items() if rejection.root == stored_root]
        write.clear_failures(connection, failed)
        write.count_run(connection, run_id, {"gone": len(names)})
        write.finish_run(connection, run_id, now)
        return len(names)

    return store.write(forget_root)


def retry(store: Store, names: Sequence[str] | None = None) -> list[str]:
    """Let the next ingest try rejected images again, although their files are unchanged.

    Parameters
    ----------
    store : Store
    names : sequence of str, optional
        By default all; a single text is one name.

    Returns
    -------
    list of str
        The names of the images.

    Raises
    ------
    NotFoundError
        If a name is not that of a rejected image.
    """
    names = [names] if isinstance(names, str) else names

    def forget_tries(connection: Connection) -> list[str]:
        rejected = image_records.rejected_images(connection)
        unknown = sorted(set(names or ()) - set(rejected))
        if unknown:
            raise NotFoundError(
                f"no rejected image {unknown[0]}; 'hpastore failures' lists the rejected images"
            )
        chosen = sorted(rejected if names is None else set(names))
        write.forget_tries(connection, chosen)
        return chosen

    return store.write(forget_tries)


def _list_tasks(store: Store, inputs: Inputs, todo: Plan, state: StoreState) -> list[Task]:
    names = [change.source.name for change in todo.doubtful]
    hashes = store.read(lambda connection: image_records.file_hashes(connection, names))
    return make_tasks(todo, state, hashes, str(inputs.root))


def _process(
    tasks: Sequence[Task],
    writer: Writer,
    root: Path,
    counter: FileCounter,
    notes: RunNotes,
    executor: Executor,
    stop: Stop | None,
    progress: Progress | None,
) -> Counter[str]:
    """Measure images in the workers, write the results in this process, and count them."""
    counts = Counter[str]()
    percentile = writer.settings.background_percentile
    measure = partial(measure_source, root=root, background_percentile=percentile)
    results = executor.map(measure, tasks, stop=stop)
    for done, (task, result) in enumerate(results, 1):
        failpoint("image.result")
        measured = _as_failure(task, result) if isinstance(result, TaskFailure) else result
        counts += writer.write(measured, counter, notes)
        if progress:
            progress(done, len(tasks))
    return counts


def _as_failure(task: Task, failure: TaskFailure) -> Failure:
    """Make the failure of an image that no worker could finish."""
    source = task.source
    message = f"{source.name}: {failure.reason}"
    return Failure(source.name, source.files[0].uri, failure.code, message, source.files)


def _classes(store: Store | None, given: Classes | None) -> Classes:
    """Choose the classes that inputs are read with; None is a store that does not exist yet."""
    if store is None:
        return DEFAULT_CLASSES if given is None else given.validated()
    return store.read(lambda connection: choose_classes(connection, given))


def _as_layout(layout: Layout | Path | str) -> Layout:
    return layout if isinstance(layout, Layout) else Layout(Path(layout))
