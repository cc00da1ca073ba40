"""Why a cell is clean or not: every rule's verdict, in every clean set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection

from hpastore.clean.override import parse_cell
from hpastore.errors import NotFoundError
from hpastore.model import LABEL_NAMES, NEGATIVE
from hpastore.store import clean, read, sets
from hpastore.store.engine import Store


@dataclass(frozen=True)
class Check:
    """What one rule says of a cell.

    Parameters
    ----------
    reason
        The reason that it gives a cell which it drops; ``below_lower / above_upper`` of the first
        percentiles.
    measure, channel
        What it asks for.
    value
        The cell's value of now; None where it has none.
    lower, upper
        Bounds that the clean set keeps, inclusive; None bounds nothing.
    passed
        None where the rule was not asked: the cell has no value, or not the flag that the rule is for.
    """

    reason: str
    measure: str
    channel: str | None
    value: float | None
    lower: float | None
    upper: float | None
    passed: bool | None


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
        Place of the value among the n cells of now of images whose only label it is; None for a cell of
        an image with several labels.
    override
        ``keep`` or ``drop`` where somebody decided about the cell, with the comment; of now.
    since
        The first of the versions, without a gap up to this one, that say the same of the cell.
    checks
        The dark limit, then the rules in their order.
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
        found = clean.cell_facts(connection, name, mask_id)
        if found is None:
            raise NotFoundError(f"no cell {cell}; cells are named NAME:ID")
        verdicts = clean.verdicts_on(connection, found.cell_id)
        return [_explain(connection, found, verdict, verdicts) for verdict in verdicts]


def _explain(
    connection: Connection, cell: clean.CellFacts, verdict: read.Row, verdicts: Sequence[read.Row]
) -> Explanation:
    set_id, label = verdict["clean_set_id"], verdict["label_id"]
    rules = [r for r in sets.clean_rules(connection, set_id) if r["label_id"] in (None, label)]
    bounds = {b["rule_id"]: b for b in sets.clean_bounds(connection, set_id) if b["label_id"] == label}
    told = _told(rules, verdict["reason"])
    value = None if told is None else cell.value(told["measure"], told["channel"])
    bound: Mapping[Any, Any] = bounds.get(told["id"], {}) if told is not None else {}
    rank, n = None, None
    if told is not None and value is not None and cell.labels == (label,):
        rank, n = clean.rank(connection, told["measure"], told["channel"], label, value)
    return Explanation(
        verdict["name"],
        verdict["version"],
        label,
        LABEL_NAMES[label],
        bool(verdict["clean"]),
        verdict["reason"],
        told and told["measure"],
        told and told["channel"],
        value,
        bound.get("lower"),
        bound.get("upper"),
        rank,
        n,
        cell.override(label),
        _since(verdict, verdicts),
        (
            _dark(cell, verdict["min_green"]),
            *(_check(cell, rule, bounds.get(rule["id"], {})) for rule in rules),
        ),
    )


def _told(rules: Sequence[read.Row], reason: str | None) -> Any:
    """Choose the rule that a reason names, else the one that is shown."""
    for rule in rules:
        if reason is not None and reason in ((rule["reason"],) if rule["reason"] else _SIDES):
            return rule
    return next((rule for rule in rules if rule["shown"]), None)


_SIDES = ("below_lower", "above_upper")


def _since(verdict: read.Row, verdicts: Sequence[read.Row]) -> int:
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


def _dark(cell: clean.CellFacts, min_green: int) -> Check:
    brightest = cell.value("intensity_max", "green")
    passed = None if cell.labels == (NEGATIVE,) else brightest is None or brightest >= min_green
    return Check("dark", "intensity_max", "green", brightest, min_green, None, passed)


def _check(cell: clean.CellFacts, rule: read.Row, bound: Mapping[Any, Any]) -> Check:
    value = cell.value(rule["measure"], rule["channel"])
    lower, upper = bound.get("lower"), bound.get("upper")
    passed = None
    if value is not None and (rule["condition"] is None or cell.flag(rule["condition"])):
        passed = (lower is None or value >= lower) and (upper is None or value <= upper)
    reason = rule["reason"] or " / ".join(_SIDES)
    return Check(reason, rule["measure"], rule["channel"], value, lower, upper, passed)
