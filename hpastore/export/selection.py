"""Which images and cells an export holds."""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from hpastore.clean.outdated import warn_if_outdated
from hpastore.errors import ExportError, UsageError
from hpastore.model import AnnotatedImage, Annotation
from hpastore.store import export_rows, read
from hpastore.store.clean_sets.rows import find_clean_set, newest_name
from hpastore.vocabulary import require_label

logger = logging.getLogger(__name__)

MULTILABEL: Final = ("expand", "skip", "multihot")

_CELLS_AT_ONCE: Final = 5000
"""Cells that are read by one statement: some 8 MB."""


@dataclass(frozen=True)
class Choice:
    """What to export.

    Parameters
    ----------
    clean : str, optional
        A clean set, ``NAME`` or ``NAME@VERSION``; without it, all cells with the labels of their
        image.
    labels : tuple of int
        Only images and cells of these labels; all if empty.
    multilabel : str
        What becomes of a cell with several labels: ``expand`` writes it once for each, ``skip``
        leaves out images with several labels, ``multihot`` writes it once with all.
    drop_empty : bool
        Whether images without a cell left are left out.
    allow_empty : bool
        Whether an export may hold no cell at all.
    split : str, optional
        Only images of this split.
    """

    clean: str | None = None
    labels: tuple[int, ...] = ()
    multilabel: str = "expand"
    drop_empty: bool = False
    allow_empty: bool = False
    split: str | None = None


class Chosen(NamedTuple):
    """A choice, looked up in the store."""

    choice: Choice
    clean_set: str | None
    """``NAME@VERSION``."""
    selection: export_rows.Selection


def look_up(connection: Connection, choice: Choice) -> Chosen:
    """Find the clean set, and check the rest of a choice.

    A warning says so where the clean set is older than what it was made from, or where all cells are chosen
    though there are clean sets.

    Raises
    ------
    NotFoundError
        If there is no such clean set.
    UsageError
        If a label, a split or a way with labels does not exist, or the clean set is limited to another
        split.
    """
    if choice.multilabel not in MULTILABEL:
        raise UsageError(
            f"no way {choice.multilabel!r} with several labels; there are {', '.join(MULTILABEL)}"
        )
    for label in choice.labels:
        require_label(label)
    read.require_split(connection, choice.split)
    labels = tuple(sorted(set(choice.labels)))
    selection = export_rows.Selection(None, labels, choice.multilabel == "skip", choice.split)
    if choice.clean is None:
        _warn_of_all_cells(connection)
        return Chosen(choice, None, selection)
    set_id, name, version = find_clean_set(connection, choice.clean, choice.split)
    warn_if_outdated(connection, set_id)
    return Chosen(choice, f"{name}@{version}", selection._replace(set_id=set_id))


def annotated_images(connection: Connection, chosen: Chosen) -> Generator[AnnotatedImage]:
    """Give the images of a choice by name, each with its cells by mask id.

    Parameters
    ----------
    connection
        In one reading transaction, so that all is of one state of the store.
    chosen : Chosen

    Notes
    -----
    Only the images' names and sizes are held, and some thousand cells.  One statement over
    all cells sorts their masks by name, which takes longer than all the rest.
    """
    expand = chosen.choice.multilabel != "multihot"
    images = export_rows.images(connection, chosen.selection)
    for part in _parts(images):
        cells = export_rows.annotated_cells(connection, chosen.selection, part)
        for image in part:
            annotations = cells.get(image.id, [])
            if annotations or not chosen.choice.drop_empty:
                annotations = _expanded(annotations) if expand else annotations
                yield AnnotatedImage(image.name, image.width, image.height, tuple(annotations))


def refuse_empty(out: Path, chosen: Chosen, annotations: int) -> None:
    """Refuse an export without a cell, unless the choice allows it.

    Raises
    ------
    ExportError
    """
    if not annotations and not chosen.choice.allow_empty:
        what = f"the clean set {chosen.clean_set}" if chosen.clean_set else "the store"
        raise ExportError(out, f"{what} has no cell of this choice; --allow-empty writes it all the same")


def _warn_of_all_cells(connection: Connection) -> None:
    newest = newest_name(connection)
    if newest is not None:
        logger.warning(
            "no clean set was asked for: all cells are written, also those that are not clean; "
            "--clean %s writes only clean ones",
            newest,
        )


def _parts(images: Sequence[Any]) -> Iterator[list[Any]]:
    """Cut images into parts of some `_CELLS_AT_ONCE` cells."""
    totals = accumulate(image.cell_count + 1 for image in images)
    for _, part in groupby(zip(totals, images, strict=True), key=lambda pair: pair[0] // _CELLS_AT_ONCE):
        yield [image for _, image in part]


def _expanded(cells: Iterable[Annotation]) -> list[Annotation]:
    return [
        cell if len(cell.labels) == 1 else Annotation(cell.mask_id, (label,), *cell[2:])
        for cell in cells
        for label in cell.labels
    ]
