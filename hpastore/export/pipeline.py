"""What all exports share: one snapshot of the store, whole files or none, and a manifest."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from sqlalchemy import Connection

from hpastore.errors import ExportError
from hpastore.export.manifest import (
    NAME,
    Counts,
    FingerprintedFile,
    Written,
    document,
    file_fingerprint,
    listed_files,
    manifest_path,
)
from hpastore.export.output import whole_export, whole_folder
from hpastore.export.selection import (
    ExportOptions,
    ResolvedOptions,
    annotated_images,
    refuse_empty,
    resolve_options,
)
from hpastore.model import AnnotatedImage, MeasurementSettings
from hpastore.runtime.executor import worker_count
from hpastore.runtime.gc import gc_paused
from hpastore.runtime.pool import map_in_order
from hpastore.store import measurement_settings
from hpastore.store.engine import Store

ReadRows = Callable[[Connection, ResolvedOptions], Generator[Any]]
"""Reads what one file holds, in the file's order."""

WriteRows = Callable[[BinaryIO, Iterable[Any], ResolvedOptions], Counts]
"""Writes rows to a file, from its beginning to its end, and counts them."""


class Snapshot(NamedTuple):
    """One state of the store, and what of it is exported."""

    connection: Connection
    resolved: ResolvedOptions
    settings: MeasurementSettings | None


class Task(Protocol):
    """One file to be written into a folder."""

    @property
    def file_name(self) -> str:
        """The file's name in the folder."""


class Problem(NamedTuple):
    """Why a file cannot be written."""

    path: Path
    """The input file at fault."""
    reason: str


@contextmanager
def snapshot(store: Store, options: ExportOptions) -> Iterator[Snapshot]:
    """Read the store in one transaction.

    Raises
    ------
    NotFoundError, UsageError
        If the options name something that does not exist.
    """
    with store.reading() as connection:
        resolved = resolve_options(connection, options)
        settings = measurement_settings.current_settings(connection)
        yield Snapshot(connection, resolved, settings)


def export_file(
    store: Store,
    out: Path,
    format_name: str,
    options: ExportOptions,
    format_options: Mapping[str, Any],
    write: WriteRows,
    *,
    rows: ReadRows = annotated_images,
    force: bool,
) -> Written:
    """Write one file of annotations and its manifest.

    Parameters
    ----------
    store : Store
    out : Path
    format_name : str
        For the manifest.
    options : ExportOptions
    format_options : mapping
        The options of this format alone, for the manifest.
    write : callable
    rows : callable
        Reads what `write` writes; by default images with their annotations.
    force : bool
        Whether an existing file is replaced.

    Raises
    ------
    ExportError
        If there is nothing to export, or the file exists or cannot be written.
    """
    with whole_export(out, force=force, store=store) as (temporary, temporary_manifest):
        with (
            snapshot(store, options) as (connection, resolved, settings),
            closing(rows(connection, resolved)) as found,
            gc_paused(),
            FingerprintedFile(temporary) as file,
        ):
            counts = write(file, found, resolved)
        refuse_empty(out, resolved, counts.annotations)
        files = {out.name: file.fingerprint()}
        manifest = document(format_name, format_options, resolved, settings, counts, files)
        temporary_manifest.write_bytes(manifest)
    return Written(out, manifest_path(out), *counts, files=1)


def export_folder(
    store: Store,
    out: Path,
    format_name: str,
    options: ExportOptions,
    format_options: Mapping[str, Any],
    plan: Callable[[Snapshot], tuple[Sequence[Task], Counts]],
    write: Callable[..., Problem | None],
    *,
    jobs: int | None,
    force: bool,
    progress: Callable[[int, int], None] | None,
) -> Written:
    """Write a folder of files with its manifest.

    Parameters
    ----------
    store : Store
    out : Path
    format_name : str
        For the manifest.
    options : ExportOptions
    format_options : mapping
        The options of this format alone, for the manifest.
    plan : callable
        Reads from a snapshot which files to write, and counts what they show.
    write : callable
        Called in a worker process as ``write(task, folder=folder)``; writes one of these files.
    jobs : int, optional
        Number of worker processes; by default one per core.
    force : bool
        Whether an existing folder is replaced.
    progress : callable, optional
        Called with (files written, files to write).

    Raises
    ------
    ExportError
        If there is nothing to export, an input cannot be read, or the folder exists or cannot be
        written.
    """
    with snapshot(store, options) as state:
        tasks, counts = plan(state)
    if not tasks:
        raise ExportError(out, "no image to export; ingest some, or choose others")
    with whole_folder(out, force=force, listed=listed_files, store=store) as temporary:
        write_task = partial(write, folder=temporary)
        problems = map_in_order(write_task, tasks, min(worker_count(jobs), len(tasks)))
        for done, problem in enumerate(problems, start=1):
            if problem:
                raise ExportError(problem.path, problem.reason)
            if progress:
                progress(done, len(tasks))
        files = {task.file_name: file_fingerprint(temporary / task.file_name) for task in tasks}
        manifest = document(
            format_name, format_options, state.resolved, state.settings, counts, files
        )
        (temporary / NAME).write_bytes(manifest)
    return Written(out, out / NAME, *counts, files=len(tasks))


class ImageCounter:
    """Counts images, cells and annotations while they are written, and notes missing channels.

    Parameters
    ----------
    multihot : bool
        Whether a cell is one annotation, however many labels it has.
    """

    def __init__(self, *, multihot: bool = False) -> None:
        self.counts = Counts()
        self.channels: dict[str, tuple[str, ...]] = {}
        """Those that each image has, by its name."""
        self._multihot = multihot

    def count(self, images: Iterable[AnnotatedImage]) -> Iterator[AnnotatedImage]:
        """Give the images on, one by one."""
        for image in images:
            cells = image.annotations
            annotations = len(cells) if self._multihot else sum(len(cell.labels) for cell in cells)
            self.channels[image.name] = image.channels
            before = self.counts
            self.counts = Counts(
                before.images + 1, before.cells + len(cells), before.annotations + annotations
            )
            yield image
