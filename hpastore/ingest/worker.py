"""One image in, its cells or its failure out; what a worker process does, which never sees the database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hpastore.errors import RejectedError
from hpastore.kernels.measure import measure
from hpastore.model import CHANNELS, Failure, FileRecord, Measured, Source, Touched
from hpastore.reading.files import read_file
from hpastore.reading.image import decode


class Task(NamedTuple):
    """One image to be looked at."""

    source: Source
    stored: Mapping[str, str]
    """SHA-256 of the files that are in the store, by role; empty for a new image."""


def measure_source(task: Task, root: Path, background_percentile: float) -> Measured | Touched | Failure:
    """Decode and measure one image, unless its bytes are those that are stored.

    Parameters
    ----------
    task : Task
    root : Path
        What its uris are relative to.
    background_percentile : float
        Share 0..1.

    Returns
    -------
    Measured, Touched or Failure
        A file that cannot be taken is a value; an error of the program is raised.
    """
    source = task.source
    try:
        files = _same_files(task, root)
        if files:
            return Touched(source, files)
        decoded = decode(source, root)
        cells = measure(decoded, background_percentile)
    except RejectedError as error:
        return Failure(source.name, _uri(error.path, root), error.code, str(error))
    except MemoryError:
        message = f"{source.name}: needs more memory than there is"
        return Failure(source.name, source.files[0].uri, "memory", message)
    height, width = decoded.channels[CHANNELS[0]].shape
    return Measured(source, decoded.files, width, height, decoded.bit_depth, cells)


def _same_files(task: Task, root: Path) -> tuple[FileRecord, ...]:
    """Read files until one differs from what is stored; all of them if none does, else none."""
    if {file.role for file in task.source.files} != set(task.stored):
        return ()
    same = []
    for file in task.source.files:
        _, record = read_file(root / file.uri, file.role, file.uri)
        if record.sha256 != task.stored[file.role]:
            return ()
        same.append(record)
    return tuple(same)


def _uri(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
