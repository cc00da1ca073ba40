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
    null,
    or_,
    select,
    true,
)
from sqlalchemy.orm import aliased

from hpastore.schema.clean_rows import (
    MISSING_REASONS,
    SIDES,
    BoundRow,
    CleanSetRow,
    RuleRow,
    Side,
    image_factor,
)
from hpastore.schema.conditions import LIVE, NEGATIVE_ONLY
from hpastore.schema.groups import NOTHING, GroupOfImage
from hpastore.schema.image_medians import has_label, image_medians, is_judged
from hpastore.schema.labelled_cells import LabelledCells, of_both
from hpastore.schema.literal_table import literal_table
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


VERDICT_COLUMNS: Final = (
    *("cell_id", "label_id", "clean", "reason", "rule_id", "value"),
    *SIDES,
)
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
        the cell, or else of the one whose value is shown; ``lower`` and ``upper`` are its bounds
        where they are not those of all cells of the label, but of the cell's image or group.

    Notes
    -----
    Each cell's first failing step is found in a subquery with an OFFSET, which neither database
    merges into the outer one: merged, the steps would be gone through again for each column.
    """
    limits = _Limits(clean_set, rules, bounds)
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
            *limits.facts(),
        )
        rows = values.join_to(limits.join_to(_with_overrides(cells), cells.label_id))
        return select(*columns).select_from(rows).where(LIVE, *_scope(clean_set, cells))

    facts = of_both(facts_of).offset(0).subquery("facts")
    judged = _guarded(facts, steps) if clean_set.guard == "keep" else _reasoned(facts, steps)
    return _named(judged.subquery("judged"), rules, measured, limits)


def _measures(rules: Iterable[RuleRow]) -> list[MeasureKey]:
    """Give the measures of rules, each once."""
    return list(dict.fromkeys((rule.measure, rule.channel) for rule in rules))


def _with_overrides(cells: LabelledCells) -> FromClause:
    """Join cells with what was decided about them."""
    of_label, of_all = _OVERRIDES
    same_label = and_(of_label.cell_id == Cell.id, of_label.label_id == cells.label_id)
    every_label = and_(of_all.cell_id == Cell.id, of_all.label_id.is_(None))
    return cells.rows.outerjoin(of_label, same_label).outerjoin(of_all, every_label)


class _Limits:
    """The bounds of all rules, in tables within a statement.

    There is a table for the rules that do not group the images, and one for each column by which
    rules do.  Its columns are ``label_id`` and ``group_number``; ``shown``, the position of the
    first rule with a percentile; ``unbounded``, 1 where it has no cell to take it from; by the
    rules' positions ``lower_P`` and ``upper_P``, and ``lower_image_P`` and ``upper_image_P``,
    multiples of the median of the cell's image.
    """

    def __init__(
        self, clean_set: CleanSetRow, rules: Sequence[RuleRow], bounds: Sequence[BoundRow]
    ) -> None:
        self.groups = _groups(rules)
        by_id = {rule.id: rule for rule in rules}
        pairs = [(by_id[bound.rule_id], bound) for bound in bounds]
        self._by_image = {
            rule.position: rule
            for rule, bound in pairs
            if any(image_factor(rule, side, bound.stand_in) is not None for side in SIDES)
        }
        self._own = {r.position: r for r in rules if r.grouped_by is not None} | self._by_image
        self._medians = _medians(clean_set, pairs)
        self._tables = {
            column: _rows_of_limits(
                [pair for pair in pairs if pair[0].grouped_by == column],
                None if column is None else self.groups[column],
                self._by_image,
                f"limits_{place}",
            )
            for place, column in enumerate([None, *self.groups])
        }

    def of(self, rule: RuleRow) -> Any:
        """Columns of the table in which a rule's bounds are."""
        return self._tables[rule.grouped_by].c

    def join_to(self, rows: FromClause, label_id: Column) -> FromClause:
        """Join the bounds to cells, of which each has a label."""
        for column, table in self._tables.items():
            condition = table.c.label_id == label_id
            if column is not None:
                rows = self.groups[column].join_to(rows)
                condition = and_(condition, table.c.group_number == self.groups[column].number)
            rows = rows.outerjoin(table, condition)
        for median in self._medians.values():
            rows = rows.outerjoin(median, median.c.image_id == Cell.image_id)
        return rows

    def bound(self, rule: RuleRow, side: Side) -> Column:
        """A rule's bound for a cell; NULL without one."""
        of_label: Column = self.of(rule)[f"{side}_{rule.position}"]
        if rule.position not in self._by_image:
            return of_label
        return func.coalesce(of_label, self._of_image(rule, side))

    def _of_image(self, rule: RuleRow, side: Side) -> Column:
        """A rule's bound for a cell if it comes from the cell's image."""
        median = self._medians[rule.measure, rule.channel].c.median
        product: Column = self.of(rule)[f"{side}_image_{rule.position}"] * median
        return product

    def facts(self) -> list[Column]:
        """What else of each cell tells its rules, and `own_bound`."""
        groups = [
            group.number.label(f"group_{place}") for place, group in enumerate(self.groups.values())
        ]
        bounds = [
            self.bound(rule, side).label(f"{side}_of_{position}")
            for position, rule in self._own.items()
            for side in SIDES
        ]
        return [*groups, *bounds]

    def own_bound(self, facts: FromClause, position: Column, side: Side) -> Column:
        """The bound of the rule at a position, where it comes from the cell's image or group."""
        bounds = {n: facts.c[f"{side}_of_{n}"] for n in self._own}
        return case(bounds, value=position) if bounds else cast(null(), REAL)


