"""The verdicts of all clean sets: as they are stored, and as they would be now.

The rules of a single set are known beforehand, and `hpastore.schema.verdict` judges by them in one
pass over the cells.  Tests hold the two equal.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    FromClause,
    and_,
    case,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.orm import aliased

from hpastore.schema.clean_rows import BOUND_REASONS, MISSING_REASONS, SIDES, Side
from hpastore.schema.conditions import IN_SPLIT, LIVE, NEGATIVE_ONLY, rule_applies
from hpastore.schema.groups import is_in_group
from hpastore.schema.image_medians import asked_medians
from hpastore.schema.labelled_cells import LABELS, LabelledCells, of_both
from hpastore.schema.measure_value import flag_value, lacks_named_channel, named_value
from hpastore.schema.percentile import AnySelect
from hpastore.schema.row_info import table_of
from hpastore.schema.tables import (
    Cell,
    CellOverride,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetThreshold,
    Image,
    Label,
    channel_column,
)
from hpastore.schema.threshold_view import asked_values, questions
from hpastore.schema.verdict_steps import apply_guard, rule_progress, steps_before_rules

Column = ColumnElement[Any]


def judge_all_sets(thresholds: FromClause) -> AnySelect:
    """Judge every cell in the scope of clean sets, rule by rule, for all sets in one statement.

    Parameters
    ----------
    thresholds
        Has the columns ``rule_id, label_id, n, lower, upper, stand_in``: the live bounds or the
        kept ones.

    Returns
    -------
    Select
        ``clean_set_id, cell_id, label_id, clean, reason``; `reason` is the first that applies, NULL
        for a clean cell that neither an override nor the guard had to keep.
    """
    names = ("rule_id", "label_id", "n", *SIDES, "stand_in")
    bounds = select(*(thresholds.c[name] for name in names)).cte("bounds")
    medians = asked_medians().cte("medians")
    # In the subquery: PostgreSQL plans those of the whole statement even where it drops the join.
    united = _rule_results(bounds, medians).add_cte(bounds, medians, nest_here=True)
    results = united.subquery("asked")
    named = aliased(CleanRule, name="named")
    of_label = aliased(CellOverride, name="of_label")
    of_all = aliased(CellOverride, name="of_all")

    lower_failed = results.c.failed == 2 * named.position
    upper_failed = results.c.failed == 2 * named.position + 1
    rows = (
        results.join(CleanSet, CleanSet.id == results.c.clean_set_id)
        .join(Cell, Cell.id == results.c.cell_id)
        .join(Image, Image.id == Cell.image_id)
        .outerjoin(
            of_label, and_(of_label.cell_id == Cell.id, of_label.label_id == results.c.label_id)
        )
        .outerjoin(of_all, and_(of_all.cell_id == Cell.id, of_all.label_id.is_(None)))
        .outerjoin(
            named,
            and_(
                named.clean_set_id == results.c.clean_set_id,
                or_(named.label_id.is_(None), named.label_id == results.c.label_id),
                named.group_value.is_(None),
                or_(lower_failed, upper_failed),
            ),
        )
    )

    brightest_green = channel_column("intensity_max", "green")
    steps = steps_before_rules(
        func.coalesce(of_label.keep, of_all.keep),
        {reason: results.c[reason] == 1 for reason in MISSING_REASONS},
        and_(brightest_green < CleanSet.min_green, LABELS != NEGATIVE_ONLY),
        results.c.unbounded == 1,
    )
    by_rule = func.coalesce(
        named.reason,
        case((lower_failed, BOUND_REASONS["lower"]), else_=BOUND_REASONS["upper"]),
    )
    reasons: list[Any] = [(when, reason) for when, reason, _ in steps]
    reasons.append((results.c.failed.is_not(None), by_rule))
    places = [(when, progress) for when, _, progress in steps]
    judged = select(
        results.c.clean_set_id,
        Cell.id.label("cell_id"),
        results.c.label_id,
        Cell.image_id,
        Cell.area,
        Cell.mask_id,
        case(*reasons).label("reason"),
        case(*places, else_=rule_progress(results.c.failed // 2)).label("place"),
        (CleanSet.guard == "keep").label("guarded"),
    ).select_from(rows)
    return apply_guard(judged.subquery("judged"), "clean_set_id")


def _rule_results(thresholds: FromClause, medians: FromClause) -> CompoundSelect[Any]:
    """One row per clean set, cell in its scope and label: the results of all its rules together.

    ``failed`` is the first bound that the cell exceeds: twice the rule's position, and one more for
    the upper bound.
    """
    return of_both(lambda cells: _results_of(cells, thresholds, medians))


def _results_of(cells: LabelledCells, thresholds: FromClause, medians: FromClause) -> AnySelect:
    value = named_value(CleanRule.measure, CleanRule.channel)
    lower, upper = (_bound(side, thresholds, medians) for side in SIDES)
    has_percentile = or_(
        CleanRule.lower_percentile.is_not(None), CleanRule.upper_percentile.is_not(None)
    )
    flags = [
        (CleanRule.condition == flag, flag_value(flag)) for flag in ("touches_border", "no_nucleus")
    ]
    applies = case(*flags, else_=literal_column("1") == 1)
    failed = case(
        (and_(applies, value < lower), 2 * CleanRule.position),
        (and_(applies, value > upper), 2 * CleanRule.position + 1),
    )
    first_percentile = and_(CleanRule.shown, has_percentile, applies)
    missing = and_(first_percentile, value.is_(None))

    in_scope = or_(CleanSet.scope == "all", cells.label_count == 1)
    of_set = and_(
        CleanRule.clean_set_id == CleanSet.id,
        rule_applies(cells.label_id),
        is_in_group(CleanRule),
    )
    of_label = and_(thresholds.c.rule_id == CleanRule.id, thresholds.c.label_id == cells.label_id)
    of_image = and_(
        medians.c.image_id == Image.id,
        medians.c.measure == CleanRule.measure,
        func.coalesce(medians.c.channel, "") == func.coalesce(CleanRule.channel, ""),
    )
    rows = (
        cells.rows.join(CleanSet, and_(LIVE, IN_SPLIT, in_scope))
        .outerjoin(CleanRule, of_set)
        .outerjoin(thresholds, of_label)
        .outerjoin(medians, of_image)
    )

    def any_rule(condition: Column) -> Column:
        return func.max(case((condition, 1), else_=0))

    return (
        select(
            CleanSet.id.label("clean_set_id"),
            Cell.id.label("cell_id"),
            cells.label_id,
            func.min(failed).label("failed"),
            any_rule(and_(missing, lacks_named_channel(CleanRule.channel))).label("no_channel"),
            any_rule(and_(missing, CleanRule.measure == "fraction")).label("no_background"),
            any_rule(and_(missing, CleanRule.measure != "fraction")).label("no_value"),
            any_rule(
                and_(first_percentile, thresholds.c.n == 0, thresholds.c.stand_in.is_(None))
            ).label("unbounded"),
        )
        .select_from(rows)
        .group_by(CleanSet.id, Cell.id, cells.label_id)
    )


def _bound(side: Side, thresholds: FromClause, medians: FromClause) -> Column:
    """The bound of a rule for a cell: of its label, or a multiple of its image's median."""
    of_label = getattr(CleanRule, f"{side}_median")
    factor = func.coalesce(
        getattr(CleanRule, f"{side}_image_median"),
        case((thresholds.c.stand_in == "image", of_label)),
    )
    bound: Column = func.coalesce(thresholds.c[side], factor * medians.c.median)
    return bound


