"""What the store holds that a clean set does not know yet, found without ranks or thresholds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection, and_, case, exists, func, not_, or_, select
from sqlalchemy.orm import aliased

from hpastore.schema.tables import (
    Cell,
    CellOverride,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetFormer,
    Image,
    ImageLabel,
)
from hpastore.schema.views import IN_SPLIT, LIVE
from hpastore.store import measurement_settings

_OVERRIDDEN: Final = ("override_keep", "override_drop")


@dataclass(frozen=True)
class Newer:
    """What a refresh of a clean set would take in.

    Parameters
    ----------
    overrides
        Verdicts that somebody decided otherwise since, or whose decision was undone.
    came
        Images that are new, were replaced, or came back or into the split.
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
        """Whether there is anything."""
        return self != Newer()


def newer_than(connection: Connection, set_id: int) -> Newer:
    """Find what is newer than a clean set.

    Notes
    -----
    An image's cells are judged together, so that one cell of each stands for all: the images are compared
    as they are, and not by times that several machines may have set.
    """
    missing = {name: bool(judged) for name, judged in connection.execute(_missing(set_id))}
    surplus = {name: bool(stays) for name, stays in connection.execute(_surplus(set_id))}
    former = select(CleanSetFormer.image_name).where(CleanSetFormer.clean_set_id == set_id).distinct()
    came = {name for name, judged in missing.items() if not judged}
    left = {name for name, stays in surplus.items() if not stays}
    left |= set(connection.execute(former).scalars()) - came
    return Newer(
        _count(connection, _undone(set_id)) + _count(connection, _decided(set_id)),
        len(came),
        len(left),
        len((missing.keys() | surplus.keys()) - came - left),
        _remeasured(connection, set_id),
    )


def _first_cell() -> Any:
    first = select(Cell.id).where(Cell.image_id == Image.id).order_by(Cell.mask_id).limit(1)
    return first.correlate(Image.__table__).scalar_subquery()


def _in_scope() -> Any:
    return or_(CleanSet.scope == "all", Image.label_count == 1)


def _missing(set_id: int) -> Any:
    """Select images in the scope of a set without a verdict for one of their labels, and whether for any."""
    first = _first_cell()
    same = and_(CleanSetCell.clean_set_id == set_id, CleanSetCell.cell_id == first)
    for_label = exists().where(same, CleanSetCell.label_id == ImageLabel.label_id)
    judged = func.max(case((exists().where(same), 1), else_=0))
    rows = Image.__table__.join(CleanSet, CleanSet.id == set_id).join(
        ImageLabel, ImageLabel.image_id == Image.id
    )
    statement = select(Image.name, judged).select_from(rows)
    return statement.where(LIVE, IN_SPLIT, _in_scope(), Image.cell_count > 0, ~for_label).group_by(Image.name)


def _surplus(set_id: int) -> Any:
    """Select images with a verdict that a refresh would not give, and whether they are still there."""
    stays = and_(LIVE, IN_SPLIT)
    has_label = exists().where(ImageLabel.image_id == Image.id, ImageLabel.label_id == CleanSetCell.label_id)
    same = and_(CleanSetCell.clean_set_id == set_id, CleanSetCell.cell_id == _first_cell())
    rows = Image.__table__.join(CleanSet, CleanSet.id == set_id).outerjoin(CleanSetCell, same)
    # Outer, though verdicts are wanted: an inner join SQLite begins with all of the set's.
    statement = select(Image.name, func.max(case((stays, 1), else_=0))).select_from(rows)
    judged = CleanSetCell.cell_id.is_not(None)
    return statement.where(judged, not_(and_(stays, _in_scope(), has_label))).group_by(Image.name)


def _undone(set_id: int) -> Any:
    """Select verdicts by a decision that is not the one which holds now."""
    of_label, of_all = aliased(CellOverride), aliased(CellOverride)
    keep = func.coalesce(of_label.keep, of_all.keep)
    verdict = CleanSetCell
    rows = (
        verdict.__table__.join(Cell, Cell.id == verdict.cell_id)
        .join(Image, Image.id == Cell.image_id)
        .outerjoin(of_label, and_(of_label.cell_id == Cell.id, of_label.label_id == verdict.label_id))
        .outerjoin(of_all, and_(of_all.cell_id == Cell.id, of_all.label_id.is_(None)))
    )
    turned = or_(
        keep.is_(None),
        and_(keep, verdict.reason == "override_drop"),
        and_(~keep, verdict.reason == "override_keep"),
    )
    statement = select(verdict.cell_id, verdict.label_id).select_from(rows)
    return statement.where(LIVE, verdict.clean_set_id == set_id, verdict.reason.in_(_OVERRIDDEN), turned)


def _decided(set_id: int) -> Any:
    """Select verdicts by the rules on cells that somebody decided about."""
    verdict, decision = CleanSetCell, CellOverride
    same = and_(
        verdict.cell_id == decision.cell_id,
        verdict.clean_set_id == set_id,
        or_(decision.label_id.is_(None), decision.label_id == verdict.label_id),
    )
    rows = (
        decision.__table__.join(Cell, Cell.id == decision.cell_id)
        .join(Image, Image.id == Cell.image_id)
        .outerjoin(verdict, same)
    )
    by_rule = or_(verdict.reason.is_(None), verdict.reason.not_in(_OVERRIDDEN))
    statement = select(verdict.cell_id, verdict.label_id).select_from(rows)
    return statement.where(LIVE, verdict.cell_id.is_not(None), by_rule).distinct()


def _count(connection: Connection, statement: Any) -> int:
    return int(connection.execute(select(func.count()).select_from(statement.subquery())).scalar_one())


def _remeasured(connection: Connection, set_id: int) -> bool:
    asks = exists().where(CleanRule.clean_set_id == CleanSet.id, CleanRule.measure == "fraction")
    percentile = select(CleanSet.background_percentile).where(CleanSet.id == set_id, asks)
    before = connection.execute(percentile).scalar_one_or_none()
    settings = measurement_settings.current_settings(connection)
    return before is not None and settings is not None and before != settings.background_percentile
