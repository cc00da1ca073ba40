"""What became of every file: none may be lost between the folder and the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hpastore.model import Failure, Inputs, Plan
from hpastore.text import count_text


@dataclass(frozen=True)
class FileCounts:
    """What became of the files whose names are those of an image's files.

    Parameters
    ----------
    seen
        Files in the folders.
    stored
        Files of images that were decoded and stored.
    unchanged
        Files of images that are stored with the same bytes.
    rejected
        Files of rejected images, by code; an image without files has none.
    orphans
        Files that belong to no image, by kind.
    left
        Files that were not processed, since the run was stopped.
    rows
        Rows of the table without an image.
    """

    seen: int
    stored: int
    unchanged: int
    rejected: Mapping[str, int]
    orphans: Mapping[str, int]
    left: int = 0
    rows: int = 0

    def __str__(self) -> str:
        rejected = sum(self.rejected.values())
        orphans = sum(self.orphans.values())
        parts = [
            f"{self.stored} stored",
            f"{self.unchanged} unchanged",
            f"{rejected} rejected{_details(self.rejected)}",
            f"{orphans} {'orphan' if orphans == 1 else 'orphans'}{_details(self.orphans)}",
        ]
        if self.left:
            parts.append(f"{self.left} not processed")
        text = f"{count_text(self.seen, 'file')} = {' + '.join(parts)}"
        if not self.rows:
            return text
        verb = "has" if self.rows == 1 else "have"
        return f"{text}; {count_text(self.rows, 'row')} of the table {verb} no image"


def _details(counts: Mapping[str, int]) -> str:
    if not counts:
        return ""
    return f" ({', '.join(f'{count} {name}' for name, count in sorted(counts.items()))})"


class FileCounter:
    """Counts files while the images' results come in.

    Parameters
    ----------
    inputs, todo
        What was found, and what planning decided without reading a file.
    """

    def __init__(self, inputs: Inputs, todo: Plan) -> None:
        self._seen = inputs.seen
        self._files = {source.name: len(source.files) for source in inputs.sources}
        self._files |= inputs.refused
        self._unchanged = todo.unchanged_files
        self._stored = 0
        self._rejected = Counter[str]()
        self._orphans = Counter[str]()
        self._rows = sum(orphan.kind == "label_without_image" for orphan in todo.orphans)

        self._waiting = {source.name for source in (*todo.new, *todo.unmeasured)}
        self._waiting |= {change.source.name for change in (*todo.changed, *todo.doubtful)}
        for orphan in todo.orphans:
            if orphan.files:
                self._orphans[orphan.kind] += orphan.files
        for failure in todo.rejected:
            if files := self._files[failure.image_name]:
                self._rejected[failure.code] += files

    def add_rejected(self, failure: Failure) -> None:
        """Count an image that was tried and rejected."""
        self._waiting.remove(failure.image_name)
        self._rejected[failure.code] += self._files[failure.image_name]

    def add_taken(self, name: str, *, stored: bool) -> None:
        """Count an image that was stored, or whose bytes are those that were stored before."""
        self._waiting.remove(name)
        if stored:
            self._stored += self._files[name]
        else:
            self._unchanged += self._files[name]

    def result(self) -> FileCounts:
        """Return the counts.

        Raises
        ------
        AssertionError
            If a file is not counted: the program is broken.
        """
        left = sum(self._files[name] for name in self._waiting)
        counts = FileCounts(
            self._seen,
            self._stored,
            self._unchanged,
            dict(self._rejected),
            dict(self._orphans),
            left,
            self._rows,
        )
        parts = (self._stored, self._unchanged, self._rejected.total(), self._orphans.total(), left)
        if sum(parts) != self._seen:
            raise AssertionError(f"file counts do not add up: {counts}")
        return counts
