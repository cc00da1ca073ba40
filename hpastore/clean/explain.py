"""Why a cell is clean or not: every rule's verdict, in every clean set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from hpastore.clean.limits import is_idle
from hpastore.clean.overrides import parse_cell
from hpastore.errors import NotFoundError
from hpastore.schema.verdict import has_percentile
from hpastore.store import decoding, judging, statements, stored_sets
from hpastore.store.engine import Store
from hpastore.vocabulary import LABEL_NAMES, NEGATIVE


@dataclass(frozen=True)
class Check:
    """What one rule says of a cell.

    Parameters
    ----------
    reason
        The reason that it gives a cell which it drops: ``below_lower / above_upper`` for the first
        percentiles, or ``no_background``, ``no_value`` or ``no_threshold`` where that is why.
    measure, channel
        What it asks for.
    value
        The cell's value of now; None where it has none.
    lower, upper
        Bounds that the clean set keeps, inclusive; None bounds nothing.
    passed
        None where the rule was not asked; `note` says why.
    note
        Why it was not asked, or which of its bounds was not: the cell has no value or not the flag that the
        rule is for, or its label has fewer cells than the recipe's `min_cells`.
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
        Place of the value among the n cells of now of images whose only label it is, and that are of the
        set's split; None for a cell of another image.
    split
        The split that the set is limited to.
    override
        ``keep`` or ``drop`` where somebody decided about the cell, with the comment; of now.
    since
        The first of the versions, without a gap up to this one, that say the same of the cell.
    checks
        What is asked of a cell, in that order: the dark limit, then the rules.  Before the dark limit stands
        the first rule with a percentile if the cell lacks its value, and right after it if no cell of the
        label has one.  The first check that is not passed gives the reason.
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
    since: int
    checks: tuple[Check, ...]


def explain(store: Store, cell: str) -> list[Explanation]:
    """Say why a cell is clean or not, for every clean set and label.

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
    name, mask_id = parse_cell(cell)
    with store.reading() as connection:
        found = judging.cell_facts(connection, name, mask_id)
        if found is None:
            raise NotFoundError(f"no cell {cell}; cells are named NAME:ID")
        verdicts = judging.verdicts_on(connection, found.cell_id)
        return [_explain(connection, found, verdict, verdicts) for verdict in verdicts]


def unjudged_text(store: Store, cell: str) -> str:
    """Say why no clean set has judged a cell.

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
    name, mask_id = parse_cell(cell)
    with store.reading() as connection:
        found = judging.cell_facts(connection, name, mask_id)
        scopes = {row["scope"] for row in stored_sets.clean_sets(connection)}
    if found is None:
        raise NotFoundError(f"no cell {cell}; cells are named NAME:ID")
    if not found.labels:
        return f"{cell} is not judged: its image has no label"
    if len(found.labels) > 1 and scopes == {"single"}:
        labels = "|".join(map(str, found.labels))
        return (
            f"{cell} is not judged: its image has several labels ({labels}), and the scope of all clean sets "
            "is single; 'hpastore clean create NAME --scope all' judges it"
        )
    return f"no clean set has judged {cell}"


