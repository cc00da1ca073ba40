"""The current bounds of all clean sets in one statement, for the view ``label_threshold``.

Context: percentiles need the order of all values, and sorting is what costs.  Rules name their
measure in a row, so that one statement for all of them would find each cell's value by a CASE over
all measures: a third of the time.  A part for each measure makes a view that takes SQLite seconds
to compile.  Decision: the statement has a part for each block of measures, which are numbered; it
costs nothing where no rule asks for them.  Rules of several clean sets and versions that ask
for the same percentiles of the same cells are one question, which is answered once.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    and_,
    case,
    cast,
    exists,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    union_all,
)
from sqlalchemy.orm import aliased

from hpastore.schema.clean_rows import SIDES
from hpastore.schema.conditions import LIVE, rule_applies
from hpastore.schema.groups import is_in_group
from hpastore.schema.join_order import join_in_order
from hpastore.schema.measure_value import (
    MeasureKey,
    built_in_values,
    is_few_valued,
    named_value,
)
from hpastore.schema.percentile import (
    AnySelect,
    between,
    nearest,
    ranked,
    ranked_levels,
)
from hpastore.schema.row_info import table_of
from hpastore.schema.tables import (
    Cell,
    CellLabel,
    CellMeasure,
    CleanRule,
    CleanSet,
    CleanSetThreshold,
    Image,
    ImageColumn,
    ImageLabel,
    Label,
    Measure,
)
from hpastore.schema.types import REAL, TEXT

Column = ColumnElement[Any]

_BLOCK: Final = 16
"""Measures of a block."""

_SHARES: Final = tuple(f"{side}_percentile" for side in SIDES)


def label_threshold() -> AnySelect:
    """Select the bounds of every rule for every label, from the current cells.

    The bounds of a frozen set are those that it keeps.

    Returns
    -------
    Select
        ``clean_set_id, rule_id, clean_set, version, rule, label_id, label, grouped_by,
        group_value, measure, channel, n, lower, upper, stand_in``; `rule` is the rule's position.
    """
    asked = questions()
    found = _found(asked).cte("found")
    of_label, of_all = aliased(found, name="of_label"), aliased(found, name="of_all")
    all_labels = aliased(asked, name="all_labels")
    kept = aliased(CleanSetThreshold, name="kept")
    instead = and_(
        all_labels.c.rule_id == CleanRule.id,
        all_labels.c.label_id == Label.id,
        all_labels.c.pooled == 1,
    )
    rows = (
        CleanRule.__table__.join(CleanSet, CleanSet.id == CleanRule.clean_set_id)
        .join(asked, and_(asked.c.rule_id == CleanRule.id, asked.c.pooled == 0))
        .join(Label, Label.id == asked.c.label_id)
        .outerjoin(of_label, of_label.c.question == asked.c.question)
        .outerjoin(all_labels, instead)
        .outerjoin(of_all, of_all.c.question == all_labels.c.question)
        .outerjoin(
            kept, and_(CleanSet.frozen, kept.rule_id == CleanRule.id, kept.label_id == Label.id)
        )
    )
    n = func.coalesce(of_label.c.n, 0)
    current: dict[str, Column] = {"n": n}
    current |= {side: _bound(of_label, of_all, side) for side in SIDES}
    current["stand_in"] = _stand_in(n, of_all)
    either = {
        name: case((CleanSet.frozen, getattr(kept, name)), else_=now).label(name)
        for name, now in current.items()
    }
    columns = (
        CleanRule.clean_set_id,
        CleanRule.id.label("rule_id"),
        CleanSet.name.label("clean_set"),
        CleanSet.version,
        CleanRule.position.label("rule"),
        Label.id.label("label_id"),
        Label.name.label("label"),
        CleanRule.grouped_by,
        CleanRule.group_value,
        CleanRule.measure,
        CleanRule.channel,
        *either.values(),
    )
    return select(*columns).select_from(rows)


def questions(*, pooled: bool = True) -> Any:
    """Select what each rule asks for each of its labels, and for all labels together.

    Parameters
    ----------
    pooled
        Whether to ask about all labels together, too.

    Returns
    -------
    CTE
        ``rule_id, label_id, grouped_by, group_value, measure, channel, split, lower_percentile,
        upper_percentile``; ``in_order``, 1 where a percentile or median is asked for; ``pooled``, 1
        for what is asked about all labels together, of which there is a row for each label;
        ``question``, the same number for what asks for the same of the same cells; and
        ``is_first``, whether this is the first of these rows about this label.
    """
    of_label = CleanRule.__table__.join(CleanSet, CleanSet.id == CleanRule.clean_set_id)
    parts = [_asked(of_label.join(Label, rule_applies(Label.id)), 0)]
    if pooled:
        of_all = of_label.join(Label, and_(CleanSet.small_labels == "all", _is_from_cells()))
        parts.append(_asked(of_all, 1))
    a = union_all(*parts).subquery("each")
    label = case((a.c.pooled == 0, a.c.label_id))
    same: tuple[Column, ...] = (
        a.c.pooled,
        label,
        a.c.measure,
        a.c.channel,
        a.c.split,
        a.c.in_order,
    )
    same += (a.c.grouped_by, a.c.group_value, *(a.c[share] for share in _SHARES))
    numbered = select(*a.c, func.dense_rank().over(order_by=same).label("question"))
    q = numbered.subquery("numbered")
    about = (q.c.question, q.c.label_id)
    first = func.row_number().over(partition_by=about, order_by=q.c.rule_id) == 1
    return select(*q.c, first.label("is_first")).cte("asked")


def _asked(rows: FromClause, pooled: int) -> AnySelect:
    return select(
        *(CleanRule.id.label("rule_id"), Label.id.label("label_id")),
        *(CleanRule.grouped_by, CleanRule.group_value),
        *(CleanRule.measure, CleanRule.channel, CleanSet.split),
        _number_of_measure(CleanRule.measure, CleanRule.channel).label("measure_number"),
        *(getattr(CleanRule, share) for share in _SHARES),
        literal_column(str(pooled)).label("pooled"),
        case((_is_from_cells(), 1), else_=0).label("in_order"),
    ).select_from(rows)


def _is_from_cells() -> Column:
    """Whether a rule has a percentile or a median of a label's cells."""
    kinds = (f"{side}_{kind}" for side in SIDES for kind in ("percentile", "median"))
    return or_(*(getattr(CleanRule, kind).is_not(None) for kind in kinds))


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
    parts = [_built_in(asked, block, *more) for block in _blocks()]
    return union_all(*chain.from_iterable(parts), *_custom(asked, *more), *_grouped(asked, *more))


