"""Judge the cells by the rules of one clean set, in one pass over them.

The view ``clean_cell`` knows the rules of no set beforehand: it asks each of a set's cells by each of its
rules, a row for each, and takes the first that fails.  Here the rules are known, and become one CASE: of
500,000 cells and 12 rules a tenth of the time.  Tests hold the two equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.engine import RowMapping
from sqlalchemy.orm import aliased

from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import (
    Cell,
    CellChannel,
    CellMeasure,
    CellOverride,
    Image,
    ImageLabel,
    Measure,
)
from hpastore.schema.types import BIGINT, REAL, TEXT
from hpastore.schema.views import (
    CHANNEL_NAMES,
    LIVE,
    SHAPE_NAMES,
    first_steps,
    flag_value,
    guarded,
    rule_place,
    shape_value,
)
from hpastore.vocabulary import CHANNELS, NEGATIVE

Row = Mapping[str, Any] | RowMapping
Column = ColumnElement[Any]

PERCENTILES: Final = ("lower_percentile", "upper_percentile")


def verdicts(clean_set: Row, rules: Sequence[Row], bounds: Sequence[Row]) -> AnySelect:
    """Judge every cell in the scope of a clean set.

    Parameters
    ----------
    clean_set
        Its row: scope, split, min_green, guard.
    rules
        Its rows of ``clean_rule``.
    bounds
        The bounds of its rules, the live ones or those that it keeps: ``rule_id, label_id, n, lower,
        upper``.

    Returns
    -------
    Select
        ``cell_id, label_id, clean, reason``.
    """
    tables = _Tables(rules)
    limits = _limits(rules, bounds)
    of_label, of_all = aliased(CellOverride, name="of_label"), aliased(CellOverride, name="of_all")
    rows: FromClause = (
        Image.__table__.join(ImageLabel, ImageLabel.image_id == Image.id)
        .join(Cell, Cell.image_id == Image.id)
        .outerjoin(limits, limits.c.label_id == ImageLabel.label_id)
        .outerjoin(of_label, and_(of_label.cell_id == Cell.id, of_label.label_id == ImageLabel.label_id))
        .outerjoin(of_all, and_(of_all.cell_id == Cell.id, of_all.label_id.is_(None)))
    )
    rows = tables.joined_to(rows)
    green = tables.channels["green"]
    steps = first_steps(
        func.coalesce(of_label.keep, of_all.keep),
        _missing(rules, limits, tables),
        and_(green.intensity_max < clean_set["min_green"], Image.labels != str(NEGATIVE)),
        _unbounded(rules, limits),
    )
    failing = _failing(rules, limits, tables)
    scope = [] if clean_set["scope"] == "all" else [Image.label_count == 1]
    scope += [] if clean_set["split"] is None else [Image.split == clean_set["split"]]
    judged = select(
        Cell.id.label("cell_id"),
        ImageLabel.label_id,
        case(*((when, literal(reason, TEXT)) for when, reason, _ in (*steps, *failing))).label("reason"),
    )
    if clean_set["guard"] != "keep":
        j = judged.select_from(rows).where(LIVE, *scope).subquery("judged")
        kept = or_(j.c.reason.is_(None), j.c.reason == "override_keep")
        return select(j.c.cell_id, j.c.label_id, kept.label("clean"), j.c.reason)
    judged = judged.add_columns(
        Cell.image_id,
        Cell.area,
        Cell.mask_id,
        case(*((when, place) for when, _, place in (*steps, *failing))).label("place"),
        true().label("guarded"),
    )
    whole = judged.select_from(rows).where(LIVE, *scope).subquery("judged")
    return guarded(whole)


class _Tables:
    """Where the values of a clean set's rules are: aliases of tables, joined once each."""

    def __init__(self, rules: Sequence[Row]) -> None:
        channels = {r["channel"] for r in rules if r["measure"] in CHANNEL_NAMES} | {"green"}
        self.channels = {name: aliased(CellChannel, name=name) for name in CHANNELS if name in channels}
        own = sorted({(r["measure"], r["channel"] or "") for r in rules if not _is_built_in(r["measure"])})
        self.own = {key: aliased(CellMeasure, name=f"own_{i}") for i, key in enumerate(own)}

    def joined_to(self, rows: FromClause) -> FromClause:
        """Join them; outer, for an inner join SQLite begins with all of them."""
        for name, stats in self.channels.items():
            rows = rows.outerjoin(stats, and_(stats.cell_id == Cell.id, stats.channel == name))
        for (measure, channel), values in self.own.items():
            named = select(Measure.id).where(Measure.name == measure)
            of_cell = and_(values.cell_id == Cell.id, values.channel == channel)
            rows = rows.outerjoin(values, and_(of_cell, values.measure_id.in_(named)))
        return rows

    def value(self, rule: Row) -> Column:
        """Value that a rule asks for, as a real number."""
        measure, channel = rule["measure"], rule["channel"]
        if measure in SHAPE_NAMES:
            return shape_value(measure)
        if measure in CHANNEL_NAMES:
            return cast(getattr(self.channels[channel], measure), REAL)
        return cast(self.own[measure, channel or ""].value, REAL)


