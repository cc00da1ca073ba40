"""The current bounds of all clean sets in one statement, for the view ``label_threshold``.

Context: percentiles need the order of all values, and sorting is what costs.  Rules name their
measure in a row, so that one statement for all of them would find each cell's value by a CASE over
all measures: a third of the time.  Decision: the statement has a part for each built-in measure,
which costs nothing where no rule asks for it.  Rules of several clean sets and versions that ask
for the same percentiles of the same cells are one question, which is answered once.
"""

from __future__ import annotations

from itertools import chain
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    and_,
    case,
    func,
    literal,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import aliased

from hpastore.schema.clean_rows import SIDES
from hpastore.schema.conditions import LIVE, rule_applies
from hpastore.schema.join_order import join_in_order
from hpastore.schema.measure_value import MeasureKey, built_in_values, is_few_valued
from hpastore.schema.percentile import (
    AnySelect,
    between,
    nearest,
    ranked,
    ranked_levels,
)
from hpastore.schema.tables import (
    Cell,
    CellLabel,
    CellMeasure,
    CleanRule,
    CleanSet,
    CleanSetThreshold,
    Image,
    ImageLabel,
    Label,
    Measure,
)
from hpastore.schema.types import REAL

Column = ColumnElement[Any]

_LABELS: Final = 2**31
"""More than any label's id, which has 31 bits."""

_SHARES: Final = tuple(f"{side}_percentile" for side in SIDES)


def label_threshold() -> AnySelect:
    """Select the bounds of every rule for every label, from the current cells.

    The bounds of a frozen set are those that it keeps.

    Returns
    -------
    Select
        ``clean_set_id, rule_id, clean_set, version, rule, label_id, label, measure, channel, n,
        lower, upper``; `rule` is the rule's position.
    """
    asked = questions()
    current = _found(asked).subquery("found")
    kept = aliased(CleanSetThreshold, name="kept")
    rows = (
        CleanRule.__table__.join(CleanSet, CleanSet.id == CleanRule.clean_set_id)
        .join(asked, asked.c.rule_id == CleanRule.id)
        .join(Label, Label.id == asked.c.label_id)
        .outerjoin(current, current.c.question == asked.c.question)
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
    return select(*columns).select_from(rows)


def questions() -> Any:
    """Select what each rule asks for each of its labels.

    Returns
    -------
    CTE
        ``rule_id, label_id, measure, channel, split, lower_percentile, upper_percentile``;
        ``question``, the number of the first rule and label that ask for the same of the same
        cells; and ``is_first``, whether this is the first one.
    """
    number = CleanRule.id * _LABELS + Label.id
    same = (CleanRule.measure, CleanRule.channel, CleanSet.split, Label.id)
    same += tuple(getattr(CleanRule, share) for share in _SHARES)
    first = func.min(number).over(partition_by=same)
    rows = CleanRule.__table__.join(CleanSet, CleanSet.id == CleanRule.clean_set_id)
    rows = rows.join(Label, rule_applies(Label.id))
    numbered = select(
        *(CleanRule.id.label("rule_id"), Label.id.label("label_id"), number.label("number")),
        *(CleanRule.measure, CleanRule.channel, CleanSet.split, first.label("question")),
        *(getattr(CleanRule, share) for share in _SHARES),
    ).select_from(rows)
    n = numbered.subquery("numbered")
    columns = (column for column in n.c if column.name != "number")
    return select(*columns, (n.c.number == n.c.question).label("is_first")).cte("asked")


def asked_values(asked: Any, *more: Column) -> CompoundSelect[Any]:
    """Select the values that answer each question, of cells with one label.

    Parameters
    ----------
    asked
        From `questions`.
    more
        Further columns of ``cell``.

    Returns
    -------
    CompoundSelect
        ``question``, the percentiles, `more`, ``value``.
    """
    parts = [_built_in(asked, key, value, *more) for key, value in built_in_values().items()]
    return union_all(*chain.from_iterable(parts), *_custom(asked, *more))


def _found(asked: Any) -> AnySelect:
    """Answer each question: ``question, n``, and what its percentiles lie between."""
    parts = []
    for key, value in built_in_values().items():
        values = union_all(*_built_in(asked, key, value)).subquery("of_measure")
        parts.append((ranked_levels if is_few_valued(key[0]) else ranked)(values, "question"))
    parts.append(ranked(union_all(*_custom(asked)).subquery("of_measure"), "question"))
    rows = union_all(*parts).subquery("ranked")
    shares: dict[str, Column] = {side: rows.c[f"{side}_percentile"] for side in SIDES}
    return nearest(rows, ["question"], {**shares, "median": literal(0.5, REAL)})


def _built_in(asked: Any, key: MeasureKey, value: Column, *more: Column) -> list[AnySelect]:
    measure, channel = key
    of_channel = asked.c.channel.is_(None) if channel is None else asked.c.channel == channel
    of_measure = and_(asked.c.measure == measure, of_channel)
    both = _single_cells(asked, asked)
    return [_values(asked, rows, value, *more).where(of_measure) for rows in both]


def _custom(asked: Any, *more: Column) -> list[AnySelect]:
    """Values of custom measures, which are rows."""
    of_channel = CellMeasure.channel == func.coalesce(asked.c.channel, "")
    of_custom = join_in_order(asked, Measure, Measure.name == asked.c.measure)
    of_cell = and_(CellMeasure.cell_id == Cell.id, CellMeasure.measure_id == Measure.id, of_channel)
    value = CellMeasure.__table__.c.value
    return [
        _values(asked, join_in_order(rows, CellMeasure, of_cell), value, *more)
        for rows in _single_cells(asked, of_custom)
    ]


def _single_cells(asked: Any, rows: FromClause) -> tuple[FromClause, FromClause]:
    """Join rows of questions with the cells of images with one label, but for those with labels of
    their own; and with these, if they have one.
    """
    by_image = join_in_order(rows, ImageLabel, ImageLabel.label_id == asked.c.label_id)
    is_single = and_(Image.id == ImageLabel.image_id, Image.label_count == 1)
    by_image = join_in_order(by_image, Image, and_(is_single, LIVE, _in_split(asked)))
    of_image = and_(Cell.image_id == Image.id, Cell.label_count.is_(None))

    by_cell = join_in_order(rows, CellLabel, CellLabel.label_id == asked.c.label_id)
    of_label = and_(Cell.id == CellLabel.cell_id, Cell.label_count == 1)
    by_cell = join_in_order(by_cell, Cell, of_label)
    of_cell = and_(Image.id == Cell.image_id, LIVE, _in_split(asked))
    return join_in_order(by_image, Cell, of_image), join_in_order(by_cell, Image, of_cell)


def _in_split(asked: Any) -> Column:
    return or_(asked.c.split.is_(None), asked.c.split == Image.split)


def _values(asked: Any, rows: FromClause, value: Column, *more: Column) -> AnySelect:
    shares = (asked.c[share] for share in _SHARES)
    statement = select(asked.c.question, *shares, *more, value.label("value")).select_from(rows)
    return statement.where(asked.c.is_first, value.is_not(None))


def _bound(found: FromClause, side: str) -> Column:
    """One side of a rule's bounds; what is taken from a label's cells needs enough of them."""
    of_median = getattr(CleanRule, f"{side}_median") * between(found, "median")
    taken = func.coalesce(between(found, side), of_median)
    enough = case((found.c.n >= CleanSet.min_cells, taken))
    return func.coalesce(enough, getattr(CleanRule, f"{side}_value"))
