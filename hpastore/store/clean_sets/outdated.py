"""Data that are newer than a clean set, found without ranks or thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, case, exists, func, not_, or_, select, union
from sqlalchemy.orm import aliased

from hpastore.schema.clean_rows import OVERRIDE_REASONS
from hpastore.schema.conditions import IN_SPLIT, LIVE
from hpastore.schema.join_order import join_in_order
from hpastore.schema.labelled_cells import BY_CELL
from hpastore.schema.row_info import table_of
from hpastore.schema.tables import (
    Cell,
    CellLabel,
    CellOverride,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetFormer,
    Image,
    ImageLabel,
)
from hpastore.store import measurement_settings


@dataclass(frozen=True)
class NewerData:
    """Data that are newer than a clean set, which a refresh would use.

    Parameters
    ----------
    overrides
        Verdicts whose override was recorded, changed or undone since.
    came
        Images that are new, were replaced, or returned to their inputs or to the split.
    left
        Images that are gone or deleted, or left the split.
    relabelled
        Images with other labels.
    remeasured
        Whether fractions were computed again with another background percentile.
    """

    overrides: int = 0
    came: int = 0
    left: int = 0
    relabelled: int = 0
    remeasured: bool = False

    @property
    def any(self) -> bool:
        """Whether there are any."""
        return self != NewerData()


def newer_than(connection: Connection, set_id: int) -> NewerData:
    """Find what is newer than a clean set.

    Notes
    -----
    An image's cells are judged together, so that one cell of each stands for all; cells with labels
    of their own stand for themselves.  The images' states are compared, not times, which several
    machines may have set.
    """
    missing = {name: bool(judged) for name, judged in connection.execute(_missing(set_id))}
    surplus = {name: bool(stays) for name, stays in connection.execute(_surplus(set_id))}
    own = set(connection.execute(_own_labels(set_id)).scalars())
    archived = select(CleanSetFormer.image_name).where(CleanSetFormer.clean_set_id == set_id)

    came = {name for name, judged in missing.items() if not judged}
    left = {name for name, stays in surplus.items() if not stays}
    left |= set(connection.execute(archived.distinct()).scalars()) - came
    relabelled = (missing.keys() | surplus.keys() | own) - came - left
    overrides = _count(connection, _undone(set_id)) + _count(connection, _overridden_since(set_id))
    return NewerData(
        overrides=overrides,
        came=len(came),
        left=len(left),
        relabelled=len(relabelled),
        remeasured=_remeasured(connection, set_id),
    )


def _first_cell() -> Any:
    """The first cell of an image with its labels, so that each image is counted once."""
    of_image = (Cell.image_id == Image.id, Cell.label_count.is_(None))
    first = select(Cell.id).where(*of_image).order_by(Cell.mask_id).limit(1)
    return first.correlate(Image.__table__).scalar_subquery()


def _in_scope() -> Any:
    return or_(CleanSet.scope == "all", Image.label_count == 1)


def _missing(set_id: int) -> Any:
    """Select images that lack a verdict for one of their labels, and whether they have any."""
    same = and_(CleanSetCell.clean_set_id == set_id, CleanSetCell.cell_id == _first_cell())
    for_label = exists().where(same, CleanSetCell.label_id == ImageLabel.label_id)
    judged = func.max(case((exists().where(same), 1), else_=0))
    rows = Image.__table__.join(CleanSet, CleanSet.id == set_id)
    rows = rows.join(ImageLabel, ImageLabel.image_id == Image.id)
    statement = select(Image.name, judged).select_from(rows)
    statement = statement.where(LIVE, IN_SPLIT, _in_scope(), _first_cell().is_not(None), ~for_label)
    return statement.group_by(Image.name)


def _surplus(set_id: int) -> Any:
    """Select images with a verdict that a refresh would leave out, and whether they are there."""
    stays = and_(LIVE, IN_SPLIT)
    has_label = exists().where(
        ImageLabel.image_id == Image.id, ImageLabel.label_id == CleanSetCell.label_id
    )
    same = and_(CleanSetCell.clean_set_id == set_id, CleanSetCell.cell_id == _first_cell())
    # Outer, though a verdict is required: SQLite begins an inner join with all verdicts of the set.
    rows = Image.__table__.join(CleanSet, CleanSet.id == set_id).outerjoin(CleanSetCell, same)
    statement = select(Image.name, func.max(case((stays, 1), else_=0))).select_from(rows)
    judged = CleanSetCell.cell_id.is_not(None)
    statement = statement.where(judged, not_(and_(stays, _in_scope(), has_label)))
    return statement.group_by(Image.name)


def _own_labels(set_id: int) -> Any:
    """Select images with a cell whose own labels are not those that it was judged by."""
    in_set = and_(CleanSetCell.clean_set_id == set_id, CleanSetCell.cell_id == Cell.id)
    in_scope = or_(CleanSet.scope == "all", Cell.label_count == 1)
    judged = exists().where(in_set, CleanSetCell.label_id == CellLabel.label_id)
    rows = BY_CELL.rows.join(CleanSet, CleanSet.id == set_id)
    lacking = select(Image.name).select_from(rows).where(LIVE, IN_SPLIT, in_scope, ~judged)

    own = and_(CellLabel.cell_id == Cell.id, CellLabel.label_id == CleanSetCell.label_id)
    rows = (
        join_in_order(table_of(Cell), CleanSetCell, in_set)
        .join(Image)
        .join(CleanSet, CleanSet.id == set_id)
    )
    has_label = and_(in_scope, exists().where(own))
    too_many = select(Image.name).select_from(rows)
    too_many = too_many.where(LIVE, IN_SPLIT, Cell.label_count.is_not(None), not_(has_label))
    return union(lacking, too_many)


def _undone(set_id: int) -> Any:
    """Select verdicts by an override that was changed or undone since."""
    of_label = aliased(CellOverride)
    of_all = aliased(CellOverride)
    keep = func.coalesce(of_label.keep, of_all.keep)
    verdict = CleanSetCell
    rows = (
        verdict.__table__.join(Cell, Cell.id == verdict.cell_id)
        .join(Image, Image.id == Cell.image_id)
        .outerjoin(
            of_label, and_(of_label.cell_id == Cell.id, of_label.label_id == verdict.label_id)
        )
        .outerjoin(of_all, and_(of_all.cell_id == Cell.id, of_all.label_id.is_(None)))
    )
    differs = or_(
        keep.is_(None),
        and_(keep, verdict.reason == "override_drop"),
        and_(~keep, verdict.reason == "override_keep"),
    )
    statement = select(verdict.cell_id, verdict.label_id).select_from(rows)
    by_override = verdict.reason.in_(OVERRIDE_REASONS)
    return statement.where(LIVE, verdict.clean_set_id == set_id, by_override, differs)


def _overridden_since(set_id: int) -> Any:
    """Select verdicts by the rules on cells that have an override now."""
    verdict = CleanSetCell
    override = CellOverride
    same = and_(
        verdict.cell_id == override.cell_id,
        verdict.clean_set_id == set_id,
        or_(override.label_id.is_(None), override.label_id == verdict.label_id),
    )
    rows = (
        override.__table__.join(Cell, Cell.id == override.cell_id)
        .join(Image, Image.id == Cell.image_id)
        .outerjoin(verdict, same)
    )
    by_rule = or_(verdict.reason.is_(None), verdict.reason.not_in(OVERRIDE_REASONS))
    statement = select(verdict.cell_id, verdict.label_id).select_from(rows)
    return statement.where(LIVE, verdict.cell_id.is_not(None), by_rule).distinct()


def _count(connection: Connection, statement: Any) -> int:
    counted = select(func.count()).select_from(statement.subquery())
    return int(connection.execute(counted).scalar_one())


def _remeasured(connection: Connection, set_id: int) -> bool:
    """Whether a set has a rule on fractions, which have another background percentile now."""
    uses_fraction = exists().where(
        CleanRule.clean_set_id == CleanSet.id, CleanRule.measure == "fraction"
    )
    percentile = select(CleanSet.background_percentile).where(CleanSet.id == set_id, uses_fraction)
    before = connection.execute(percentile).scalar_one_or_none()
    settings = measurement_settings.current_settings(connection)
    if before is None or settings is None:
        return False
    return before != settings.background_percentile