def _groups(rules: Sequence[RuleRow]) -> dict[str, GroupOfImage]:
    """Find the groups of images by each column that rules have."""
    values: dict[str, set[str]] = {}
    for rule in rules:
        if rule.grouped_by is not None:
            known = values.setdefault(rule.grouped_by, set())
            if rule.group_value is not None:
                known.add(rule.group_value)
    return {
        column: GroupOfImage(column, values[column], place)
        for place, column in enumerate(sorted(values))
    }


def _medians(
    clean_set: CleanSetRow, pairs: Sequence[tuple[RuleRow, BoundRow]]
) -> dict[MeasureKey, FromClause]:
    """Select the medians of images that rules need: of all images, or of those of small labels."""
    labels: dict[MeasureKey, set[int] | None] = {}
    for rule, bound in pairs:
        key = rule.measure, rule.channel
        if rule.has_image_median:
            labels[key] = None
        elif bound.stand_in == "image":
            of_measure = labels.setdefault(key, set())
            if of_measure is not None:
                of_measure.add(bound.label_id)
    judged = is_judged(clean_set.scope, clean_set.split)
    found: dict[MeasureKey, FromClause] = {}
    for place, (key, of_measure) in enumerate(labels.items()):
        small = [] if of_measure is None else [has_label(of_measure)]
        found[key] = image_medians(key, judged, *small).cte(f"median_{place}")
    return found


