"""What `create_clean_set` and `refresh_clean_set` report of a new version."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from hpastore.clean.limits import ForcedDrop, IdleRule, StandIn

SHARE_WARNING: Final = 0.1
"""A refresh warns of a label whose share of clean verdicts moved by more."""


@dataclass(frozen=True)
class CleanSetSummary:
    """A new version of a clean set.

    Parameters
    ----------
    name, version
        As in ``NAME@VERSION``.
    cells, clean
        Number of verdicts, and of those that are clean; a cell has one for each label it is judged
        against.
    emptied
        Number of images that lost all their cells for a label; each label of an image counts.
    split
        The split that it is limited to.
    idle
        Rules whose percentiles and medians bound nothing for a label, since it has too few cells.
    forced
        Percentiles that drop a label's lowest or highest cell, however good, since it has few
        cells.
    stand_ins
        Rules for whose labels, with too few cells, others stand in.
    flips
        What a refresh changed; empty for a set that was created.
    shares
        Labels whose share of clean verdicts a refresh moved by more than `SHARE_WARNING`.
    skipped_images, skipped_cells
        Images with several labels, and their cells, that are not judged since the scope is
        ``single``.
    superseded
        The version that the name meant before, if that is of another split or by other rules.
    """

    name: str
    version: int
    cells: int
    clean: int
    emptied: int = 0
    split: str | None = None
    idle: tuple[IdleRule, ...] = ()
    forced: tuple[ForcedDrop, ...] = ()
    stand_ins: tuple[StandIn, ...] = ()
    flips: tuple[Flips, ...] = ()
    shares: tuple[ShareMove, ...] = ()
    skipped_images: int = 0
    skipped_cells: int = 0
    superseded: Superseded | None = None


@dataclass(frozen=True)
class Superseded:
    """The version that a clean set's name meant before, and how it differs from the new one.

    Parameters
    ----------
    version
    split
        The split that it is limited to.
    other_split, other_rules
        Whether its split differs, and its rules, scope or limits.
    """

    version: int
    split: str | None
    other_split: bool
    other_rules: bool


@dataclass(frozen=True)
class Flips:
    """How many cells of a label a refresh made clean, or not clean any more, for one cause.

    Parameters
    ----------
    label_id, label
    change
        ``in`` or ``out``.
    cause
        One of `hpastore.CAUSES`.
    cells
    """

    label_id: int
    label: str
    change: str
    cause: str
    cells: int


@dataclass(frozen=True)
class ShareMove:
    """Share of a label's verdicts that are clean, 0..1, before and after a refresh."""

    label_id: int
    label: str
    before: float
    after: float
