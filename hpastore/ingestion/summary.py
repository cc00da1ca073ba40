"""What an ingest did, in numbers, and what it has to report about the images."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from hpastore.ingestion.file_counts import FileCounts
from hpastore.model import NO_FOREIGN_FILES, ForeignFiles, Note
from hpastore.text import count_text

logger = logging.getLogger(__name__)

_CHANGING: Final = ("new", "changed", "relabelled", "remeasured", "gone", "returned", "resplit")
"""Counts of changes after which clean sets may be outdated."""


class Move(NamedTuple):
    """A root that has moved to the one that was ingested."""

    root: str
    """Its path before."""
    images: int
    """Its images that were not gone."""


@dataclass(frozen=True)
class Summary:
    """What an ingest did.

    Parameters
    ----------
    new, changed, relabelled, remeasured, gone, unchanged, rejected
        Numbers of images: stored for the first time; replaced; with other labels or other values
        in the kept columns; whose stale numbers were computed again, or that lacked a custom
        measure; marked as gone or deleted; without any change; not stored.
    returned, resplit
        Numbers of images that were gone and are back, whatever else was done to them; that got
        their first split, or another if the user allowed it.
    cells, images_decoded
        Cells stored, and images read for them.
    seconds
        Wall time from the start of planning to the last commit.
    rejected_before
        How many of `rejected` the store listed already, with the same fault.
    files
        What became of every file.
    foreign
        Files whose names are not those of an image's files.
    moves
        Roots that have moved here.
    failed
        Images that still lack a custom measure, since it fails on them.
    """

    new: int = 0
    changed: int = 0
    relabelled: int = 0
    remeasured: int = 0
    gone: int = 0
    returned: int = 0
    resplit: int = 0
    unchanged: int = 0
    rejected: int = 0
    rejected_before: int = 0
    cells: int = 0
    images_decoded: int = 0
    seconds: float = 0.0
    files: FileCounts = field(
        default=FileCounts(0, 0, 0, MappingProxyType({}), MappingProxyType({})), compare=False
    )
    foreign: ForeignFiles = field(default=NO_FOREIGN_FILES, compare=False)
    moves: tuple[Move, ...] = field(default=(), compare=False)
    failed: int = field(default=0, compare=False)

    @property
    def changes_cells(self) -> bool:
        """Whether existing clean sets may be outdated now."""
        return any(getattr(self, name) for name in _CHANGING)


class RunNotes:
    """Remarks on the stored images of a run: one line for each kind, with its first image."""

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._first: dict[str, str] = {}
        self._replaced = 0
        self._verdicts = 0

    def add(self, name: str, notes: Iterable[Note]) -> None:
        """Add the notes of one image."""
        for note in notes:
            self._counts[note.code] += 1
            text = f"{name}: {note.text}"
            self._first[note.code] = min(text, self._first.get(note.code, text))

    def add_replaced(self, verdicts: int) -> None:
        """Add a replaced image, with the number of verdicts that clean sets have on its cells."""
        self._replaced += bool(verdicts)
        self._verdicts += verdicts

    def warn(self) -> None:
        """Log all notes."""
        if self._replaced:
            logger.warning(
                "%s in clean sets changed; the clean sets keep %s on the former cells, and "
                "'hpastore clean refresh' judges the new cells",
                count_text(self._replaced, "image"),
                count_text(self._verdicts, "verdict"),
            )
        for code, count in sorted(self._counts.items()):
            others = f" (and {count_text(count - 1, 'more image')})" if count > 1 else ""
            logger.warning("%s%s", self._first[code], others)
