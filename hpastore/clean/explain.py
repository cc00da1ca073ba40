"""Why a cell is clean or not: every rule's result, in every clean set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

from hpastore.classes import Classes
from hpastore.clean.limits import is_idle
from hpastore.clean.overrides import parse_cell
from hpastore.errors import NotFoundError
from hpastore.schema.clean_rows import (
    MISSING_REASONS,
    OVERRIDE_REASONS,
    SIDES,
    BoundRow,
    RuleRow,
    deciding_rule,
    image_factor,
)
from hpastore.store import decoding
from hpastore.store.cell_facts import (
    CellFacts,
    OverrideRow,
    VerdictRow,
    median_of_image,
    rank_of_value,
    read_cell,
    verdicts_on_cell,
)
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.counts import list_clean_sets
from hpastore.store.clean_sets.rows import find_bound, read_bounds, read_rules
from hpastore.store.engine import Store
from hpastore.text import count_text


@dataclass(frozen=True)
class Check:
    """The result of one rule for a cell.

    Parameters
    ----------
    reason
        The reason of the cells that the rule drops: ``below_lower / above_upper`` for the first
        percentiles; or ``no_channel``, ``no_background``, ``no_value`` or ``no_threshold`` where
        that is why.
    measure, channel
        Of the rule.
    value
        The cell's current value; None where it has none.
    lower, upper
        Bounds that the clean set keeps, inclusive; None bounds nothing.  A bound that is a multiple
        of the median of the cell's image is that of the image now.
    passed
        None where the rule was not checked; `note` gives the cause.
    note
        Why the rule, or one of its bounds, was not checked: the cell has no value or not the flag
        that the rule is for, or its label has fewer cells than the recipe's `min_cells`.  Or where
        the bounds come from, if not from the label's own cells.
    """

    reason: str
    measure: str
    channel: str | None
    value: float | None
    lower: float | None
    upper: float | None
    passed: bool | None
    note: str | None = None


@dataclass(frozen=True)
class Explanation:
    """The verdict of one clean set on a cell under one label.

    Parameters
    ----------
    clean_set, version, label_id, label
    clean, reason
        As they were materialised.
    measure, channel, value, lower, upper
        Of the rule that the reason names, else of the first percentiles.
    rank, n
        Rank of the value among those of the n current cells of images whose only label it is, and
        that are in the set's split; None for a cell of another image.
    split
        The split that the set is limited to.
    override
        ``keep`` or ``drop`` where an override gave the verdict, with its comment if it still holds.
    later_override
        An override that came after this version, which does not use it: ``keep`` or ``drop``, with
        the comment, or ``undone`` for one that was taken back.
    since
        The first of the versions, without a gap up to this one, with the same verdict on the cell.
    checks
        What is checked of a cell, in that order: the dark limit, then the rules.  Before the dark
        limit comes the first rule with a percentile if the cell lacks its value, and right after it
        if no cell of the label has one.  The first check that is not passed gives the reason.
    """

    clean_set: str
    version: int
    label_id: int
    label: str
    clean: bool
    reason: str | None
    measure: str | None
    channel: str | None
    value: float | None
    lower: float | None
    upper: float | None
    rank: int | None
    n: int | None
    split: str | None
    override: str | None
    later_override: str | None
    since: int
    checks: tuple[Check, ...]


def explain(store: Store, cell: str) -> list[Explanation]:
    """Explain why a cell is clean or not, for every clean set and label.

    Parameters
    ----------
    store : Store
    cell : str
        ``NAME:ID``.

    Returns
    -------
    list of Explanation
        By clean set, version and label; empty where no clean set has judged the cell.

    Raises
    ------
    NotFoundError
        If the store has no such cell.
    """
    with store.reading() as connection:
        classes = read_classes(connection)
        found = _find_cell(connection, cell, classes)
        verdicts = verdicts_on_cell(connection, found.cell_id)
        return [_explain(connection, found, verdict, verdicts, classes) for verdict in verdicts]


def unjudged_text(store: Store, cell: str) -> str:
    """Explain why no clean set has judged a cell.

    Parameters
    ----------
    store : Store
    cell : str
        ``NAME:ID``.

    Raises
    ------
    NotFoundError
        If the store has no such cell.
    """
    with store.reading() as connection:
        found = _find_cell(connection, cell, read_classes(connection))
        scopes = {row["scope"] for row in list_clean_sets(connection)}
    if not found.labels:
        return f"{cell} is not judged: it has no label"
    if len(found.labels) > 1 and scopes == {"single"}:
        labels = "|".join(map(str, found.labels))
        return (
            f"{cell} is not judged: its image has several labels ({labels}), and all clean sets "
            "judge only images with a single label; 'hpastore clean create NAME --scope all' "
            "judges it"
        )
    return f"no clean set has judged {cell}"


def _find_cell(connection: Connection, cell: str, classes: Classes) -> CellFacts:
    name, mask_id = parse_cell(cell)
    found = read_cell(connection, name, mask_id, classes)
    if found is None:
        raise NotFoundError(f"no cell {cell}; cells are named NAME:ID")
    return found


def _explain(
    connection: Connection,
    cell: CellFacts,
    verdict: VerdictRow,
    verdicts: Sequence[VerdictRow],
    classes: Classes,
) -> Explanation:
    label = verdict.label_id
    where = f"cell {cell.name}"
    label_name = decoding.label_name(label, where, classes)
    stored = read_rules(connection, verdict.clean_set_id, classes)
    rules = [rule for rule in stored if label in rule.labels and _is_in_group(cell, rule)]
    bounds = {
        bound.rule_id: bound
        for bound in read_bounds(connection, verdict.clean_set_id, classes)
        if bound.label_id == label
    }
    limits = {
        rule.id: _limits(connection, cell, rule, find_bound(bounds, rule.id, where))
        for rule in rules
    }
    checks = [_check(cell, rule, limits[rule.id], verdict.min_cells) for rule in rules]
    checks += _of_other_groups(cell, [rule for rule in stored if label in rule.labels], rules)
    override, later_override = _overrides(verdict, cell.override(label))

    rule = deciding_rule(rules, verdict.reason)
    bound = None if rule is None else limits[rule.id]
    value = None if rule is None else cell.value(rule.measure, rule.channel)
    rank, n = _rank(connection, cell, verdict, rule, value)
    return Explanation(
        clean_set=verdict.name,
        version=verdict.version,
        label_id=label,
        label=label_name,
        clean=bool(verdict.clean),
        reason=verdict.reason,
        measure=rule and rule.measure,
        channel=rule and rule.channel,
        value=value,
        lower=bound and bound.lower,
        upper=bound and bound.upper,
        rank=rank,
        n=n,
        split=verdict.split,
        override=override,
        later_override=later_override,
        since=_since(verdict, verdicts),
        checks=_in_order(_dark(cell, verdict.min_green, classes), checks),
    )


def _rank(
    connection: Connection,
    cell: CellFacts,
    verdict: VerdictRow,
    rule: RuleRow | None,
    value: float | None,
) -> tuple[int | None, int | None]:
    """Rank a cell's value among its label's; None for an image with several labels."""
    label = verdict.label_id
    if rule is None or value is None or cell.labels != (label,):
        return None, None
    return rank_of_value(connection, rule, label, value, verdict.split)


def _is_in_group(cell: CellFacts, rule: RuleRow) -> bool:
    """Whether a rule is for the group of the cell's image."""
    if rule.grouped_by is None:
        return True
    return rule.group_value == cell.columns.get(rule.grouped_by)


