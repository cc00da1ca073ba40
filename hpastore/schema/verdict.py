"""Judge the cells by the rules of one clean set, in one pass over them.

The view ``clean_cell`` does not know the rules beforehand: it joins each of a set's cells with each
of its rules, and takes the first rule that fails.  Here the rules are known, and become one CASE,
which takes a tenth of the time for 500,000 cells and 12 rules.  Tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    FromClause,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import aliased

from hpastore.schema.clean_rows import SIDES, BoundRow, CleanSetRow, RuleRow
from hpastore.schema.conditions import LIVE
from hpastore.schema.measure_value import MeasureValues, flag_value
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import Cell, CellOverride, Image, ImageLabel
from hpastore.schema.types import BIGINT, REAL, TEXT
from hpastore.schema.verdict_steps import apply_guard, rule_progress, steps_before_rules
from hpastore.vocabulary import NEGATIVE

Column = ColumnElement[Any]

Step = tuple[Column, str, int]
"""A condition, the reason of the cells that meet it, and their progress."""


def judge_one_set(
    clean_set: CleanSetRow, rules: Sequence[RuleRow], bounds: Sequence[BoundRow]
) -> AnySelect:
    """Judge every cell in the scope of a clean set.

    Parameters
    ----------
    clean_set
    rules
        All rules of the set.
    bounds
        The bounds of its rules: the current ones, or those that it keeps.

    Returns
    -------
    Select
        ``cell_id, label_id, clean, reason``.
    """
    values = MeasureValues([("intensity_max", "green"), *((r.measure, r.channel) for r in rules)])
    limits = _limits(rules, bounds)
    of_label = aliased(CellOverride, name="of_label")
    of_all = aliased(CellOverride, name="of_all")
    rows: FromClause = (
        Image.__table__.join(ImageLabel, ImageLabel.image_id == Image.id)
        .join(Cell, Cell.image_id == Image.id)
        .outerjoin(limits, limits.c.label_id == ImageLabel.label_id)
        .outerjoin(
            of_label, and_(of_label.cell_id == Cell.id, of_label.label_id == ImageLabel.label_id)
        )
        .outerjoin(of_all, and_(of_all.cell_id == Cell.id, of_all.label_id.is_(None)))
    )
    rows = values.join_to(rows)

    is_dim = values.value("intensity_max", "green") < clean_set.min_green
    before_rules = steps_before_rules(
        func.coalesce(of_label.keep, of_all.keep),
        _missing(rules, limits, values),
        and_(is_dim, Image.labels != str(NEGATIVE)),
        _no_threshold(rules, limits),
    )
    steps = [*before_rules, *_rule_steps(rules, limits, values)]
    reasons = [(when, literal(reason, TEXT)) for when, reason, _ in steps]
    judged = select(Cell.id.label("cell_id"), ImageLabel.label_id, case(*reasons).label("reason"))
    judged = judged.select_from(rows).where(LIVE, *_scope(clean_set))
    if clean_set.guard == "keep":
        return _guarded(judged, steps)

    j = judged.subquery("judged")
    is_clean = or_(j.c.reason.is_(None), j.c.reason == "override_keep")
    return select(j.c.cell_id, j.c.label_id, is_clean.label("clean"), j.c.reason)


def _scope(clean_set: CleanSetRow) -> list[Column]:
    """Conditions on the images whose cells a clean set judges."""
    scope: list[Column] = []
    if clean_set.scope != "all":
        scope.append(Image.label_count == 1)
    if clean_set.split is not None:
        scope.append(Image.split == clean_set.split)
    return scope


def _guarded(judged: AnySelect, steps: Sequence[Step]) -> AnySelect:
    """Add to judged cells what the guard needs, and let it keep the best ones."""
    places = [(when, progress) for when, _, progress in steps]
    judged = judged.add_columns(
        Cell.image_id,
        Cell.area,
        Cell.mask_id,
        case(*places).label("place"),
        true().label("guarded"),
    )
    return apply_guard(judged.subquery("judged"))


def _first_percentiles(rules: Sequence[RuleRow], limits: Any) -> list[tuple[RuleRow, Column]]:
    """The first rule with a percentile of each list of rules, and whether it applies to a cell."""
    by_position = {rule.position: rule for rule in rules if rule.decides_missing}
    return [
        (rule, and_(limits.c.shown == position, *_condition(rule)))
        for position, rule in by_position.items()
    ]


def _missing(rules: Sequence[RuleRow], limits: Any, values: MeasureValues) -> dict[str, Column]:
    """Whether a cell lacks the value that the first rule with a percentile needs, by reason."""
    conditions: dict[str, list[Column]] = {"no_background": [], "no_value": []}
    for rule, applies in _first_percentiles(rules, limits):
        value = values.value(rule.measure, rule.channel)
        conditions[rule.missing_reason].append(and_(applies, value.is_(None)))
    return {reason: or_(false(), *some) for reason, some in conditions.items()}


def _no_threshold(rules: Sequence[RuleRow], limits: Any) -> Column:
    """Whether the first percentile applies to a cell whose label has no cell with a value."""
    conditions = [
        and_(applies, limits.c.unbounded == 1) for _, applies in _first_percentiles(rules, limits)
    ]
    return or_(false(), *conditions)


def _condition(rule: RuleRow) -> list[Column]:
    """The flag that a cell must have for a rule to apply."""
    return [] if rule.condition is None else [flag_value(rule.condition)]


def _rule_steps(rules: Sequence[RuleRow], limits: Any, values: MeasureValues) -> list[Step]:
    """Condition, reason and progress of each bound of each rule, in their order."""
    by_position = {rule.position: rule for rule in rules}
    steps = []
    for position, rule in sorted(by_position.items()):
        value = values.value(rule.measure, rule.channel)
        for side in SIDES:
            if not rule.bound(side).is_given:
                continue
            limit = limits.c[f"{side}_{position}"]
            exceeds = value < limit if side == "lower" else value > limit
            condition = and_(*_condition(rule), exceeds)
            steps.append((condition, rule.bound_reason(side), rule_progress(position)))
    return steps


def _limits(rules: Sequence[RuleRow], bounds: Sequence[BoundRow]) -> FromClause:
    """Make a row per label: the bounds of each rule that is for it, and its first percentile.

    Columns are ``label_id``; ``shown``, the position of the first rule with a percentile;
    ``unbounded``, 1 where no cell of the label has a value for it; ``lower_P`` and ``upper_P`` by
    the rules' positions.
    """
    by_id = {rule.id: rule for rule in rules}
    by_label: dict[int, dict[str, Any]] = {}
    for bound in bounds:
        rule = by_id[bound.rule_id]
        row = by_label.setdefault(bound.label_id, {})
        for side in SIDES:
            row[f"{side}_{rule.position}"] = bound.side(side)
        if rule.decides_missing:
            row |= {"shown": rule.position, "unbounded": int(bound.n == 0)}

    positions = sorted({rule.position for rule in rules})
    numbers = [f"{side}_{position}" for position in positions for side in SIDES]
    no_label: dict[int, dict[str, Any]] = {-1: {}}  # a table needs a row
    selects = [
        _limits_row(label, row, numbers) for label, row in sorted((by_label or no_label).items())
    ]
    return (selects[0] if len(selects) == 1 else union_all(*selects)).subquery("limits")


def _limits_row(label: int, row: dict[str, Any], numbers: Sequence[str]) -> AnySelect:
    flags = [
        cast(literal(row.get(name), BIGINT), BIGINT).label(name) for name in ("shown", "unbounded")
    ]
    limits = [cast(literal(row.get(name), REAL), REAL).label(name) for name in numbers]
    return select(cast(literal(label), BIGINT).label("label_id"), *flags, *limits)
