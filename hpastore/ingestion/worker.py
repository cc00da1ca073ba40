"""One image in, its cells or its failure out; what a worker process does, which never sees the database."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from hpastore.errors import MeasureError, RejectedError
from hpastore.ingestion.plan import conflict
from hpastore.ingestion.quality import prepare_masks, quality_notes
from hpastore.kernels.image import measure
from hpastore.kernels.plugins import load_measures
from hpastore.model import DEFAULT_MASKS, Failure, FileRecord, MaskOptions, Measured, Source, Touched
from hpastore.reading.files import read_file
from hpastore.reading.image import decode
from hpastore.runtime.failpoints import failpoint
from hpastore.runtime.opencv import cv2
from hpastore.vocabulary import CHANNELS, ROLES


class Task(NamedTuple):
    """One image to be looked at."""

    source: Source
    stored: Mapping[str, str]
    """SHA-256 of the files that are in the store, by role; empty where that does not matter."""
    elsewhere: str | None = None
    """The root that the store has the image from, if that is another one."""
    outdated: bool = False
    """Whether its stored measures are of another version, or not all: it is measured, whatever its bytes."""
    masks: MaskOptions = DEFAULT_MASKS
    """How its masks are understood."""


def measure_source(task: Task, root: Path, background_percentile: float) -> Measured | Touched | Failure:
    """Decode and measure one image, unless its bytes are those that are stored and well measured.

    An image of another root is not taken: its bytes are those that are stored, or it is in the way.

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
    source, masks = task.source, task.masks
    users = load_measures()  # what is wrong with them is not the image's fault
    failpoint(f"measure.{source.name}")
    try:
        files, differing = compare(source, task.stored, root)
        if not differing and not task.outdated:
            return Touched(source, files)
        if differing and task.elsewhere is not None:
            return conflict(source, task.elsewhere)
        paths = {file.role: root / file.uri for file in source.files}
        prepared = prepare_masks(decode(source, root), masks, paths)
        decoded = prepared.decoded
        cells = measure(decoded, background_percentile, users)
        notes = quality_notes(prepared, cells, paths)
    except RejectedError as error:
        return Failure(source.name, _uri(error.path, root), error.code, str(error), source.files)
    except MeasureError as error:
        message = f"{source.name}: {error}; mend the measure, then hpastore retry"
        return Failure(source.name, source.files[0].uri, "measure", message, source.files)
    except (MemoryError, cv2.error) as error:
        if isinstance(error, cv2.error) and error.code != cv2.Error.StsNoMem:
            raise
        message = f"{source.name}: needs more memory than a worker may have; use fewer with -j"
        return Failure(source.name, source.files[0].uri, "memory", message, source.files)
    height, width = decoded.channels[CHANNELS[0]].shape
    return Measured(source, decoded.files, width, height, decoded.bit_depth, cells, masks, notes)


def compare(
    source: Source, stored: Mapping[str, str], root: Path
) -> tuple[tuple[FileRecord, ...], tuple[str, ...]]:
    """Read an image's files that the store has too, and see which are others.

    Parameters
    ----------
    source : Source
    stored : mapping of role to SHA-256
    root : Path

    Returns
    -------
    files, differing
        The files that were read, and the roles of those that came, went or have other bytes.

    Raises
    ------
    RejectedError
        If a file cannot be read.
    """
    files = tuple(
        read_file(root / file.uri, file.role, file.uri)[1] for file in source.files if file.role in stored
    )
    differing = {file.role for file in source.files} ^ set(stored)
    differing |= {file.role for file in files if file.sha256 != stored[file.role]}
    return files, tuple(role for role in ROLES if role in differing)


def _uri(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
