"""What the bounds of a clean set cannot do for labels with few cells.

Context: a percentile or a median of fewer cells than the recipe's `min_cells` bounds nothing, and
nobody noticed; a percentile of a few cells more always drops the lowest or the highest one, however
good it is.  Decision: both are found from the rules and the numbers of cells that a set keeps, and
reported where a set is created or shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hpastore.classes import Classes
from hpastore.schema.clean_rows import SIDES, BoundRow, RuleRow, Side
from hpastore.text import count_text

_ENDS: Final[dict[Side, str]] = {"lower": "lowest", "upper": "highest"}

_MAX_NAMED_RULES: Final = 3
"""In one line of text."""

_ONE_CELL: Final = 1 - 1e-9
"""Fewer expected drops are less than one cell: 10 (1 - 0.9) is not quite 1."""


@dataclass(frozen=True)
class IdleRule:
    """A rule whose percentiles and medians bound nothing for a label.

    Parameters
    ----------
    label_id, label
    rule
        The reason that it gives; ``below_lower / above_upper`` for the first percentiles.
    n
        Cells of images with this one label that have a value.
    needed
        Cells that the recipe requires, its `min_cells`.
    """

    label_id: int
    label: str
    rule: str
    n: int
    needed: int


@dataclass(frozen=True)
class ForcedDrop:
    """A percentile that drops a label's lowest or highest cell, however good, unless two are equal.

    Parameters
    ----------
    label_id, label
    rule
        As in `IdleRule`.
    side
        ``lower`` drops the lowest cell, ``upper`` the highest.
    percentile
        Share 0..1.
    n
        Cells of images with this one label that have a value.
    """

    label_id: int
    label: str
    rule: str
    side: Side
    percentile: float
    n: int


def is_idle(rule: RuleRow, n: int, min_cells: int) -> bool:
    """Whether a rule has a percentile or median, and too few cells to take it from."""
    return rule.is_from_cells and n < max(min_cells, 1)


def idle_rules(
    rules: Iterable[RuleRow],
    bounds: Iterable[BoundRow],
    min_cells: int,
    labels: Iterable[int],
    classes: Classes,
) -> tuple[IdleRule, ...]:
    """Find the rules that bound nothing for some of a set's labels, by label.

    Parameters
    ----------
    rules, bounds
        Of a clean set.
    min_cells
        Of its recipe.
    labels
        Those that it has verdicts for.
    classes
        Those of the store.

    Notes
    -----
    The first rule with a percentile is not idle where no cell has a value: it drops all cells, with
    the reason ``no_threshold``.
    """
    return tuple(
        IdleRule(label, classes.names[label], rule.title, n, max(min_cells, 1))
        for label, rule, n in _by_label(rules, bounds, labels)
        if is_idle(rule, n, min_cells) and not (n == 0 and rule.decides_missing)
    )


def forced_drops(
    rules: Iterable[RuleRow],
    bounds: Iterable[BoundRow],
    min_cells: int,
    labels: Iterable[int],
    classes: Classes,
) -> tuple[ForcedDrop, ...]:
    """Find the percentiles whose share is less than one cell of a label, and that still drop one.

    Parameters
    ----------
    rules, bounds, min_cells, labels, classes
        As `idle_rules`.

    Notes
    -----
    Interpolated, a percentile p above 0 of n cells lies above the lowest of them, and drops it
    unless another has the same value.  Where n p is 1 or more, that is what the recipe intends.  A
    rule that applies only to cells with a flag may spare the lowest cell, and is left out.
    """
    found = []
    for label, rule, n in _by_label(rules, bounds, labels):
        if n < max(min_cells, 2) or rule.condition is not None:
            continue
        for side in SIDES:
            percentile = rule.bound(side).percentile
            if percentile is None or not 0 < _expected_drops(side, percentile, n) < _ONE_CELL:
                continue
            name = classes.names[label]
            found.append(ForcedDrop(label, name, rule.title, side, float(percentile), n))
    return tuple(found)


def limits_text(idle: Sequence[IdleRule], forced: Sequence[ForcedDrop]) -> list[str]:
    """Describe rules that bound nothing and percentiles that must drop a cell, in a line each."""
    lines = []
    if idle:
        lines.append(_idle_text(idle))
    if forced:
        lines.append(_forced_text(forced))
    return lines


def _idle_text(idle: Sequence[IdleRule]) -> str:
    rules = list(dict.fromkeys(rule.rule for rule in idle))
    names = ", ".join(rules[:_MAX_NAMED_RULES])
    if len(rules) > _MAX_NAMED_RULES:
        names += f" and {len(rules) - _MAX_NAMED_RULES} more"
    return (
        f"{_labels_text(idle)} fewer than {count_text(idle[0].needed, 'cell')} (min_cells), so "
        f"that the percentiles and medians of {names} bound nothing"
    )


def _forced_text(forced: Sequence[ForcedDrop]) -> str:
    percentiles = sorted({drop.percentile for drop in forced})
    shares = " and ".join(f"{share:g}" for share in percentiles)
    noun, verb = ("percentile", "drops") if len(percentiles) == 1 else ("percentiles", "drop")
    sides = {drop.side for drop in forced}
    ends = " and the ".join(end for side, end in _ENDS.items() if side in sides)
    return (
        f"{_labels_text(forced)} so few cells that {noun} {shares} {verb} the {ends} cell, good or "
        "bad; use percentiles nearer to 0.5 or a larger min_cells"
    )


def _by_label(
    rules: Iterable[RuleRow], bounds: Iterable[BoundRow], labels: Iterable[int]
) -> list[tuple[int, RuleRow, int]]:
    """Give label, rule and number of cells of each bound, by label and the rule's position."""
    by_id = {rule.id: rule for rule in rules}
    chosen = set(labels)
    found = [
        (bound.label_id, by_id[bound.rule_id], bound.n)
        for bound in bounds
        if bound.label_id in chosen
    ]
    return sorted(found, key=lambda one: (one[0], one[1].position))


def _expected_drops(side: Side, percentile: float, n: int) -> float:
    """Number of cells that a percentile drops on average."""
    return n * (percentile if side == "lower" else 1 - percentile)


def _labels_text(found: Sequence[IdleRule] | Sequence[ForcedDrop]) -> str:
    """Begin a sentence on labels with their numbers of cells, which differ between rules."""
    cells: dict[int, set[int]] = {}
    for one in found:
        cells.setdefault(one.label_id, set()).add(one.n)
    texts: list[str] = []
    for label, numbers in cells.items():
        low = min(numbers)
        high = max(numbers)
        number = f"{low}" if low == high else f"{low} to {high}"
        unit = "" if texts else " cell" if number == "1" else " cells"
        texts.append(f"{label} ({number}{unit})")
    if len(texts) == 1:
        return f"label {texts[0]} has"
    return f"labels {', '.join(texts)} have"