def _of_other_groups(
    cell: CellFacts, stored: Sequence[RuleRow], rules: Sequence[RuleRow]
) -> list[Check]:
    """Tell of the rules that have no bounds for the group of the cell's image."""
    having = {rule.position for rule in rules}
    others = {rule.position: rule for rule in stored if rule.position not in having}
    return [
        Check(
            *(rule.title, rule.measure, rule.channel, cell.value(rule.measure, rule.channel)),
            *(None, None, None),
            f"no bounds for {rule.grouped_by} {cell.columns.get(str(rule.grouped_by))}",
        )
        for rule in others.values()
    ]


class _Limits(NamedTuple):
    """The bounds of a rule for a cell, and where they come from."""

    n: int
    lower: float | None
    upper: float | None
    source: str | None
    """Where they come from, if not from the label's own cells alone."""
    stand_in: str | None


def _limits(connection: Connection, cell: CellFacts, rule: RuleRow, bound: BoundRow) -> _Limits:
    """Take the bounds of a rule for a cell: as they are kept, or from the cell's image."""
    factors = {side: image_factor(rule, side, bound.stand_in) for side in SIDES}
    sources = []
    if rule.grouped_by is not None:
        sources.append(_group_text(rule))
    if bound.stand_in is not None:
        sources.append(f"the label has {count_text(bound.n, 'cell')}")
    if bound.stand_in == "all":
        sources.append("bounds of all labels")
    limits = {side: bound.side(side) for side in SIDES}
    if any(factor is not None for factor in factors.values()):
        n, median = median_of_image(connection, cell.image_id, rule.measure, rule.channel)
        for side, factor in factors.items():
            if factor is not None and median is not None:
                limits[side] = factor * median
        if median is not None:
            sources.append(f"median of its image {median:g} ({count_text(n, 'cell')})")
    return _Limits(
        bound.n, limits["lower"], limits["upper"], "; ".join(sources) or None, bound.stand_in
    )


