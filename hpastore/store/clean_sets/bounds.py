"""Take the bounds of a clean set's rules from the cells that the store holds now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection

from hpastore.schema.clean_rows import BoundRow, CleanSetRow, RuleBound, RuleRow
from hpastore.schema.measure_value import MeasureKey
from hpastore.store import label_thresholds
from hpastore.store.clean_sets.rows import find_bound

_MEDIAN: Final = 0.5

LabelPercentiles = Mapping[int, tuple[int, Mapping[float, float]]]
"""Number of values of a measure, and percentiles of them by share, by label."""


def current_bounds(
    connection: Connection, clean_set: CleanSetRow, rules: Sequence[RuleRow]
) -> list[BoundRow]:
    """Take the bounds of rules for all their labels from the current cells.

    They are equal to those of the view ``label_threshold``, but all measures are read at once, and
    ordered in memory: a third of the time at 500,000 cells.
    """
    found = _percentiles(connection, _required_shares(rules), clean_set.split)
    bounds = []
    for rule in rules:
        by_label = found[rule.measure, rule.channel]
        for label in rule.labels:
            n, values = by_label.get(label, (0, {}))
            enough = values if n >= clean_set.min_cells else {}
            lower = _number(rule.lower, enough)
            upper = _number(rule.upper, enough)
            bounds.append(BoundRow(rule.id, label, n, lower, upper))
    return bounds


def _required_shares(rules: Sequence[RuleRow]) -> dict[MeasureKey, set[float]]:
    """Find which percentiles of each measure the rules need, as shares 0..1."""
    required = defaultdict[MeasureKey, set[float]](set)
    for rule in rules:
        shares = required[rule.measure, rule.channel]
        for bound in (rule.lower, rule.upper):
            if bound.percentile is not None:
                shares.add(bound.percentile)
            if bound.median is not None:
                shares.add(_MEDIAN)
    return required


def _percentiles(
    connection: Connection, required: Mapping[MeasureKey, set[float]], split: str | None
) -> dict[MeasureKey, LabelPercentiles]:
    """Compute percentiles of measures for each label, over all cells with one label."""
    labels, values = label_thresholds.many_label_values(connection, list(required), split)
    order = np.argsort(labels, kind="stable")
    found, begins = np.unique(labels[order], return_index=True)
    by_label = np.split(values[order], begins[1:]) if len(found) else []
    return {
        key: {
            int(label): _quantiles(of_label[:, i], sorted(shares))
            for label, of_label in zip(found, by_label, strict=True)
        }
        for i, (key, shares) in enumerate(required.items())
    }


def _quantiles(
    values: npt.NDArray[np.float64], shares: Sequence[float]
) -> tuple[int, dict[float, float]]:
    """Count the values that are not NaN, and take percentiles of them."""
    values = values[~np.isnan(values)]
    quantiles = np.quantile(values, shares).tolist() if len(values) else []
    return len(values), dict(zip(shares, quantiles, strict=False))


def _number(bound: RuleBound, values: Mapping[float, float]) -> float | None:
    """One side of a rule's bounds, from percentiles of a label's cells; None bounds nothing."""
    if bound.percentile is not None:
        return values.get(bound.percentile)
    if bound.median is not None:
        return None if _MEDIAN not in values else bound.median * values[_MEDIAN]
    return None if bound.value is None else float(bound.value)


def frozen_bounds(
    rules: Sequence[RuleRow], kept: Mapping[tuple[int, int], BoundRow]
) -> list[BoundRow]:
    """Give the rules of a new version the bounds of a frozen one.

    Parameters
    ----------
    rules
        Of the new version.
    kept
        Of the frozen version, by the rule's position and the label.

    Raises
    ------
    DamagedError
        If one is missing.
    """
    return [
        find_bound(kept, (rule.position, label), "clean_set_threshold")._replace(rule_id=rule.id)
        for rule in rules
        for label in rule.labels
    ]
