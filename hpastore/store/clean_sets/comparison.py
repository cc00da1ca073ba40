"""Compare the verdicts of a clean set with current ones, or with those of another clean set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import Connection, and_, case, func, or_, select
from sqlalchemy.orm import aliased

from hpastore.schema.clean_rows import OVERRIDE_REASONS, BoundRow, CleanSetRow, RuleRow
from hpastore.schema.tables import Cell, CleanSet, CleanSetCell, CleanSetFormer, Image
from hpastore.schema.verdict import judge_one_set
from hpastore.store.statements import batches

VerdictKey = tuple[str, int, int]
"""Image's name, mask id and label."""


class SetVerdict(NamedTuple):
    """The verdict of a clean set on a cell for a label."""

    clean: bool
    reason: str | None
    archived: bool
    """Whether its cell was deleted since, with its image or the image's mask."""


class RefreshChanges(NamedTuple):
    """How many verdicts a refresh of a clean set would change.

    Parameters
    ----------
    flips
        Verdicts that would turn, from clean to not clean or back.
    overridden
        Those of the flips that come from an override that was recorded, changed or undone.
    unjudged
        Verdicts that the set does not have yet.
    left
        Verdicts of the set that a refresh would not give any more.
    cells
        Verdicts of the set that a refresh would give again, flipped or not.
    """

    flips: int
    overridden: int
    unjudged: int
    left: int
    cells: int


class ImageHistory(NamedTuple):
    """When an image was ingested, relabelled and gone, and its current split."""

    ingested_at: datetime
    relabelled_at: datetime | None
    gone_at: datetime | None
    split: str | None


def newest_versions(connection: Connection) -> list[int]:
    """Read the keys of the newest versions of all clean sets, by name."""
    last = select(CleanSet.name, func.max(CleanSet.version).label("version"))
    newest = last.group_by(CleanSet.name).subquery("last")
    same = and_(newest.c.name == CleanSet.name, newest.c.version == CleanSet.version)
    statement = select(CleanSet.id).join(newest, same).order_by(CleanSet.name)
    return list(connection.execute(statement).scalars())


def moved_labels(kept: Iterable[BoundRow], current: Iterable[BoundRow]) -> tuple[int, ...]:
    """Find the labels of which a bound differs, ascending."""
    before = {(bound.rule_id, bound.label_id): (bound.lower, bound.upper) for bound in kept}
    moved = {
        bound.label_id
        for bound in current
        if before.get((bound.rule_id, bound.label_id)) != (bound.lower, bound.upper)
    }
    return tuple(sorted(moved))


def count_refresh_changes(
    connection: Connection,
    clean_set: CleanSetRow,
    rules: Sequence[RuleRow],
    bounds: Sequence[BoundRow],
) -> RefreshChanges:
    """Judge the current cells by the given bounds, and compare with the verdicts of a clean set."""
    current = judge_one_set(clean_set, rules, bounds).subquery("now")
    kept = aliased(CleanSetCell, name="kept")
    same = and_(
        kept.clean_set_id == clean_set.id,
        kept.cell_id == current.c.cell_id,
        kept.label_id == current.c.label_id,
    )
    flips = or_(and_(kept.clean, ~current.c.clean), and_(~kept.clean, current.c.clean))
    by_override = or_(kept.reason.in_(OVERRIDE_REASONS), current.c.reason.in_(OVERRIDE_REASONS))
    counts = select(
        func.count(case((flips, 1))),
        func.count(case((and_(flips, by_override), 1))),
        func.count().filter(kept.cell_id.is_(None)),
        func.count(kept.cell_id),
    ).select_from(current)
    row = connection.execute(counts.outerjoin(kept, same)).one()
    n_flips, n_overridden, n_unjudged, n_again = row

    left = _count_verdicts(connection, clean_set.id) - n_again
    return RefreshChanges(n_flips, n_overridden, n_unjudged, left, n_again)


