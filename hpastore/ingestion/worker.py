"""Decode and measure one image: what a worker process does; it never sees the database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from hpastore.errors import MeasureError, RejectedError
from hpastore.ingestion.failures import conflict
from hpastore.ingestion.quality import prepare_masks, quality_notes
from hpastore.kernels.custom import CustomMeasure
from hpastore.kernels.image import measure
from hpastore.kernels.plugins import load_measures
from hpastore.model import (
    DEFAULT_MASKS,
    Failure,
    FileRecord,
    MaskOptions,
    Measured,
    Source,
    Touched,
)
from hpastore.reading.files import read_file
from hpastore.reading.image import decode
from hpastore.runtime.failpoints import failpoint
from hpastore.runtime.opencv import cv2
from hpastore.vocabulary import CHANNELS, ROLES


class Task(NamedTuple):
    """One image to decode, or to compare with the store."""

    source: Source
    stored: Mapping[str, str]
    """SHA-256 of its stored files by role; empty if the image is decoded whatever its bytes."""
    other_root: str | None = None
    """The other root that the store has the image from, if any."""
    outdated: bool = False
    """Whether its stored numbers are outdated or incomplete: it is measured, whatever its bytes."""
    masks: MaskOptions = DEFAULT_MASKS
    """How its masks are read."""


def measure_source(
    task: Task, root: Path, background_percentile: float
) -> Measured | Touched | Failure:
    """Decode and measure one image, unless its stored bytes and numbers are up to date.

    An image that is stored from another root has the same bytes there, or is a conflict.

    Parameters
    ----------
    task : Task
    root : Path
        The folder that the image's uris are relative to.
    background_percentile : float
        Share 0..1.

    Returns
    -------
    Measured, Touched or Failure
        A file that cannot be used is a value; an error of the program is raised.
    """
    source = task.source
    measures = load_measures()  # outside of the try: an error here is not the image's fault
    failpoint(f"measure.{source.name}")
    try:
        files, differing = compare_files(source, task.stored, root)
        if not differing and not task.outdated:
            return Touched(source, files)
        if differing and task.other_root is not None:
            return conflict(source, task.other_root)
        return _measure(task, root, background_percentile, measures)
    except RejectedError as error:
        return Failure(source.name, _uri(error.path, root), error.code, str(error), source.files)
    except MeasureError as error:
        message = f"{source.name}: {error}; fix the measure, then run hpastore retry"
        return Failure(source.name, source.files[0].uri, "measure", message, source.files)
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        message = (
            f"{source.name}: needs more memory than a worker may use; use fewer workers with -j"
        )
        return Failure(source.name, source.files[0].uri, "memory", message, source.files)


def _measure(
    task: Task, root: Path, background_percentile: float, measures: Sequence[CustomMeasure]
) -> Measured:
    source = task.source
    paths = {file.role: root / file.uri for file in source.files}
    prepared = prepare_masks(decode(source, root), task.masks, paths)
    decoded = prepared.decoded
    cells = measure(decoded, background_percentile, measures)
    notes = quality_notes(prepared, cells, paths)
    height, width = decoded.channels[CHANNELS[0]].shape
    return Measured(
        source, decoded.files, width, height, decoded.bit_depth, cells, task.masks, notes
    )


def compare_files(
    source: Source, stored: Mapping[str, str], root: Path
) -> tuple[tuple[FileRecord, ...], tuple[str, ...]]:
    """Read the files of an image that are stored too, and find those that differ.

    Parameters
    ----------
    source : Source
    stored : mapping of role to SHA-256
    root : Path

    Returns
    -------
    files, differing
        The files that were read, and the roles of those that were added, were removed or differ.

    Raises
    ------
    RejectedError
        If a file cannot be read.
    """
    files = tuple(
        read_file(root / file.uri, file.role, file.uri)[1]
        for file in source.files
        if file.role in stored
    )
    differing = {file.role for file in source.files} ^ set(stored)
    differing |= {file.role for file in files if file.sha256 != stored[file.role]}
    return files, tuple(role for role in ROLES if role in differing)


def _uri(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