def _explain(
    connection: Connection,
    cell: judging.CellFacts,
    verdict: statements.Row,
    verdicts: Sequence[statements.Row],
) -> Explanation:
    set_id, label = verdict["clean_set_id"], verdict["label_id"]
    where = f"cell {cell.name}"
    label_name = decoding.label_name(label, where)
    rules = [r for r in stored_sets.clean_rules(connection, set_id) if r["label_id"] in (None, label)]
    bounds = {b["rule_id"]: b for b in stored_sets.clean_bounds(connection, set_id) if b["label_id"] == label}
    told = _told(rules, verdict["reason"])
    value = None if told is None else cell.value(told["measure"], told["channel"])
    bound: Mapping[Any, Any] = stored_sets.find_bound(bounds, told["id"], where) if told is not None else {}
    rank, n = None, None
    if told is not None and value is not None and cell.labels == (label,):
        rank, n = judging.rank(connection, told["measure"], told["channel"], label, value, verdict["split"])
    return Explanation(
        verdict["name"],
        verdict["version"],
        label,
        label_name,
        bool(verdict["clean"]),
        verdict["reason"],
        told and told["measure"],
        told and told["channel"],
        value,
        bound.get("lower"),
        bound.get("upper"),
        rank,
        n,
        verdict["split"],
        cell.override(label),
        _since(verdict, verdicts),
        _in_order(
            _dark(cell, verdict["min_green"]),
            [
                _check(cell, rule, stored_sets.find_bound(bounds, rule["id"], where), verdict["min_cells"])
                for rule in rules
            ],
        ),
    )


def _told(rules: Sequence[statements.Row], reason: str | None) -> Any:
    """Choose the rule that a reason names, else the one that is shown."""
    for rule in rules:
        if reason is not None and reason in ((rule["reason"],) if rule["reason"] else _SIDES):
            return rule
    return next((rule for rule in rules if rule["shown"]), None)


_SIDES = ("below_lower", "above_upper")


def _since(verdict: statements.Row, verdicts: Sequence[statements.Row]) -> int:
    """Find the first version of a run that ends here, all with one verdict."""
    of_name = [v for v in verdicts if (v["name"], v["label_id"]) == (verdict["name"], verdict["label_id"])]
    since = int(verdict["version"])
    for other in sorted(of_name, key=lambda v: -v["version"]):
        if other["version"] == since - 1 and (other["clean"], other["reason"]) == (
            verdict["clean"],
            verdict["reason"],
        ):
            since -= 1
    return since


_MISSING = ("no_background", "no_value")


def _in_order(dark: Check, checks: Sequence[Check]) -> tuple[Check, ...]:
    """Sort the checks by the order in which they are asked."""

    def stage(check: Check) -> int:
        if check.reason in _MISSING:
            return 0
        if check is dark:
            return 1
        return 2 if check.reason == "no_threshold" else 3

    return tuple(sorted([dark, *checks], key=stage))


def _dark(cell: judging.CellFacts, min_green: int) -> Check:
    brightest = cell.value("intensity_max", "green")
    if cell.labels == (NEGATIVE,):
        passed, note = None, f"cells of {LABEL_NAMES[NEGATIVE]} may be dark"
    else:
        passed, note = brightest is None or brightest >= min_green, None
    return Check("dark", "intensity_max", "green", brightest, min_green, None, passed, note)


def _check(cell: judging.CellFacts, rule: statements.Row, bound: Mapping[Any, Any], min_cells: int) -> Check:
    value = cell.value(rule["measure"], rule["channel"])
    lower, upper = bound["lower"], bound["upper"]
    reason = rule["reason"] or " / ".join(_SIDES)
    passed, note = None, None
    judges_missing = rule["shown"] and has_percentile(rule)

    if rule["condition"] is not None and not cell.flag(rule["condition"]):
        note = f"only cells with {rule['condition']}"
    elif value is None and judges_missing:
        passed, reason = False, "no_background" if rule["measure"] == "fraction" else "no_value"
    elif value is None:
        note = "no value"
    elif judges_missing and bound["n"] == 0:
        passed, reason = False, "no_threshold"
    else:
        note = _too_few(rule, bound["n"], min_cells)
        if (lower, upper) != (None, None):
            passed = (lower is None or value >= lower) and (upper is None or value <= upper)
    return Check(reason, rule["measure"], rule["channel"], value, lower, upper, passed, note)


def _too_few(rule: statements.Row, n: int, min_cells: int) -> str | None:
    """Say so where a label has too few cells for a rule's percentiles and medians."""
    if not is_idle(rule, n, min_cells):
        return None
    return f"{n} cells, {max(min_cells, 1)} needed"