def _count_verdicts(connection: Connection, set_id: int) -> int:
    """Count the verdicts of a clean set, archived ones too."""
    tables: tuple[Any, ...] = (CleanSetCell, CleanSetFormer)
    total = 0
    for table in tables:
        statement = select(func.count()).select_from(table).where(table.clean_set_id == set_id)
        total += connection.execute(statement).scalar_one()
    return total


def differing_verdicts(
    connection: Connection, a: int, b: int
) -> tuple[dict[VerdictKey, SetVerdict], dict[VerdictKey, SetVerdict]]:
    """Read the verdicts of two clean sets but for those on the same row of a cell that agree."""
    of_a = _archived_verdicts(connection, a) | _unlike_other_set(connection, a, b)
    of_b = _archived_verdicts(connection, b) | _unlike_other_set(connection, b, a)
    return of_a, of_b


def _archived_verdicts(connection: Connection, set_id: int) -> dict[VerdictKey, SetVerdict]:
    archived = CleanSetFormer
    statement = select(
        *(archived.image_name, archived.mask_id, archived.label_id),
        *(archived.clean, archived.reason),
    ).where(archived.clean_set_id == set_id)
    return {
        (name, mask_id, label): SetVerdict(clean, reason, archived=True)
        for name, mask_id, label, clean, reason in connection.execute(statement)
    }


def _unlike_other_set(
    connection: Connection, set_id: int, other_id: int
) -> dict[VerdictKey, SetVerdict]:
    """Read the verdicts of a set that another one does not have, or has with another result."""
    verdict = aliased(CleanSetCell, name="verdict")
    other = aliased(CleanSetCell, name="other")
    same = and_(
        other.clean_set_id == other_id,
        other.cell_id == verdict.cell_id,
        other.label_id == verdict.label_id,
    )
    differs = or_(
        other.cell_id.is_(None),
        and_(verdict.clean, ~other.clean),
        and_(~verdict.clean, other.clean),
    )
    statement = (
        select(Image.name, Cell.mask_id, verdict.label_id, verdict.clean, verdict.reason)
        .select_from(verdict)
        .join(Cell, Cell.id == verdict.cell_id)
        .join(Image)
        .outerjoin(other, same)
        .where(verdict.clean_set_id == set_id, differs)
    )
    return {
        (name, mask_id, label): SetVerdict(clean, reason, archived=False)
        for name, mask_id, label, clean, reason in connection.execute(statement)
    }


def judged_labels(connection: Connection, set_id: int, names: Iterable[str]) -> dict[str, set[int]]:
    """Read the labels for which a clean set has judged images, also in archived verdicts."""
    verdict, archived = CleanSetCell, CleanSetFormer
    of_cells = select(Image.name, verdict.label_id).select_from(verdict)
    of_cells = of_cells.join(Cell, Cell.id == verdict.cell_id).join(Image)
    of_cells = of_cells.where(verdict.clean_set_id == set_id)
    of_archived = select(archived.image_name, archived.label_id)
    of_archived = of_archived.where(archived.clean_set_id == set_id)

    found: dict[str, set[int]] = {}
    for part in batches(sorted(names)):
        for statement in (
            of_cells.where(Image.name.in_(part)),
            of_archived.where(archived.image_name.in_(part)),
        ):
            for name, label in connection.execute(statement.distinct()):
                found.setdefault(name, set()).add(label)
    return found


def image_histories(connection: Connection, names: Iterable[str]) -> Mapping[str, ImageHistory]:
    """Read the histories of images by name; a deleted image is left out."""
    columns = (Image.ingested_at, Image.relabelled_at, Image.gone_at, Image.split)
    found: dict[str, ImageHistory] = {}
    for part in batches(sorted(names)):
        statement = select(Image.name, *columns).where(Image.name.in_(part))
        found |= {row.name: ImageHistory(*row[1:]) for row in connection.execute(statement)}
    return found
