"""Which images and cells an export holds."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from hpastore.arguments import require_choice
from hpastore.classes import Classes
from hpastore.clean.outdated import warn_if_outdated
from hpastore.errors import ExportError, UsageError
from hpastore.model import AnnotatedImage
from hpastore.store import export_rows, roots_and_splits
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.rows import find_clean_set, newest_name
from hpastore.vocabulary import Multilabel

logger = logging.getLogger(__name__)

_CELLS_AT_ONCE: Final = 5000
"""Number of cells that one statement reads: some 8 MB."""


@dataclass(frozen=True)
class ExportOptions:
    """What to export.

    Parameters
    ----------
    clean : str, optional
        A clean set, ``NAME`` or ``NAME@VERSION``; without it, all cells with the labels of their
        image.
    labels : tuple of int or str
        Only images and cells of these labels, given by id or name; all if empty.
    multilabel : str
        What becomes of a cell with several labels: ``expand`` writes it once for each, ``skip``
        leaves out images with several labels, ``multihot`` writes it once with all.
    drop_empty : bool
        Whether to leave out images that keep no cell.
    allow_empty : bool
        Whether an export without any cell may be written.
    split : str, optional
        Only images of this split.
    """

    clean: str | None = None
    labels: tuple[int | str, ...] = ()
    multilabel: Multilabel = "expand"
    drop_empty: bool = False
    allow_empty: bool = False
    split: str | None = None


class ResolvedOptions(NamedTuple):
    """Export options, checked and looked up in the store."""

    options: ExportOptions
    clean_set: str | None
    """``NAME@VERSION``."""
    selection: export_rows.Selection
    classes: Classes


def resolve_options(connection: Connection, options: ExportOptions) -> ResolvedOptions:
    """Find the clean set that options name, and check all other options.

    Warns if the clean set is outdated, or if all cells are exported although there are clean sets.

    Raises
    ------
    NotFoundError
        If there is no such clean set.
    UsageError
        If `multilabel`, a label or the split does not exist, or the clean set is limited to
        another split.
    """
    require_choice(options.multilabel, Multilabel, "multilabel")
    if isinstance(options.labels, str):  # its characters would be taken for labels
        raise UsageError(f"labels takes a tuple, such as ({options.labels!r},)")
    classes = read_classes(connection)
    labels = tuple(sorted({classes.find(label) for label in options.labels}))
    roots_and_splits.require_split(connection, options.split)
    selection = export_rows.Selection(None, labels, options.multilabel == "skip", options.split)
    if options.clean is None:
        _warn_of_all_cells(connection)
        return ResolvedOptions(options, None, selection, classes)
    found = find_clean_set(connection, options.clean, options.split)
    warn_if_outdated(connection, found.id)
    selection = selection._replace(set_id=found.id)
    return ResolvedOptions(options, found.versioned_name, selection, classes)


def annotated_images(
    connection: Connection, resolved: ResolvedOptions
) -> Generator[AnnotatedImage]:
    """Give the images to export by name, each with its cells by mask id.

    Parameters
    ----------
    connection
        In a reading transaction, so that everything shows one state of the store.
    resolved : ResolvedOptions

    Notes
    -----
    Memory holds the names and sizes of all images, and some thousand cells at a time.  One
    statement over all cells would sort their masks by name, which takes longer than all else.
    """
    images = export_rows.images(connection, resolved.selection)
    for part in _parts(images):
        cells = export_rows.annotated_cells(connection, resolved.selection, part, resolved.classes)
        channels = export_rows.image_channels(connection, part)
        for image in part:
            annotations = cells.get(image.id, ())
            if annotations or not resolved.options.drop_empty:
                size = (image.width, image.height)
                yield AnnotatedImage(image.name, *size, channels[image.id], annotations)


def refuse_empty(out: Path, resolved: ResolvedOptions, annotations: int) -> None:
    """Refuse an export without a cell, unless the options allow it.

    Raises
    ------
    ExportError
    """
    if not annotations and not resolved.options.allow_empty:
        what = f"the clean set {resolved.clean_set}" if resolved.clean_set else "the store"
        reason = f"{what} has no cell that matches the options; write it anyway with --allow-empty"
        raise ExportError(out, reason)


def _warn_of_all_cells(connection: Connection) -> None:
    newest = newest_name(connection)
    if newest is not None:
        logger.warning(
            "all cells are exported, also those that are not clean; to export only clean cells, "
            "add --clean %s",
            newest,
        )


def _parts(images: Sequence[Any]) -> Iterator[list[Any]]:
    """Divide images into parts of some `_CELLS_AT_ONCE` cells."""
    totals = accumulate(image.cell_count + 1 for image in images)
    numbered = zip(totals, images, strict=True)
    for _, part in groupby(numbered, key=lambda pair: pair[0] // _CELLS_AT_ONCE):
        yield [image for _, image in part]
