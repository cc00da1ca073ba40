"""How far clean sets are from what they would be, were they made now."""

from __future__ import annotations

from dataclasses import dataclass

from hpastore.store import judging, stored_sets
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
    unjudged
        Cells, for each label, that are in its scope and that it has no verdict on.
    left
        Verdicts that would be no more: the image is gone, has other labels or left the set's split, or the
        cell is no more.
    cells
        Verdicts that it has on cells of now.
    """

    clean_set: str
    version: int
    frozen: bool
    labels: tuple[int, ...]
    flips: int
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
            return f"{name}: nothing would change"
        labels = f" ({', '.join(map(str, self.labels))})" if self.labels else ""
        moved = count_text(len(self.labels), "label")
        return (
            f"{name}: thresholds of {moved}{labels} would move, {self.flips:,} of "
            f"{self.cells:,} verdicts flip, {self.unjudged:,} cells are not judged yet, {self.left:,} judged "
            f"ones have left; 'hpastore clean refresh {self.clean_set}' makes a version of now"
        )


def drift(store: Store, name: str | None = None) -> list[Drift]:
    """Say what a refresh of clean sets would change; nothing is written.

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
        named = None if name is None else stored_sets.find_clean_set(connection, name)[0]
        ids = judging.newest(connection) if named is None else [named]
        found = []
        for set_id in ids:
            row, rules = (
                stored_sets.clean_set(connection, set_id),
                stored_sets.clean_rules(connection, set_id),
            )
            kept = stored_sets.clean_bounds(connection, set_id)
            now = kept if row["frozen"] else judging.bounds_of_now(connection, row, rules)
            labels = judging.moved(kept, now)
            counts = judging.compare_verdicts(connection, row, rules, now)
            found.append(Drift(row["name"], row["version"], bool(row["frozen"]), labels, *counts))
    return found
