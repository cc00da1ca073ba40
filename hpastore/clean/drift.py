"""How far clean sets are from what a refresh would make of them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from hpastore.classes import Classes
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.bounds import current_bounds
from hpastore.store.clean_sets.comparison import (
    count_refresh_changes,
    moved_labels,
    newest_versions,
)
from hpastore.store.clean_sets.rows import find_clean_set, read_bounds, read_clean_set, read_rules
from hpastore.store.engine import Store
from hpastore.text import count_text


@dataclass(frozen=True)
class Drift:
    """What a refresh of a clean set would change.

    Parameters
    ----------
    clean_set, version
        The newest version of its name.
    frozen
        Whether its thresholds stay as they are.
    labels
        Labels of which a bound would move, ascending.
    flips
        Verdicts that would turn, from clean to not clean or back.
    overridden
        Those of the flips that come from an override that was recorded, changed or undone since.
    unjudged
        Cells, for each label, that are in the set's scope and have no verdict yet.
    left
        Verdicts that a refresh would leave out: the cell or its image was deleted, or the image is
        gone, has other labels or left the set's split.
    cells
        Verdicts of the set that a refresh would give again, flipped or not.
    """

    clean_set: str
    version: int
    frozen: bool
    labels: tuple[int, ...]
    flips: int
    overridden: int
    unjudged: int
    left: int
    cells: int

    @property
    def any(self) -> bool:
        """Whether a refresh would change anything."""
        return bool(self.labels or self.flips or self.unjudged or self.left)

    def __str__(self) -> str:
        name = f"clean set {self.clean_set}@{self.version}"
        if not self.any:
            return f"{name}: a refresh would change nothing"
        *first, last = self._changes()
        changes = f"{', '.join(first)} and {last}" if first else last
        return f"{name}: a refresh would {changes}; run 'hpastore clean refresh {self.clean_set}'"

    def _changes(self) -> list[str]:
        """What a refresh would do, each after "would"."""
        changes = []
        if self.labels:
            labels = ", ".join(map(str, self.labels))
            noun = "label" if len(self.labels) == 1 else "labels"
            changes.append(f"move the thresholds of {noun} {labels}")
        if self.flips:
            cause = f" ({self.overridden:,} because of overrides)" if self.overridden else ""
            changes.append(f"flip {self.flips:,} of {count_text(self.cells, 'verdict')}{cause}")
        if self.unjudged:
            changes.append(f"judge {count_text(self.unjudged, 'new cell')}")
        if self.left:
            changes.append(f"leave out {count_text(self.left, 'verdict')} on cells that left")
        return changes


def drift(store: Store, name: str | None = None) -> list[Drift]:
    """Find what a refresh of clean sets would change; nothing is written.

    Parameters
    ----------
    store : Store
    name : str, optional
        Only this clean set, ``NAME`` or ``NAME@VERSION``; else the newest version of each name.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        named = None if name is None else find_clean_set(connection, name)
        ids = newest_versions(connection) if named is None else [named.id]
        classes = read_classes(connection)
        return [_drift(connection, set_id, classes) for set_id in ids]


def _drift(connection: Connection, set_id: int, classes: Classes) -> Drift:
    row = read_clean_set(connection, set_id)
    rules = read_rules(connection, set_id, classes)
    kept = read_bounds(connection, set_id, classes)
    bounds = kept if row.frozen else current_bounds(connection, row, rules)
    changes = count_refresh_changes(connection, row, rules, bounds)
    return Drift(
        clean_set=row.name,
        version=row.version,
        frozen=bool(row.frozen),
        labels=moved_labels(kept, bounds),
        flips=changes.flips,
        overridden=changes.overridden,
        unjudged=changes.unjudged,
        left=changes.left,
        cells=changes.cells,
    )
