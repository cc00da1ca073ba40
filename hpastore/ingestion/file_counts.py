"""What became of every file: none may be lost between the folder and the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from hpastore.model import Failure, Inputs, Plan


@dataclass(frozen=True)
class FileCounts:
    """Where the files went that are an image's by their names.

    Parameters
    ----------
    seen
        Files in the folders.
    stored
        Files of images that were decoded and stored.
    unchanged
        Files of images that are in the store with the same bytes.
    rejected
        Files of rejected images, by code; a row without files has none.
    orphans
        Files that belong to no image, by kind.
    left
        Files that were not looked at, since the run was stopped.
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
        parts = [
            f"{self.stored} stored",
            f"{self.unchanged} unchanged",
            f"{sum(self.rejected.values())} rejected{_list(self.rejected)}",
            f"{sum(self.orphans.values())} orphans{_list(self.orphans)}",
        ]
        if self.left:
            parts.append(f"{self.left} not looked at")
        rows = f"; {self.rows} rows of the table have no image" if self.rows else ""
        return f"{self.seen} files = {' + '.join(parts)}{rows}"


def _list(counts: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{count} {name}' for name, count in sorted(counts.items()))})" if counts else ""


class FileCounter:
    """Counts files as the images' results come in.

    Parameters
    ----------
    found, todo
        What was seen, and what was decided by looking at the folders alone.
    """

    def __init__(self, found: Inputs, todo: Plan) -> None:
        self._seen = found.seen
        self._files = {source.name: len(source.files) for source in found.sources} | dict(found.refused)
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

    def reject(self, failure: Failure) -> None:
        """Count an image that was tried and cannot be taken."""
        self._waiting.remove(failure.image_name)
        self._rejected[failure.code] += self._files[failure.image_name]

    def take(self, name: str, *, stored: bool) -> None:
        """Count an image that was stored, or that turned out to be unchanged."""
        self._waiting.remove(name)
        if stored:
            self._stored += self._files[name]
        else:
            self._unchanged += self._files[name]

    def close(self) -> FileCounts:
        """Give the accounts.

        Raises
        ------
        AssertionError
            If a file is missing in them: the program is broken.
        """
        left = sum(self._files[name] for name in self._waiting)
        rejected, orphans = dict(self._rejected), dict(self._orphans)
        accounts = FileCounts(self._seen, self._stored, self._unchanged, rejected, orphans, left, self._rows)
        parts = (self._stored, self._unchanged, *rejected.values(), *orphans.values(), left)
        if sum(parts) != self._seen:
            raise AssertionError(f"accounts do not add up: {accounts}")
        return accounts