def _group_text(rule: RuleRow) -> str:
    if rule.group_value is None:
        return f"images without {rule.grouped_by}"
    return f"{rule.grouped_by} {rule.group_value}"


def _overrides(verdict: VerdictRow, current: OverrideRow | None) -> tuple[str | None, str | None]:
    """Name the override that gave a verdict, and the one that came after it."""
    used = None
    if verdict.reason in OVERRIDE_REASONS:
        used = verdict.reason.removeprefix("override_")

    text = None
    if current is not None:
        text = current.action + (f": {current.comment}" if current.comment else "")
        if current.action == used:
            return text, None
    return used, text or (used and "undone")


def _since(verdict: VerdictRow, verdicts: Sequence[VerdictRow]) -> int:
    """Find the first of the versions up to this one, without a gap, that have the same verdict."""
    same = {
        other.version
        for other in verdicts
        if (other.name, other.label_id) == (verdict.name, verdict.label_id)
        and (other.clean, other.reason) == (verdict.clean, verdict.reason)
    }
    since = verdict.version
    while since - 1 in same:
        since -= 1
    return since


def _in_order(dark: Check, checks: Sequence[Check]) -> tuple[Check, ...]:
    """Sort the checks by the order in which they are made."""

    def stage(check: Check) -> int:
        if check.reason in MISSING_REASONS:
            return 0
        if check is dark:
            return 1
        return 2 if check.reason == "no_threshold" else 3

    return tuple(sorted([dark, *checks], key=stage))


def _dark(cell: CellFacts, min_green: int, classes: Classes) -> Check:
    """Check the dark limit."""
    brightest = cell.value("intensity_max", "green")
    negative = classes.negative
    if negative is not None and cell.labels == (negative,):
        passed = None
        note = f"cells of {classes.names[negative]} may be dark"
    else:
        passed = brightest is None or brightest >= min_green
        note = None
    return Check("dark", "intensity_max", "green", brightest, min_green, None, passed, note)


def _check(cell: CellFacts, rule: RuleRow, bound: _Limits, min_cells: int) -> Check:
    """Check one rule."""
    value = cell.value(rule.measure, rule.channel)
    reason = rule.title
    passed = None
    note = None
    if rule.condition is not None and not cell.flag(rule.condition):
        note = f"only for cells with {rule.condition}"
    elif value is None and rule.decides_missing:
        passed = False
        reason = "no_channel" if cell.lacks_channel(rule.channel) else rule.missing_reason
    elif value is None:
        note = f"no {rule.channel}" if cell.lacks_channel(rule.channel) else "no value"
    elif rule.decides_missing and bound.n == 0 and bound.stand_in is None:
        passed = False
        reason = "no_threshold"
    else:
        too_few = _too_few(rule, bound, min_cells)
        note = "; ".join(part for part in (too_few, bound.source) if part) or None
        passed = _is_within(value, bound)
    return Check(reason, rule.measure, rule.channel, value, bound.lower, bound.upper, passed, note)


def _is_within(value: float, bound: _Limits) -> bool | None:
    """Whether a value lies between the bounds; None without any."""
    if bound.lower is None and bound.upper is None:
        return None
    above_lower = bound.lower is None or value >= bound.lower
    return above_lower and (bound.upper is None or value <= bound.upper)


def _too_few(rule: RuleRow, bound: _Limits, min_cells: int) -> str | None:
    """Note that a label has too few cells for a rule's percentiles and medians."""
    if bound.stand_in is not None or not is_idle(rule, bound.n, min_cells):
        return None
    return f"{bound.n} cells, {max(min_cells, 1)} needed"
