"""What the bounds of a clean set cannot do for labels with few cells.

Context: a percentile or a median of a few cells bounds nothing if the recipe's `min_cells` says so, and
nobody noticed; a percentile of a few cells more always drops the lowest or the highest one, however good it
is.  Decision: both are found from the rules and the numbers of cells that a set keeps, and said where a set
is made or shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from hpastore.schema.verdict import Row, has_percentile
from hpastore.vocabulary import LABEL_NAMES

_SIDES: Final = ("lower", "upper")
_FROM_CELLS: Final = ("percentile", "median")
_ENDS: Final = {"lower": "lowest", "upper": "highest"}

_NAMED: Final = 3
"""So many rules are named in a line."""

_ONE_CELL: Final = 1 - 1e-9
"""Below one cell: 10 (1 - 0.9) is not quite 1."""


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
        As many as the recipe asks for.
    """

    label_id: int
    label: str
    rule: str
    n: int
    needed: int


@dataclass(frozen=True)
class ForcedDrop:
    """A percentile that drops a label's lowest or highest cell, however good that is, unless it has an equal.

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
    side: str
    percentile: float
    n: int


def is_idle(rule: Row, n: int, min_cells: int) -> bool:
    """Whether a row of ``clean_rule`` has a percentile or median, and too few cells to take it from."""
    taken = any(rule[f"{side}_{kind}"] is not None for side in _SIDES for kind in _FROM_CELLS)
    return taken and n < max(min_cells, 1)


def idle_rules(
    rules: Iterable[Row], bounds: Iterable[Row], min_cells: int, labels: Iterable[int]
) -> tuple[IdleRule, ...]:
    """Find the rules that bound nothing for some of a set's labels, by label.

    Parameters
    ----------
    rules, bounds
        A clean set's rows of ``clean_rule`` and ``clean_set_threshold``.
    min_cells
        Of its recipe.
    labels
        Those that it has verdicts for.

    Notes
    -----
    The first rule with a percentile is none of them where no cell has a value: it drops all, `no_threshold`.
    """
    return tuple(
        IdleRule(label, LABEL_NAMES[label], rule_name(rule), n, max(min_cells, 1))
        for label, rule, n in _pairs(rules, bounds, labels)
        if is_idle(rule, n, min_cells) and not (n == 0 and rule["shown"] and has_percentile(rule))
    )


def forced_drops(
    rules: Iterable[Row], bounds: Iterable[Row], min_cells: int, labels: Iterable[int]
) -> tuple[ForcedDrop, ...]:
    """Find the percentiles that would drop less than one cell of a label, and hence always drop one.

    Parameters
    ----------
    rules, bounds, min_cells, labels
        As `idle_rules`.

    Notes
    -----
    Interpolated, a percentile p above 0 of n cells lies above the lowest of them, and drops it unless
    another has the same value.  Where n p is 1 or more that is what was asked for.  A rule that is asked
    only of cells with a flag may spare the lowest cell, and is left out.
    """
    found = []
    for label, rule, n in _pairs(rules, bounds, labels):
        if n < max(min_cells, 2) or rule["condition"] is not None:
            continue
        for side in _SIDES:
            percentile = rule[f"{side}_percentile"]
            if percentile is not None and 0 < _expected_drops(side, percentile, n) < _ONE_CELL:
                found.append(
                    ForcedDrop(label, LABEL_NAMES[label], rule_name(rule), side, float(percentile), n)
                )
    return tuple(found)


def limits_text(idle: Sequence[IdleRule], forced: Sequence[ForcedDrop]) -> list[str]:
    """Say which labels have rules that bound nothing, and percentiles that must drop a cell; a line each."""
    lines = []
    if idle:
        rules = list(dict.fromkeys(rule.rule for rule in idle))
        more = f" and {len(rules) - _NAMED} more" if len(rules) > _NAMED else ""
        lines.append(
            f"percentiles and medians of {', '.join(rules[:_NAMED])}{more} bound nothing for "
            f"{_labels_text(idle)}: they need {idle[0].needed}, the recipe's min_cells"
        )
    if forced:
        shares = " and ".join(f"{share:g}" for share in sorted({drop.percentile for drop in forced}))
        ends = " and the ".join(
            word for side, word in _ENDS.items() if any(drop.side == side for drop in forced)
        )
        lines.append(
            f"percentiles {shares} drop the {ends} cell, unless it has an equal, of {_labels_text(forced)}: "
            "that is more than their share; percentiles nearer to 0.5 or a larger min_cells avoid it"
        )
    return lines


def rule_name(rule: Row) -> str:
    """Name a row of ``clean_rule`` by the reason that it gives."""
    return rule["reason"] or "below_lower / above_upper"


def _pairs(rules: Iterable[Row], bounds: Iterable[Row], labels: Iterable[int]) -> list[tuple[int, Row, int]]:
    """Label, rule and number of cells of each kept bound, by label and the rule's place."""
    by_id, wanted = {rule["id"]: rule for rule in rules}, set(labels)
    found = [
        (bound["label_id"], by_id[bound["rule_id"]], bound["n"])
        for bound in bounds
        if bound["label_id"] in wanted
    ]
    return sorted(found, key=lambda one: (one[0], one[1]["position"]))


def _expected_drops(side: str, percentile: float, n: int) -> float:
    return n * (percentile if side == "lower" else 1 - percentile)


def _labels_text(found: Sequence[IdleRule] | Sequence[ForcedDrop]) -> str:
    """Name labels with their numbers of cells, which may differ from rule to rule."""
    cells: dict[int, set[int]] = {}
    for one in found:
        cells.setdefault(one.label_id, set()).add(one.n)
    texts: list[str] = []
    for label, numbers in cells.items():
        low, high = min(numbers), max(numbers)
        unit = "" if texts else " cells"
        texts.append(f"{label} ({low if low == high else f'{low} to {high}'}{unit})")
    word = "label" if len(texts) == 1 else "labels"
    return f"{word} {', '.join(texts)}"