def _found(asked: Any) -> AnySelect:
    """Answer each question: ``question, n``, and what its percentiles lie between."""
    parts = []
    for place, block in enumerate(_blocks()):
        values = union_all(*_built_in(asked, block))
        few_valued = all(is_few_valued(measure) for measure, _ in block.values())
        parts += _ranked(values, f"values_{place}", by_level=few_valued)
    for others, name in ((_custom(asked), "custom_values"), (_grouped(asked), "grouped_values")):
        parts += _ranked(union_all(*others), name)
    rows = union_all(*parts).subquery("ranked")
    shares: dict[str, Column] = {side: rows.c[f"{side}_percentile"] for side in SIDES}
    return nearest(rows, ["question"], {**shares, "median": literal(0.5, REAL)})


def _ranked(values: CompoundSelect[Any], name: str, *, by_level: bool = False) -> list[AnySelect]:
    """Number the values of questions that need their order, and count the others, in a third of the
    time.

    Named once, the values are read twice; kept in between, they would take longer.
    """
    named = values.cte(name).prefix_with("NOT MATERIALIZED")
    in_order = select(named).where(named.c.in_order == 1).subquery("in_order")
    groups = [named.c.question, *(named.c[share] for share in _SHARES), named.c.in_order]
    zero: Column = literal_column("0")
    counted: AnySelect = select(
        *groups, cast(null(), REAL), zero, zero, func.count(named.c.value)
    ).where(named.c.in_order == 0)
    return [
        (ranked_levels if by_level else ranked)(in_order, "question"),
        counted.group_by(*groups),
    ]


def _blocks() -> list[dict[int, MeasureKey]]:
    """Number the built-in measures, those of few values first, and cut them into blocks."""
    keys = sorted(built_in_values(), key=lambda key: not is_few_valued(key[0]))
    few_valued = sum(is_few_valued(measure) for measure, _ in keys)
    numbered = list(enumerate(keys))
    parts = (numbered[:few_valued], numbered[few_valued:])
    return [dict(p[i : i + _BLOCK]) for p in parts for i in range(0, len(p), _BLOCK)]


def _number_of_measure(measure: Any, channel: Any) -> Column:
    """The number of a built-in measure by `_blocks`; NULL for others."""
    whens: list[tuple[Column, int]] = []
    for block in _blocks():
        for number, (name, of_channel) in block.items():
            same = channel.is_(None) if of_channel is None else channel == of_channel
            whens.append((and_(measure == name, same), number))
    return case(*whens)