def _steps(
    clean_set: CleanSetRow,
    rules: Sequence[RuleRow],
    limits: _Limits,
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
    judged: FromClause,
    rules: Sequence[RuleRow],
    measured: Mapping[MeasureKey, str],
    limits: _Limits,
) -> AnySelect:
    """Add the rule that dropped each cell, or else the one that is shown, and what it found."""
    j, rows = judged.c, judged
    ids: dict[str | None, Any] = {}
    for place, column in enumerate([None, *limits.groups]):
        group = None if column is None else limits.groups[column]
        of_column = [rule for rule in rules if rule.grouped_by == column]
        table = _rule_ids(of_column, group, f"rule_ids_{place}")
        same = table.c.label_id == j.label_id
        if group is not None:
            same = and_(same, table.c.group_number == j[f"group_{place - 1}"])
        rows, ids[column] = rows.outerjoin(table, same), table.c

    dropped = and_(j.step >= _FIRST_RULE, j.reason != "kept_best")
    shown = func.coalesce(*(table.shown for table in ids.values()), null())
    position = case((dropped, (j.step - _FIRST_RULE) // 2), else_=shown)
    by_position = {rule.position: rule for rule in rules}
    keys = {n: ids[rule.grouped_by][f"rule_{n}"] for n, rule in by_position.items()}
    values = {n: j[measured[rule.measure, rule.channel]] for n, rule in by_position.items()}
    return select(
        *(j.cell_id, j.label_id, j.clean, j.reason),
        (case(keys, value=position) if keys else cast(null(), BIGINT)).label("rule_id"),
        (case(values, value=position) if values else cast(null(), REAL)).label("value"),
        *(limits.own_bound(judged, position, side).label(side) for side in SIDES),
    ).select_from(rows)


def _scope(clean_set: CleanSetRow, cells: LabelledCells) -> list[Column]:
    """Conditions on the cells that a clean set judges."""
    scope: list[Column] = []
    if clean_set.scope != "all":
        scope.append(cells.label_count == 1)
    if clean_set.split is not None:
        scope.append(Image.split == clean_set.split)
    return scope


def _first_percentiles(rules: Sequence[RuleRow], limits: _Limits) -> list[tuple[RuleRow, Column]]:
    """The first rule with a percentile of each list of rules, and whether it applies to a cell."""
    by_position = {rule.position: rule for rule in rules if rule.decides_missing}
    return [
        (rule, and_(limits.of(rule).shown == position, *_condition(rule)))
        for position, rule in by_position.items()
    ]


def _missing(rules: Sequence[RuleRow], limits: _Limits, values: MeasureValues) -> dict[str, Column]:
    """Whether a cell lacks the value that the first rule with a percentile needs, by reason."""
    conditions: dict[str, list[Column]] = {reason: [] for reason in MISSING_REASONS}
    for rule, applies in _first_percentiles(rules, limits):
        missing = and_(applies, values.value(rule.measure, rule.channel).is_(None))
        if rule.channel is not None:
            conditions["no_channel"].append(and_(missing, lacks_channel(rule.channel)))
        conditions[rule.missing_reason].append(missing)
    return {reason: or_(false(), *some) for reason, some in conditions.items()}


def _no_threshold(rules: Sequence[RuleRow], limits: _Limits) -> Column:
    """Whether the first percentile applies to a cell whose label has no cell with a value."""
    conditions = [
        and_(applies, limits.of(rule).unbounded == 1)
        for rule, applies in _first_percentiles(rules, limits)
    ]
    return or_(false(), *conditions)


def _condition(rule: RuleRow) -> list[Column]:
    """The flag that a cell must have for a rule to apply."""
    return [] if rule.condition is None else [flag_value(rule.condition)]


def _rule_steps(
    rules: Sequence[RuleRow], limits: _Limits, values: MeasureValues
) -> dict[int, Step]:
    """Condition, reason and progress of each bound of each rule, by the number of the step."""
    by_position = {rule.position: rule for rule in rules}
    steps = {}
    for position, rule in sorted(by_position.items()):
        value = values.value(rule.measure, rule.channel)
        for upper, side in enumerate(SIDES):
            if not rule.bound(side).is_given:
                continue
            limit = limits.bound(rule, side)
            exceeds = value < limit if side == "lower" else value > limit
            condition = and_(*_condition(rule), exceeds)
            step = _FIRST_RULE + 2 * position + upper
            steps[step] = (condition, rule.bound_reason(side), rule_progress(position))
    return steps


def _rows_of_limits(
    pairs: Sequence[tuple[RuleRow, BoundRow]],
    group: GroupOfImage | None,
    by_image: Iterable[int],
    name: str,
) -> FromClause:
    """Make a table of `_Limits`, from rules and their bounds."""
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for rule, bound in pairs:
        row = rows.setdefault((bound.label_id, _group_number(rule, group)), {})
        for side in SIDES:
            row[f"{side}_{rule.position}"] = bound.side(side)
            row[f"{side}_image_{rule.position}"] = image_factor(rule, side, bound.stand_in)
        if rule.decides_missing:
            is_unbounded = bound.n == 0 and bound.stand_in is None
            row |= {"shown": rule.position, "unbounded": int(is_unbounded)}

    positions = sorted({rule.position for rule, _ in pairs})
    numbers = [f"{side}_{position}" for position in positions for side in SIDES]
    images = [f"{side}_image_{n}" for n in by_image if n in positions for side in SIDES]
    kinds = {"shown": BIGINT, "unbounded": BIGINT} | dict.fromkeys([*numbers, *images], REAL)
    return _table_of_labels(rows, kinds, name)


def _group_number(rule: RuleRow, group: GroupOfImage | None) -> int:
    return NOTHING if group is None else group.number_of(rule.group_value)


def _rule_ids(rules: Sequence[RuleRow], group: GroupOfImage | None, name: str) -> FromClause:
    """Make a row per label and group: ``shown``, the position of the rule whose value is shown, and
    the keys of the rules, ``rule_P`` by position.
    """
    rows: dict[tuple[int, int], dict[str, Any]] = {}
    for rule in rules:
        for label in rule.labels:
            row = rows.setdefault((label, _group_number(rule, group)), {})
            row[f"rule_{rule.position}"] = rule.id
            if rule.shown:
                row["shown"] = rule.position
    names = [f"rule_{position}" for position in sorted({rule.position for rule in rules})]
    return _table_of_labels(rows, dict.fromkeys(["shown", *names], BIGINT), name)


def _table_of_labels(
    by_label: Mapping[tuple[int, int], Mapping[str, Any]], kinds: Mapping[str, Any], name: str
) -> FromClause:
    """Make a table of a row per label and group; what a row lacks is NULL."""
    rows = [
        {"label_id": label, "group_number": number, **row}
        for (label, number), row in sorted(by_label.items())
    ]
    return literal_table(rows, {"label_id": BIGINT, "group_number": BIGINT, **kinds}, name)
