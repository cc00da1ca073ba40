"""Every rule of a clean set under every label, with its bounds and what it drops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hpastore.schema.clean_rows import SIDES, BoundRow, RuleBound, RuleRow, image_factor
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.counts import count_by_label, count_dropped_by_rules
from hpastore.store.clean_sets.rows import find_clean_set, read_bounds, read_rules
from hpastore.store.engine import Store

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS: Final = (
    *("label_id", "label", "rule", "measure", "channel", "where", "grouped_by", "group_value"),
    *("n", "lower_from", "lower", "upper_from", "upper", "stand_in", "dropped"),
)


def clean_set_bounds(store: Store, name: str) -> pd.DataFrame:
    """List the rules of a clean set under each label that it judged, in their order.

    Parameters
    ----------
    store : Store
    name : str
        ``NAME``, the newest version, or ``NAME@VERSION``.

    Returns
    -------
    DataFrame
        ``label_id, label, rule, measure, channel, where, grouped_by, group_value, n, lower_from,
        lower, upper_from, upper, stand_in, dropped``: `rule` is the reason that it gives; `n` the
        cells of images with this one label that have a value; ``lower_from`` what the bound is,
        such as ``percentile 0.01`` or ``0.25 x image median``, of which each image has its own;
        `dropped` the number of cells that it drops.  Groups of images without a cell of the label
        are left out.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    import pandas as pd

    with store.reading() as connection:
        set_id = find_clean_set(connection, name).id
        classes = read_classes(connection)
        labels = {one.label_id for one in count_by_label(connection, set_id, classes)}
        dropped = count_dropped_by_rules(connection, set_id)
        rules = {rule.id: rule for rule in read_rules(connection, set_id, classes)}
        bounds = read_bounds(connection, set_id, classes)
    pairs = [(rules[bound.rule_id], bound) for bound in bounds if bound.label_id in labels]
    pairs = [
        (r, b) for r, b in pairs if r.grouped_by is None or b.n or (r.id, b.label_id) in dropped
    ]
    pairs.sort(key=lambda pair: (pair[1].label_id, pair[0].position, pair[0].group_value or ""))
    rows = [
        (
            *(bound.label_id, classes.names[bound.label_id], rule.title),
            *(rule.measure, rule.channel, rule.condition, rule.grouped_by, rule.group_value),
            *_bounds(rule, bound),
            dropped.get((rule.id, bound.label_id), 0),
        )
        for rule, bound in pairs
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def _bounds(rule: RuleRow, bound: BoundRow) -> list[Any]:
    """Values of the columns from ``n`` to ``stand_in``."""
    columns: list[Any] = [bound.n]
    for side in SIDES:
        factor = image_factor(rule, side, bound.stand_in)
        columns += [_source(rule.bound(side), factor), bound.side(side)]
    return [*columns, bound.stand_in]


def _source(given: RuleBound, factor: float | None) -> str | None:
    """Say what a bound is."""
    if factor is not None:
        return f"{factor:g} x image median"
    if given.percentile is not None:
        return f"percentile {given.percentile:g}"
    if given.median is not None:
        return f"{given.median:g} x median"
    return None if given.value is None else "value"
