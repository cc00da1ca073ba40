"""Which images and cells an export holds."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from hpastore.errors import ExportError, UsageError
from hpastore.model import AnnotatedImage, Annotation, require_label
from hpastore.store import read

MULTILABEL: Final = ("expand", "skip", "multihot")


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
    selection: read.Selection


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
    selection = read.Selection(None, tuple(sorted(set(choice.labels))), choice.multilabel == "skip")
    if choice.clean is None:
        return Chosen(choice, None, selection)
    set_id, name, version = read.find_clean_set(connection, choice.clean)
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
    Cells are streamed; only the images' names and sizes are held.
    """
    images = read.images(connection, chosen.selection)
    with closing(read.annotated_cells(connection, chosen.selection)) as rows:
        cells = groupby(rows, key=lambda row: row[0])
        name, group = next(cells, (None, iter(())))
        for image in images:
            annotations: tuple[Annotation, ...] = ()
            if name == image["name"]:
                annotations = tuple(_annotations(group, chosen.choice.multilabel))
                name, group = next(cells, (None, iter(())))
            if annotations or not chosen.choice.drop_empty:
                yield AnnotatedImage(**image, annotations=annotations)


def refuse_empty(out: Path, chosen: Chosen, annotations: int) -> None:
    """Refuse an export without a cell, unless the choice allows it.

    Raises
    ------
    ExportError
    """
    if not annotations and not chosen.choice.allow_empty:
        what = f"the clean set {chosen.clean_set}" if chosen.clean_set else "the store"
        raise ExportError(out, f"{what} has no cell of this choice; --allow-empty writes it all the same")


def _annotations(rows: Iterable[Any], multilabel: str) -> Iterator[Annotation]:
    for _, same in groupby(rows, key=lambda row: row[1]):
        of_cell = list(same)
        _, mask_id, _, *rest = of_cell[0]
        labels = tuple(row[2] for row in of_cell)
        for chosen in [labels] if multilabel == "multihot" else [(label,) for label in labels]:
            yield Annotation(mask_id, chosen, *rest)
