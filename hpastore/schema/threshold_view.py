"""The current bounds of all clean sets in one statement, for the view ``label_threshold``."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, case, func, literal, literal_column, select
from sqlalchemy.orm import aliased

from hpastore.schema.clean_rows import SIDES
from hpastore.schema.conditions import IN_SPLIT, LIVE, rule_applies
from hpastore.schema.measure_value import named_value
from hpastore.schema.percentile import AnySelect, percentiles
from hpastore.schema.tables import (
    Cell,
    CleanRule,
    CleanSet,
    CleanSetThreshold,
    Image,
    ImageLabel,
    Label,
)
from hpastore.schema.types import REAL

Column = ColumnElement[Any]


def label_threshold(set_id: Any = None) -> AnySelect:
    """Select the bounds of every rule for every label, from the current cells.

    The bounds of a frozen set are those that it keeps.

    Parameters
    ----------
    set_id
        Only of this clean set.  A condition on the view would not do: the view takes the
        percentiles of all rules first.

    Returns
    -------
    Select
        ``clean_set_id, rule_id, clean_set, version, rule, label_id, label, measure, channel, n,
        lower, upper``; `rule` is the rule's position.
    """
    where = [] if set_id is None else [CleanRule.clean_set_id == set_id]
    shares: dict[str, Column] = {
        side: literal_column(f"ranked.{side}_percentile", REAL) for side in SIDES
    }
    values = rule_values(*where).subquery("rule_value")
    found = percentiles(values, ("rule_id", "label_id"), {**shares, "median": literal(0.5, REAL)})

    current = found.subquery("found")
    kept = aliased(CleanSetThreshold, name="kept")
    rows = (
        CleanRule.__table__.join(CleanSet, CleanSet.id == CleanRule.clean_set_id)
        .join(Label, rule_applies(Label.id))
        .outerjoin(current, and_(current.c.rule_id == CleanRule.id, current.c.label_id == Label.id))
        .outerjoin(
            kept, and_(CleanSet.frozen, kept.rule_id == CleanRule.id, kept.label_id == Label.id)
        )
    )
    bounds = [
        case((CleanSet.frozen, getattr(kept, side)), else_=_bound(current, side)).label(side)
        for side in SIDES
    ]
    columns = (
        CleanRule.clean_set_id,
        CleanRule.id.label("rule_id"),
        CleanSet.name.label("clean_set"),
        CleanSet.version,
        CleanRule.position.label("rule"),
        Label.id.label("label_id"),
        Label.name.label("label"),
        CleanRule.measure,
        CleanRule.channel,
        case((CleanSet.frozen, kept.n), else_=func.coalesce(current.c.n, 0)).label("n"),
        *bounds,
    )
    return select(*columns).select_from(rows).where(*where)


def rule_values(*where: Column) -> AnySelect:
    """One row per rule, of those chosen, and cell of a single-label image that has a value for it.

    Of a clean set that is limited to a split, only cells of images in this split.
    """
    value = named_value(CleanRule.measure, CleanRule.channel)
    single = and_(Image.id == ImageLabel.image_id, Image.label_count == 1, LIVE, IN_SPLIT)
    rows = (
        CleanRule.__table__.join(CleanSet, CleanSet.id == CleanRule.clean_set_id)
        .join(ImageLabel, rule_applies(ImageLabel.label_id))
        .join(Image, single)
        .join(Cell, Cell.image_id == Image.id)
    )
    return (
        select(
            CleanRule.id.label("rule_id"),
            CleanRule.lower_percentile,
            CleanRule.upper_percentile,
            ImageLabel.label_id,
            Cell.id.label("cell_id"),
            value.label("value"),
        )
        .select_from(rows)
        .where(value.is_not(None), *where)
    )


def _bound(found: FromClause, side: str) -> Column:
    """One side of a rule's bounds; what is taken from a label's cells needs enough of them."""
    taken = func.coalesce(found.c[side], getattr(CleanRule, f"{side}_median") * found.c.median)
    enough = case((found.c.n >= CleanSet.min_cells, taken))
    return func.coalesce(enough, getattr(CleanRule, f"{side}_value"))
