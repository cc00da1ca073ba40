"""What an ingest did, in numbers, and what it noticed."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, NamedTuple

from hpastore.ingestion.file_counts import FileCounts
from hpastore.model import NO_FOREIGN_FILES, ForeignFiles, Note

logger = logging.getLogger(__name__)

_CHANGING: Final = ("new", "changed", "relabelled", "remeasured", "gone", "returned", "resplit")
"""What makes the cells others than clean sets were made of."""


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
        Numbers of images: stored for the first time; replaced; with other labels; whose stale numbers were
        computed again, or that lacked a custom measure; marked as gone or pruned; as they were; not taken.
    returned, resplit
        Numbers of images that were gone and are back, whatever else was done to them, and that were given
        their first split, or another where that was allowed.
    cells, images_decoded
        Cells stored, and images read for them.
    seconds
        Wall time from the start of planning to the last commit.
    rejected_before
        How many of `rejected` the store listed already, with the same fault.
    files
        What became of every file.
    foreign
        Files in the folders that are no image's by their names.
    moves
        Roots that have moved here.
    failed
        Images that lack a custom measure still, since it fails on them.
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
    def other_cells(self) -> bool:
        """Whether clean sets that were made before would be others now."""
        return any(getattr(self, name) for name in _CHANGING)


class RunNotes:
    """What people should know of images that were stored: a line for each kind, however many there are."""

    def __init__(self) -> None:
        self._count = Counter[str]()
        self._first: dict[str, str] = {}
        self._replaced, self._verdicts = 0, 0

    def add(self, name: str, notes: Iterable[Note]) -> None:
        """Take the notes of one image."""
        for note in notes:
            self._count[note.code] += 1
            first = f"{name}: {note.text}"
            self._first[note.code] = min(first, self._first.get(note.code, first))

    def replaced(self, verdicts: int) -> None:
        """Take an image that was replaced, and how many verdicts clean sets had on its cells."""
        self._replaced += bool(verdicts)
        self._verdicts += verdicts

    def warn(self) -> None:
        """Log them."""
        if self._replaced:
            logger.warning(
                "%d judged images changed; clean sets keep their %d verdicts on the former cells, and judge "
                "the new ones with the next 'hpastore clean refresh'",
                *(self._replaced, self._verdicts),
            )
        for code, count in sorted(self._count.items()):
            more = f" (and {count - 1} more images)" if count > 1 else ""
            logger.warning("%s%s", self._first[code], more)