def clean_cell() -> AnySelect:
    """Select the stored verdicts, one per clean set, cell and label, with their bounds.

    Tables that only name things are joined outer, so that a query which asks for no name of theirs
    leaves them out.
    """
    return select(*_stored_columns()).select_from(_stored_rows())


def clean_cell_live(thresholds: FromClause, dialect: str) -> AnySelect:
    """Select the rows of ``clean_cell`` with the cells' ranks and live verdicts, on demand.

    SQLite runs the subquery of a column that a query names, once, and gives it an index.
    PostgreSQL would run it for each row, but leaves out a join that it knows to find one row at
    most.

    Parameters
    ----------
    thresholds
        The view ``label_threshold``.
    dialect
        ``sqlite`` or ``postgresql``.
    """
    live = judge_all_sets(thresholds).subquery("now")
    ranks = _ranks().subquery("ranks")
    if dialect == "sqlite":
        return with_live(live, ranks, joined=False)

    live_key = [live.c.clean_set_id, live.c.cell_id, live.c.label_id]
    is_clean = func.max(case((live.c.clean, 1), else_=0)) == 1
    one_live = select(*live_key, is_clean.label("clean")).group_by(*live_key)

    rank_key = [ranks.c.rule_id, ranks.c.cell_id, ranks.c.label_id]
    one_rank = select(*rank_key, func.max(ranks.c.rank).label("rank")).group_by(*rank_key)
    return with_live(one_live.subquery("one_now"), one_rank.subquery("one_rank"))


