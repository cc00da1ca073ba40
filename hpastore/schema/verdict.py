"""Judge the cells by the rules of one clean set, in one pass over them.

The view ``clean_cell_live`` does not know the rules beforehand: it joins each of a set's cells with
each of its rules, and takes the first rule that fails.  Here the rules are known, and become one
CASE, which takes a tenth of the time for 500,000 cells and 12 rules.  Tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    FromClause,
    and_,
    case,
    cast,
    false,
    func,
    literal,
    literal_column,
    null,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.orm import aliased

from hpastore.schema.clean_rows import MISSING_REASONS, SIDES, BoundRow, CleanSetRow, RuleRow
from hpastore.schema.conditions import LIVE, NEGATIVE_ONLY
from hpastore.schema.labelled_cells import LabelledCells, of_both
from hpastore.schema.measure_value import MeasureKey, MeasureValues, flag_value, lacks_channel
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import Cell, CellOverride, Image
from hpastore.schema.types import BIGINT, REAL, TEXT
from hpastore.schema.verdict_steps import apply_guard, rule_progress, steps_before_rules

Column = ColumnElement[Any]

Step = tuple[Column, str, int]
"""A condition, the reason of the cells that meet it, and their progress."""

_OVERRIDES: Final = (
    aliased(CellOverride, name="of_label"),
    aliased(CellOverride, name="of_all"),
)
"""What was decided about a cell for one label, and for all."""


VERDICT_COLUMNS: Final = ("cell_id", "label_id", "clean", "reason", "rule_id", "value")
"""What `judge_one_set` gives of a cell and label."""

_FIRST_RULE: Final = 100
"""The step of the lower bound of a rule at position 0; the upper bound is the next one."""


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
        The columns `VERDICT_COLUMNS`; ``rule_id`` and ``value`` are those of the rule that dropped
        the cell, or else of the one whose value is shown.

    Notes
    -----
    Each cell's first failing step is found in a subquery with an OFFSET, which neither database
    merges into the outer one: merged, the steps would be gone through again for each column.
    """
    limits = _limits(rules, bounds)
    steps: dict[int, Step] = {}
    measured = {key: f"value_{i}" for i, key in enumerate(_measures(rules))}

    def facts_of(cells: LabelledCells) -> AnySelect:
        values = MeasureValues([("intensity_max", "green"), *measured])
        steps.update(_steps(clean_set, rules, limits, cells, values))
        step = case(*((when, number) for number, (when, *_) in steps.items()))
        columns = (
            *(Cell.id.label("cell_id"), cells.label_id, step.label("step")),
            *(Cell.image_id, Cell.area, Cell.mask_id),
            *(values.value(*key).label(name) for key, name in measured.items()),
        )
        rows = values.join_to(_with_limits(cells, limits))
        return select(*columns).select_from(rows).where(LIVE, *_scope(clean_set, cells))

    facts = of_both(facts_of).offset(0).subquery("facts")
    judged = _guarded(facts, steps) if clean_set.guard == "keep" else _reasoned(facts, steps)
    return _named(judged.subquery("judged"), rules, measured)


def _measures(rules: Iterable[RuleRow]) -> list[MeasureKey]:
    """Give the measures of rules, each once."""
    return list(dict.fromkeys((rule.measure, rule.channel) for rule in rules))


def _with_limits(cells: LabelledCells, limits: FromClause) -> FromClause:
    """Join cells with what was decided about them, and with the limits of their labels."""
    of_label, of_all = _OVERRIDES
    same_label = and_(of_label.cell_id == Cell.id, of_label.label_id == cells.label_id)
    every_label = and_(of_all.cell_id == Cell.id, of_all.label_id.is_(None))
    rows = cells.rows.outerjoin(limits, limits.c.label_id == cells.label_id)
    return rows.outerjoin(of_label, same_label).outerjoin(of_all, every_label)


def _steps(
    clean_set: CleanSetRow,
    rules: Sequence[RuleRow],
    limits: Any,
    cells: LabelledCells,
    values: MeasureValues,
) -> dict[int, Step]:
    """Give what is checked of a cell by its number, in this order."""
    of_label, of_all = _OVERRIDES
    is_dim = values.value("intensity_max", "green") < clean_set.min_green
    before_rules = steps_before_rules(
        func.coalesce(of_label.keep, of_all.keep),
        _missing(rules, limits, values),
        and_(is_dim, cells.labels != NEGATIVE_ONLY),
        _no_threshold(rules, limits),
    )
    return dict(enumerate(before_rules)) | _rule_steps(rules, limits, values)


def _reasoned(facts: FromClause, steps: Mapping[int, Step]) -> AnySelect:
    """Add the reason of each cell's step, and whether the cell is clean."""
    reason = _reason(facts, steps)
    is_clean = or_(reason.is_(None), reason == "override_keep")
    return select(*facts.c, is_clean.label("clean"), reason.label("reason"))


def _guarded(facts: FromClause, steps: Mapping[int, Step]) -> AnySelect:
    """Add what `_reasoned` does, and let the guard keep the best cells."""
    places = {number: progress for number, (_, _, progress) in steps.items()}
    judged = select(
        *facts.c,
        _reason(facts, steps).label("reason"),
        case(places, value=facts.c.step).label("place"),
        true().label("guarded"),
    )
    more = [c.name for c in facts.c if c.name not in ("cell_id", "label_id")]
    return apply_guard(judged.subquery("asked"), more=more)