def _built_in(asked: Any, block: Mapping[int, MeasureKey], *more: Column) -> list[AnySelect]:
    values = built_in_values()
    number = asked.c.measure_number
    value = case({n: values[key] for n, key in block.items()}, value=number)
    in_block = and_(number.between(min(block), max(block)), asked.c.grouped_by.is_(None))
    both = _single_cells(asked, asked)
    return [_values(asked, rows, value, *more).where(in_block) for rows in both]


def _custom(asked: Any, *more: Column) -> list[AnySelect]:
    """Values of custom measures, which are rows."""
    of_channel = CellMeasure.channel == func.coalesce(asked.c.channel, "")
    of_custom = join_in_order(
        asked, Measure, and_(Measure.name == asked.c.measure, asked.c.grouped_by.is_(None))
    )
    of_cell = and_(CellMeasure.cell_id == Cell.id, CellMeasure.measure_id == Measure.id, of_channel)
    value = CellMeasure.__table__.c.value
    return [
        _values(asked, join_in_order(rows, CellMeasure, of_cell), value, *more)
        for rows in _single_cells(asked, of_custom)
    ]


def _grouped(asked: Any, *more: Column) -> list[AnySelect]:
    """Values of the measures of rules that group the images.

    The rules of a group are found by what the label table says of each image, of which there are
    many; those for the images in no group look at all images.
    """
    value = named_value(asked.c.measure, asked.c.channel)
    of_group = exists().where(CleanRule.grouped_by.is_not(None))
    others = and_(
        asked.c.grouped_by.is_not(None), asked.c.group_value.is_(None), is_in_group(asked.c)
    )
    return [
        *(_values(asked, rows, value, *more).where(of_group) for rows in _grouped_cells(asked)),
        *(_values(asked, rows, value, *more).where(others) for rows in _single_cells(asked, asked)),
    ]


def _grouped_cells(asked: Any) -> tuple[FromClause, FromClause]:
    """Join the cells that `_single_cells` joins with the questions about their group."""
    column = table_of(ImageColumn)
    of_image = and_(Image.id == column.c.image_id, LIVE)
    of_group = and_(
        asked.c.grouped_by == column.c.name,
        asked.c.group_value == column.c.value,
        _in_split(asked),
    )
    single = and_(of_image, Image.label_count == 1)
    by_image = join_in_order(column, Image, single)
    by_image = join_in_order(by_image, ImageLabel, ImageLabel.image_id == Image.id)
    by_image = join_in_order(
        by_image, asked, and_(of_group, asked.c.label_id == ImageLabel.label_id)
    )
    by_image = join_in_order(
        by_image, Cell, and_(Cell.image_id == Image.id, Cell.label_count.is_(None))
    )
    own = join_in_order(
        table_of(CellLabel), Cell, and_(Cell.id == CellLabel.cell_id, Cell.label_count == 1)
    )
    own = join_in_order(own, Image, and_(Image.id == Cell.image_id, LIVE))
    own = join_in_order(own, column, column.c.image_id == Image.id)
    own = join_in_order(own, asked, and_(of_group, asked.c.label_id == CellLabel.label_id))
    return by_image, own


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
    about = (asked.c.question, *(asked.c[share] for share in _SHARES), asked.c.in_order)
    statement = select(*about, *more, value.label("value")).select_from(rows)
    return statement.where(asked.c.is_first, value.is_not(None))


def _bound(of_label: Any, of_all: Any, side: str) -> Column:
    """One side of a rule's bounds; what is taken from cells needs enough of them."""
    enough = [
        case((found.c.n >= CleanSet.min_cells, _taken(found, side))) for found in (of_label, of_all)
    ]
    return func.coalesce(*enough, getattr(CleanRule, f"{side}_value"))


def _taken(found: FromClause, side: str) -> Column:
    """A percentile, or a multiple of the median."""
    of_median = getattr(CleanRule, f"{side}_median") * between(found, "median")
    return func.coalesce(between(found, side), of_median)


def _stand_in(n: Column, of_all: Any) -> Column:
    """What stands in for the label, if it has too few cells."""
    needed = case((CleanSet.min_cells > 1, CleanSet.min_cells), else_=1)
    has_median = or_(*(getattr(CleanRule, f"{side}_median").is_not(None) for side in SIDES))
    by_image = and_(CleanSet.small_labels == "image", has_median)
    return case(
        (n >= needed, null()),
        (of_all.c.n >= needed, literal("all", TEXT)),
        (by_image, literal("image", TEXT)),
        else_=null(),
    )