def _is_built_in(measure: str) -> bool:
    return measure in SHAPE_NAMES or measure in CHANNEL_NAMES


def has_percentile(rule: Row) -> bool:
    """Whether a row of ``clean_rule`` has a bound that is a percentile."""
    return any(rule[name] is not None for name in PERCENTILES)


def _first_percentiles(rules: Sequence[Row], limits: Any) -> list[tuple[Row, Column]]:
    """The first rule with a percentile of each list of rules, and whether it is asked of a cell."""
    by_position = {r["position"]: r for r in rules if r["shown"] and has_percentile(r)}
    return [
        (rule, and_(limits.c.shown == position, *_condition(rule))) for position, rule in by_position.items()
    ]


def _missing(rules: Sequence[Row], limits: Any, tables: _Tables) -> dict[str, Column]:
    """Whether a cell lacks the value that the first rule with a percentile asks for, by reason."""
    lacking: dict[str, list[Column]] = {"no_background": [], "no_value": []}
    for rule, asked in _first_percentiles(rules, limits):
        reason = "no_background" if rule["measure"] == "fraction" else "no_value"
        lacking[reason].append(and_(asked, tables.value(rule).is_(None)))
    return {reason: or_(false(), *conditions) for reason, conditions in lacking.items()}


def _unbounded(rules: Sequence[Row], limits: Any) -> Column:
    """Whether the first rule with a percentile is asked of a cell, and no cell of its label has a value."""
    return or_(
        false(), *(and_(asked, limits.c.unbounded == 1) for _, asked in _first_percentiles(rules, limits))
    )


def _condition(rule: Row) -> list[Column]:
    """What a cell must have for a rule to be asked."""
    return [] if rule["condition"] is None else [flag_value(rule["condition"])]


def _failing(rules: Sequence[Row], limits: Any, tables: _Tables) -> list[tuple[Column, str, int]]:
    """Condition, reason and place of each side of each rule that has one, in their order."""
    by_position = {r["position"]: r for r in rules}
    failing = []
    for position, rule in sorted(by_position.items()):
        value = tables.value(rule)
        asked = _condition(rule)
        for side, fails in (("lower", value.__lt__), ("upper", value.__gt__)):
            if any(rule[f"{side}_{kind}"] is not None for kind in ("percentile", "value", "median")):
                reason = rule["reason"] or {"lower": "below_lower", "upper": "above_upper"}[side]
                limit = limits.c[f"{side}_{position}"]
                failing.append((and_(*asked, fails(limit)), reason, rule_place(position)))
    return failing


def _limits(rules: Sequence[Row], bounds: Sequence[Row]) -> FromClause:
    """A row per label: the bounds of each rule that holds for it, and what else its rules ask."""
    by_id = {r["id"]: r for r in rules}
    of_label: dict[int, dict[str, Any]] = {}
    for bound in bounds:
        rule, row = by_id[bound["rule_id"]], of_label.setdefault(bound["label_id"], {})
        row[f"lower_{rule['position']}"] = bound["lower"]
        row[f"upper_{rule['position']}"] = bound["upper"]
        if rule["shown"] and has_percentile(rule):
            row["shown"] = rule["position"]
            row["unbounded"] = int(bound["n"] == 0)
    positions = sorted({r["position"] for r in rules})
    numbers = [f"{side}_{position}" for position in positions for side in ("lower", "upper")]
    flags = ("shown", "unbounded")
    selects = [
        select(
            cast(literal(label), BIGINT).label("label_id"),
            *(cast(literal(row.get(name), BIGINT), BIGINT).label(name) for name in flags),
            *(cast(literal(row.get(name), REAL), REAL).label(name) for name in numbers),
        )
        for label, row in sorted((of_label or {-1: {}}).items())
    ]
    return (selects[0] if len(selects) == 1 else union_all(*selects)).subquery("limits")
