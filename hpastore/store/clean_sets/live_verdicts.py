"""Stream the rows of the views ``clean_cell`` and ``clean_cell_live`` of one clean set."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any

from sqlalchemy import (
    CompoundSelect,
    Connection,
    and_,
    false,
    func,
    literal,
    null,
    select,
)

from hpastore.classes import Classes
from hpastore.schema.clean_rows import RuleRow
from hpastore.schema.clean_views import clean_cell, with_live
from hpastore.schema.conditions import rule_applies
from hpastore.schema.literal_table import united
from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import CleanRule, CleanSetCell
from hpastore.schema.verdict import judge_one_set
from hpastore.store import export_rows, label_thresholds
from hpastore.store.clean_sets.bounds import current_bounds
from hpastore.store.clean_sets.counts import read_reasons
from hpastore.store.clean_sets.rows import check_labels, read_bounds, read_clean_set, read_rules


def stream_verdicts(
    connection: Connection,
    selection: export_rows.Selection,
    classes: Classes,
    *,
    live: bool = False,
) -> Generator[Any]:
    """Stream a selection's rows of ``clean_cell`` with the cells' boxes and notebook fractions.

    Parameters
    ----------
    connection
    selection
        Without a clean set the rows have no verdict, see `hpastore.store.export_rows.stream_cells`.
    classes
        Those of the store.
    live
        Whether the rows are those of ``clean_cell_live``.  The view itself judges by the rules of
        all sets; here only the rules of one set are used.
    """
    set_id = selection.set_id
    if set_id is None:
        return export_rows.stream_cells(connection, selection, classes)

    check_labels(connection, set_id, classes)
    rows = _live_rows(connection, set_id, classes) if live else clean_cell()
    rows = rows.where(CleanSetCell.clean_set_id == set_id)
    return export_rows.stream_cells(connection, selection, classes, rows.subquery("clean_cell"))


def _live_rows(connection: Connection, set_id: int, classes: Classes) -> AnySelect:
    clean_set = read_clean_set(connection, set_id)
    rules = read_rules(connection, set_id, classes)
    bounds = read_bounds(connection, set_id, classes)
    if not clean_set.frozen:
        bounds = current_bounds(connection, clean_set, rules)
    judged = judge_one_set(clean_set, rules, bounds).subquery("judged")
    now = select(literal(set_id).label("clean_set_id"), judged).subquery("now")
    ranks = _ranks(_deciding_rules(connection, set_id, rules), clean_set.split)
    return with_live(now, ranks.subquery("ranks"))


def _deciding_rules(
    connection: Connection, set_id: int, rules: Sequence[RuleRow]
) -> Iterable[RuleRow]:
    """Choose the rules whose values the rows show; one row of each group, whatever its labels."""
    reasons = {*read_reasons(connection, set_id), None}
    by_group = {(rule.position, rule.group_value): rule for rule in rules}
    return [rule for rule in by_group.values() if rule.shown or rule.reason in reasons]


def _ranks(rules: Iterable[RuleRow], split: str | None) -> AnySelect | CompoundSelect[Any]:
    """Select ``rule_id, label_id, cell_id, rank`` of some rules."""
    selects = [_rule_ranks(rule, split) for rule in rules]
    if selects:
        ranks: CompoundSelect[Any] = united(selects, "ranks_of_rules")
        return ranks
    names = ("rule_id", "label_id", "cell_id", "rank")
    return select(*(null().label(name) for name in names)).where(false())


def _rule_ranks(rule: RuleRow, split: str | None) -> AnySelect:
    """Rank of the value of every cell of a single-label image for one rule."""
    single = label_thresholds.label_values(rule.measure, rule.channel, split=split, rule=rule)
    values = single.subquery("single")
    of_label = and_(
        CleanRule.clean_set_id == rule.clean_set_id,
        CleanRule.position == rule.position,
        CleanRule.group_value.is_not_distinct_from(rule.group_value),
        rule_applies(values.c.label_id),
    )
    rank = func.rank().over(partition_by=values.c.label_id, order_by=values.c.value)
    columns = (
        CleanRule.id.label("rule_id"),
        values.c.label_id,
        values.c.cell_id,
        rank.label("rank"),
    )
    return select(*columns).select_from(values.join(CleanRule.__table__, of_label))
