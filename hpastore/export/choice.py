"""Which images and cells an export holds."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from hpastore.errors import ExportError, UsageError
from hpastore.model import AnnotatedImage, Annotation, require_label
from hpastore.store import exports, sets

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
    """

    clean: str | None = None
    labels: tuple[int, ...] = ()
    multilabel: str = "expand"
    drop_empty: bool = False
    allow_empty: bool = False


class Chosen(NamedTuple):
    """A choice, looked up in the store."""

    choice: Choice
    clean_set: str | None
    """``NAME@VERSION``."""
    selection: exports.Selection


def look_up(connection: Connection, choice: Choice) -> Chosen:
    """Find the clean set, and check the rest of a choice.

    Raises
    ------
    NotFoundError
        If there is no such clean set.
    UsageError
        If a label or a way with labels does not exist.
    """
    if choice.multilabel not in MULTILABEL:
        raise UsageError(
            f"no way {choice.multilabel!r} with several labels; there are {', '.join(MULTILABEL)}"
        )
    for label in choice.labels:
        require_label(label)
    selection = exports.Selection(None, tuple(sorted(set(choice.labels))), choice.multilabel == "skip")
    if choice.clean is None:
        return Chosen(choice, None, selection)
    set_id, name, version = sets.find_clean_set(connection, choice.clean)
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
    images = exports.images(connection, chosen.selection)
    for part in _parts(images):
        cells = exports.annotated_cells(connection, chosen.selection, part)
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