def with_live(live: FromClause, ranks: FromClause, *, joined: bool = True) -> AnySelect:
    """Select the columns of ``clean_cell`` with rank and live verdict from given rows.

    Parameters
    ----------
    live
        The verdicts by the current thresholds: ``clean_set_id, cell_id, label_id, clean``.
    ranks
        ``rule_id, label_id, cell_id, rank``.
    joined
        Whether live verdicts and ranks are joined, or looked up row by row.
    """
    verdict = CleanSetCell
    of_live = and_(
        live.c.clean_set_id == verdict.clean_set_id,
        live.c.cell_id == verdict.cell_id,
        live.c.label_id == verdict.label_id,
    )
    of_rank = and_(
        ranks.c.rule_id == verdict.rule_id,
        ranks.c.cell_id == verdict.cell_id,
        ranks.c.label_id == verdict.label_id,
    )
    rank: Column = ranks.c.rank
    live_clean: Column = live.c.clean
    rows = _stored_rows()
    if joined:
        rows = rows.outerjoin(live, of_live).outerjoin(ranks, of_rank)
    else:
        rank = select(rank).where(of_rank).correlate_except(ranks).scalar_subquery()
        live_clean = select(live_clean).where(of_live).correlate_except(live).scalar_subquery()
    columns = (*_stored_columns(), rank.label("rank"), live_clean.label("live"))
    return select(*columns).select_from(rows)


def _stored_rows() -> FromClause:
    kept = CleanSetThreshold
    of_rule = and_(
        kept.clean_set_id == CleanSetCell.clean_set_id,
        kept.rule_id == CleanSetCell.rule_id,
        kept.label_id == CleanSetCell.label_id,
    )
    return (
        CleanSetCell.__table__.join(Cell, Cell.id == CleanSetCell.cell_id)
        .join(Image, and_(Image.id == Cell.image_id, LIVE))
        .outerjoin(CleanSet, CleanSet.id == CleanSetCell.clean_set_id)
        .outerjoin(Label, Label.id == CleanSetCell.label_id)
        .outerjoin(CleanRule, CleanRule.id == CleanSetCell.rule_id)
        .outerjoin(kept, of_rule)
    )


def _stored_columns() -> tuple[Any, ...]:
    verdict, kept = table_of(CleanSetCell).c, table_of(CleanSetThreshold).c
    return (
        verdict.clean_set_id,
        CleanSet.name.label("clean_set"),
        CleanSet.version,
        verdict.cell_id,
        Image.name.label("image_name"),
        Cell.mask_id,
        verdict.label_id,
        Label.name.label("label"),
        CleanRule.measure,
        CleanRule.channel,
        verdict.value,
        func.coalesce(verdict.lower, kept.lower).label("lower"),
        func.coalesce(verdict.upper, kept.upper).label("upper"),
        verdict.clean,
        verdict.reason,
    )


def _ranks() -> AnySelect:
    """Rank of the value of every cell that gives a rule's percentiles, by rule and label."""
    asked = questions(pooled=False)
    cell_id = Cell.id.label("cell_id")
    values = asked_values(asked, cell_id).subquery("made")
    rank = func.rank().over(partition_by=values.c.question, order_by=values.c.value)
    ranked = select(values.c.question, values.c.cell_id, rank.label("rank")).subquery("ranked")
    rows = asked.join(ranked, ranked.c.question == asked.c.question)
    columns = (asked.c.rule_id, asked.c.label_id, ranked.c.cell_id, ranked.c.rank)
    return select(*columns).select_from(rows)