def _reason(facts: FromClause, steps: Mapping[int, Step]) -> Column:
    reasons = {number: literal(reason, TEXT) for number, (_, reason, _) in steps.items()}
    return case(reasons, value=facts.c.step)


def _named(
    judged: FromClause, rules: Sequence[RuleRow], measured: Mapping[MeasureKey, str]
) -> AnySelect:
    """Add the rule that dropped each cell, or else the one that is shown, and the value by it."""
    j, rule_ids = judged.c, _rule_ids(rules)
    dropped = and_(j.step >= _FIRST_RULE, j.reason != "kept_best")
    position = case((dropped, (j.step - _FIRST_RULE) // 2), else_=rule_ids.c.shown)
    by_position = {rule.position: rule for rule in rules}
    keys = {n: rule_ids.c[f"rule_{n}"] for n in by_position}
    values = {n: j[measured[rule.measure, rule.channel]] for n, rule in by_position.items()}
    return select(
        *(j.cell_id, j.label_id, j.clean, j.reason),
        (case(keys, value=position) if keys else cast(null(), BIGINT)).label("rule_id"),
        (case(values, value=position) if values else cast(null(), REAL)).label("value"),
    ).select_from(judged.outerjoin(rule_ids, rule_ids.c.label_id == j.label_id))


def _scope(clean_set: CleanSetRow, cells: LabelledCells) -> list[Column]:
    """Conditions on the cells that a clean set judges."""
    scope: list[Column] = []
    if clean_set.scope != "all":
        scope.append(cells.label_count == 1)
    if clean_set.split is not None:
        scope.append(Image.split == clean_set.split)
    return scope


def _first_percentiles(rules: Sequence[RuleRow], limits: Any) -> list[tuple[RuleRow, Column]]:
    """The first rule with a percentile of each list of rules, and whether it applies to a cell."""
    by_position = {rule.position: rule for rule in rules if rule.decides_missing}
    return [
        (rule, and_(limits.c.shown == position, *_condition(rule)))
        for position, rule in by_position.items()
    ]


def _missing(rules: Sequence[RuleRow], limits: Any, values: MeasureValues) -> dict[str, Column]:
    """Whether a cell lacks the value that the first rule with a percentile needs, by reason."""
    conditions: dict[str, list[Column]] = {reason: [] for reason in MISSING_REASONS}
    for rule, applies in _first_percentiles(rules, limits):
        missing = and_(applies, values.value(rule.measure, rule.channel).is_(None))
        if rule.channel is not None:
            conditions["no_channel"].append(and_(missing, lacks_channel(rule.channel)))
        conditions[rule.missing_reason].append(missing)
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


def _rule_steps(rules: Sequence[RuleRow], limits: Any, values: MeasureValues) -> dict[int, Step]:
    """Condition, reason and progress of each bound of each rule, by the number of the step."""
    by_position = {rule.position: rule for rule in rules}
    steps = {}
    for position, rule in sorted(by_position.items()):
        value = values.value(rule.measure, rule.channel)
        for upper, side in enumerate(SIDES):
            if not rule.bound(side).is_given:
                continue
            limit = limits.c[f"{side}_{position}"]
            exceeds = value < limit if side == "lower" else value > limit
            condition = and_(*_condition(rule), exceeds)
            step = _FIRST_RULE + 2 * position + upper
            steps[step] = (condition, rule.bound_reason(side), rule_progress(position))
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

    numbers = [f"{side}_{position}" for position in _positions(rules) for side in SIDES]
    kinds = {"shown": BIGINT, "unbounded": BIGINT} | dict.fromkeys(numbers, REAL)
    return _table_of_labels(by_label, kinds, "limits")


def _rule_ids(rules: Sequence[RuleRow]) -> FromClause:
    """Make a row per label: ``shown``, the position of the rule whose value is shown, and the keys
    of its rules, ``rule_P`` by position.
    """
    by_label: dict[int, dict[str, Any]] = {}
    for rule in rules:
        for label in rule.labels:
            row = by_label.setdefault(label, {})
            row[f"rule_{rule.position}"] = rule.id
            if rule.shown:
                row["shown"] = rule.position
    names = [f"rule_{position}" for position in _positions(rules)]
    return _table_of_labels(by_label, dict.fromkeys(["shown", *names], BIGINT), "rule_ids")


def _positions(rules: Sequence[RuleRow]) -> list[int]:
    return sorted({rule.position for rule in rules})


def _table_of_labels(
    by_label: Mapping[int, Mapping[str, Any]], kinds: Mapping[str, Any], name: str
) -> FromClause:
    """Make a table in a statement, of a row per label; what a row lacks is NULL.

    Keys and positions are written into the statement: a database takes few parameters.
    """
    no_label: dict[int, dict[str, Any]] = {-1: {}}  # a table needs a row
    selects = [
        select(
            cast(literal_column(str(int(label))), BIGINT).label("label_id"),
            *(cast(_number(row.get(n), kind), kind).label(n) for n, kind in kinds.items()),
        )
        for label, row in sorted((by_label or no_label).items())
    ]
    return (selects[0] if len(selects) == 1 else union_all(*selects)).cte(name)


def _number(value: float | None, kind: Any) -> Any:
    if value is None:
        return null()
    return literal_column(str(int(value))) if kind is BIGINT else literal(value, kind)
