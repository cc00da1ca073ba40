"""What the bounds of a clean set cannot do for labels with few cells.

Context: a percentile or a median of fewer cells than the recipe's `min_cells` bounds nothing, or
others stand in for it, and nobody noticed; a percentile of a few cells more always drops the lowest
or the highest one, however good it is.  Decision: all are found from the rules and the numbers of
cells that a set keeps, and reported where a set is created or shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from hpastore.classes import Classes
from hpastore.schema.clean_rows import SIDES, BoundRow, RuleRow, Side
from hpastore.text import count_text

_ENDS: Final[dict[Side, str]] = {"lower": "lowest", "upper": "highest"}

_STAND_INS: Final = {
    "image": "the median of each cell's image stands in",
    "all": "the cells of all labels stand in",
}

_MAX_NAMED: Final = 3
"""Rules, and labels, that one line of text names."""

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
    group
        Of a rule that groups the images: these are the label's cells in images of this group.
    """

    label_id: int
    label: str
    rule: str
    n: int
    needed: int
    group: str | None = None


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


@dataclass(frozen=True)
class StandIn:
    """A rule for whose label, with too few cells, others stand in.

    Parameters
    ----------
    label_id, label, rule, n, needed, group
        As in `IdleRule`.
    stand_in
        ``all``: percentiles and medians are those of the cells of all labels; ``image``: medians
        are those of each cell's image.
    """

    label_id: int
    label: str
    rule: str
    n: int
    needed: int
    stand_in: str
    group: str | None = None


class Limits(NamedTuple):
    """What the bounds of a clean set cannot do for labels with few cells."""

    idle: tuple[IdleRule, ...]
    forced: tuple[ForcedDrop, ...]
    stand_ins: tuple[StandIn, ...]


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
        IdleRule(
            *(bound.label_id, classes.names[bound.label_id], rule.title),
            *(bound.n, max(min_cells, 1)),
            group=_group(rule),
        )
        for rule, bound in _by_label(rules, bounds, labels)
        if is_idle(rule, bound.n, min_cells)
        and bound.stand_in is None
        and not (bound.n == 0 and rule.decides_missing)
    )


def stand_ins(
    rules: Iterable[RuleRow],
    bounds: Iterable[BoundRow],
    min_cells: int,
    labels: Iterable[int],
    classes: Classes,
) -> tuple[StandIn, ...]:
    """Find the rules for whose labels others stand in, by label.

    Parameters
    ----------
    rules, bounds, min_cells, labels, classes
        As `idle_rules`.
    """
    return tuple(
        StandIn(
            *(bound.label_id, classes.names[bound.label_id], rule.title),
            *(bound.n, max(min_cells, 1)),
            stand_in=bound.stand_in,
            group=_group(rule),
        )
        for rule, bound in _by_label(rules, bounds, labels)
        if bound.stand_in is not None
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
    for rule, bound in _by_label(rules, bounds, labels):
        label, n = bound.label_id, bound.n
        if n < max(min_cells, 2) or rule.condition is not None:
            continue
        for side in SIDES:
            percentile = rule.bound(side).percentile
            if percentile is None or not 0 < _expected_drops(side, percentile, n) < _ONE_CELL:
                continue
            name = classes.names[label]
            found.append(ForcedDrop(label, name, rule.title, side, float(percentile), n))
    return tuple(found)


def limits_text(
    idle: Sequence[IdleRule], forced: Sequence[ForcedDrop], stand_ins: Sequence[StandIn] = ()
) -> list[str]:
    """Describe rules that bound nothing, what stands in for small labels, and percentiles that must
    drop a cell, in a line each.
    """
    lines = []
    for what, of_whom in _STAND_INS.items():
        if found := [one for one in stand_ins if one.stand_in == what]:
            lines.append(
                f"{_labels_text(found)} fewer than {count_text(found[0].needed, 'cell')} "
                f"(min_cells); {of_whom} for {_rules_text(found)}"
            )
    if idle:
        lines.append(_idle_text(idle))
    if forced:
        lines.append(_forced_text(forced))
    return lines


def _idle_text(idle: Sequence[IdleRule]) -> str:
    return (
        f"{_labels_text(idle)} fewer than {count_text(idle[0].needed, 'cell')} (min_cells), so "
        f"that the percentiles and medians of {_rules_text(idle)} bound nothing"
    )


def _rules_text(found: Sequence[IdleRule] | Sequence[StandIn]) -> str:
    """Name the first rules, and count the others."""
    rules = list(dict.fromkeys(one.rule for one in found))
    names = ", ".join(rules[:_MAX_NAMED])
    more = len(rules) - _MAX_NAMED
    return names if more <= 0 else f"{names} and {more} more"


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
) -> list[tuple[RuleRow, BoundRow]]:
    """Give each bound with its rule, by label and the rule's position.

    Groups of images that have no cell of a label are left out.
    """
    by_id = {rule.id: rule for rule in rules}
    chosen = set(labels)
    pairs = [(by_id[bound.rule_id], bound) for bound in bounds if bound.label_id in chosen]
    found = [(rule, bound) for rule, bound in pairs if rule.grouped_by is None or bound.n]
    return sorted(found, key=lambda one: (one[1].label_id, one[0].position, one[0].id))


def _group(rule: RuleRow) -> str | None:
    """Name the group of images that a rule is for."""
    if rule.grouped_by is None:
        return None
    return rule.group_value or f"without {rule.grouped_by}"


def _expected_drops(side: Side, percentile: float, n: int) -> float:
    """Number of cells that a percentile drops on average."""
    return n * (percentile if side == "lower" else 1 - percentile)


def _labels_text(
    found: Sequence[IdleRule] | Sequence[ForcedDrop] | Sequence[StandIn],
) -> str:
    """Begin a sentence on labels with their numbers of cells, which differ between rules."""
    cells: dict[str, set[int]] = {}
    for one in found:
        group = "" if isinstance(one, ForcedDrop) or one.group is None else f" {one.group}"
        cells.setdefault(f"{one.label_id}{group}", set()).add(one.n)
    texts: list[str] = []
    for label, numbers in cells.items():
        low = min(numbers)
        high = max(numbers)
        number = f"{low}" if low == high else f"{low} to {high}"
        unit = "" if texts else " cell" if number == "1" else " cells"
        texts.append(f"{label} ({number}{unit})")
    if len(texts) == 1:
        return f"label {texts[0]} has"
    more = len(texts) - _MAX_NAMED
    names = ", ".join(texts[:_MAX_NAMED]) + (f" and {more} more" if more > 0 else "")
    return f"labels {names} have"
