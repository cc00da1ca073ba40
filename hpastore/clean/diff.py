"""Compare two clean sets cell by cell, and name the cause of each difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from hpastore.classes import Classes
from hpastore.schema.clean_rows import BOUND_REASONS, OVERRIDE_REASONS, CleanSetRow, RuleBound
from hpastore.store import decoding
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.comparison import (
    ImageHistory,
    SetVerdict,
    VerdictKey,
    differing_verdicts,
    image_histories,
    judged_labels,
)
from hpastore.store.clean_sets.rows import (
    find_clean_set,
    read_bounds,
    read_clean_set,
    read_rules,
)
from hpastore.store.engine import Store

if TYPE_CHECKING:
    import pandas as pd

CAUSES: Final = {
    "threshold_moved": "other cells moved a bound of the same rule",
    "rule_changed": "the recipes differ: the rule, the dark limit, the guard or the scope",
    "override": "an override of the cell was recorded, changed or undone",
    "guard": "the guard kept the cell as its image's best in only one of the sets",
    "relabelled": "the image's labels changed",
    "split_changed": "the image's split changed, or the sets are limited to different splits",
    "remeasured": "the cell was measured with another background percentile or formula",
    "new_image": "the image was ingested after one of the sets was made",
    "image_changed": "the image was replaced, and its cells with it",
    "image_gone": "the image was gone when one of the sets was made",
}
"""Why a cell is clean in one set and not in the other."""

_COLUMNS: Final = ("change", "cause", "cell", "label_id", "label", "reason_a", "reason_b")

_FIRST_RULE: Final = BOUND_REASONS["lower"]
"""Stands for both reasons of the first rule with a percentile."""

ReasonKey = tuple[int, str]
"""A label, and the reason that a rule gives under it."""


_Bounds = list[tuple[str, float | None, float | None]]
"""The bounds of a rule for a label, by group of images."""


@dataclass(frozen=True)
class _Rule:
    """What decides which cells a rule drops: all but its position and name."""

    measure: str
    channel: str | None
    condition: str | None
    lower: RuleBound
    upper: RuleBound
    grouped_by: str | None
    min_cells: int
    small_labels: str | None


@dataclass(frozen=True)
class _Side:
    """One of two clean sets."""

    row: CleanSetRow
    rules: Mapping[ReasonKey, _Rule]
    bounds: Mapping[ReasonKey, _Bounds]
    judged: Mapping[str, set[int]]
    """Labels for which it judged an image, by image; only of images that one set lacks."""


def clean_diff(store: Store, a: str, b: str) -> pd.DataFrame:
    """List the cells that are clean in one of two clean sets and not in the other, with the cause.

    Parameters
    ----------
    store : Store
    a, b : str
        ``NAME``, the newest version, or ``NAME@VERSION``.

    Returns
    -------
    DataFrame
        ``change, cause, cell, label_id, label, reason_a, reason_b``: `change` is ``in`` for a cell
        that is clean in `b` only and ``out`` for one that is clean in `a` only; `cause` is one of
        `CAUSES`; a reason is missing where the verdict is clean, or the set has none on the cell.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        set_a = find_clean_set(connection, a)
        set_b = find_clean_set(connection, b)
        return differences(connection, set_a.id, set_b.id, read_classes(connection))


def differences(connection: Connection, a: int, b: int, classes: Classes) -> pd.DataFrame:
    """List what `clean_diff` lists, of two clean sets by their keys, in an open transaction."""
    import pandas as pd

    verdicts = differing_verdicts(connection, a, b)
    names = {name for name, _, _ in verdicts[0].keys() ^ verdicts[1].keys()}
    sides = (_side(connection, a, names, classes), _side(connection, b, names, classes))
    images = image_histories(connection, names)
    rows = list(_differences(verdicts, sides, images, classes))
    frame = pd.DataFrame(rows, columns=list(_COLUMNS))
    return frame.sort_values(["change", "cause", "cell", "label_id"], ignore_index=True)


def summarise_diff(differences: pd.DataFrame) -> pd.DataFrame:
    """Count what `clean_diff` lists: ``change, cause, cells``, the largest count first."""
    counted = differences.groupby(["change", "cause"]).size().reset_index(name="cells")
    return counted.sort_values(
        ["cells", "change", "cause"], ascending=[False, True, True], ignore_index=True
    )


def _differences(
    verdicts: tuple[Mapping[VerdictKey, SetVerdict], Mapping[VerdictKey, SetVerdict]],
    sides: tuple[_Side, _Side],
    images: Mapping[str, ImageHistory],
    classes: Classes,
) -> Iterator[tuple[Any, ...]]:
    """Give the rows of `clean_diff`."""
    for key in {**verdicts[0], **verdicts[1]}:
        a = verdicts[0].get(key)
        b = verdicts[1].get(key)
        clean_in_a = a is not None and a.clean
        clean_in_b = b is not None and b.clean
        if clean_in_a == clean_in_b:
            continue

        name, mask_id, label_id = key
        cell = f"{name}:{mask_id}"
        yield (
            "in" if clean_in_b else "out",
            _cause(key, (a, b), sides, images.get(name)),
            cell,
            label_id,
            decoding.label_name(label_id, f"cell {cell}", classes),
            a and a.reason,
            b and b.reason,
        )


def _cause(
    key: VerdictKey,
    pair: tuple[SetVerdict | None, SetVerdict | None],
    sides: tuple[_Side, _Side],
    image: ImageHistory | None,
) -> str:
    """Name why the verdicts of a pair differ, of which one may be missing."""
    a, b = pair
    side_a, side_b = sides
    if a is None:
        return _absence(key, side_a, side_b, image)
    if b is None:
        return _absence(key, side_b, side_a, image)
    if a.archived != b.archived:
        return "image_changed"

    reasons = (a.reason, b.reason)
    if any(reason in OVERRIDE_REASONS for reason in reasons):
        return "override"
    if "kept_best" in reasons:
        return "rule_changed" if side_a.row.guard != side_b.row.guard else "guard"
    if a.clean:
        return _by_rule(key[2], b.reason or "", side_b, side_a)
    return _by_rule(key[2], a.reason or "", side_a, side_b)


def _absence(key: VerdictKey, without: _Side, other: _Side, image: ImageHistory | None) -> str:
    """Name why one set has no verdict on a cell for a label where another has one.

    By what both sets hold about the image, which does not change when the image does later.
    """
    name, _, label = key
    if judged := without.judged.get(name):
        of_cell = image is not None and _only_relabelled(image, without, other)
        return "image_changed" if label in judged and not of_cell else "relabelled"
    if _is_in_other_split(without, other, image):
        return "split_changed"

    made = without.row.created_at
    other_made = other.row.created_at
    if image is not None and _is_between(without, image.relabelled_at, other):
        return "relabelled"
    if without.row.scope != other.row.scope and len(other.judged[name]) > 1:
        return "rule_changed"

    is_older = made < other_made
    if is_older and (image is None or image.ingested_at > made):
        return "new_image"
    return "split_changed" if is_older and without.row.split is not None else "image_gone"


def _only_relabelled(image: ImageHistory, one: _Side, other: _Side) -> bool:
    """Whether cells of an image got other labels between two sets, and the image is the same."""
    return _is_between(one, image.relabelled_at, other) and not _is_between(
        one, image.ingested_at, other
    )


def _is_between(one: _Side, moment: datetime | None, other: _Side) -> bool:
    first, last = sorted((one.row.created_at, other.row.created_at))
    return moment is not None and first < moment <= last


def _is_in_other_split(without: _Side, other: _Side, image: ImageHistory | None) -> bool:
    """Whether a set has no verdict on an image since the image is not in the set's split.

    The store keeps only an image's current split.  For a deleted image, the split of the other set
    tells.
    """
    limited = without.row.split
    if limited is None:
        return False
    if image is None:
        return other.row.split not in (None, limited)
    was_gone = image.gone_at is not None and image.gone_at <= without.row.created_at
    return image.split != limited and not was_gone


def _by_rule(label: int, reason: str, dropping: _Side, other: _Side) -> str:
    """Name why a cell is dropped by one set and not by another that has judged it too."""
    if reason == "dark":
        same_limit = dropping.row.min_green == other.row.min_green
        return "relabelled" if same_limit else "rule_changed"

    key = (label, _FIRST_RULE if reason in BOUND_REASONS.values() else reason)
    rule = dropping.rules.get(key)
    if rule is None:  # no_channel, no_background and the like, which belong to all rules together
        if dropping.rules != other.rules:
            return "rule_changed"
        return "threshold_moved" if reason == "no_threshold" else "remeasured"

    same_rules = (k for k, r in other.rules.items() if k[0] == label and r == rule)
    twin = next(same_rules, None)
    if twin is None:
        return "rule_changed"
    if rule.measure == "fraction":
        percentile = dropping.row.background_percentile
        if percentile != other.row.background_percentile:
            return "remeasured"
    return "threshold_moved" if dropping.bounds.get(key) != other.bounds.get(twin) else "remeasured"


def _side(connection: Connection, set_id: int, names: set[str], classes: Classes) -> _Side:
    """Read what is compared of a clean set; its judged labels only of images with these names."""
    row = read_clean_set(connection, set_id)
    stored = read_rules(connection, set_id, classes)
    rules: dict[ReasonKey, _Rule] = {}
    for rule in stored:
        content = _Rule(
            *(rule.measure, rule.channel, rule.condition, rule.lower, rule.upper),
            *(rule.grouped_by, row.min_cells, row.small_labels),
        )
        rules |= {(label, rule.reason or _FIRST_RULE): content for label in rule.labels}

    by_id = {rule.id: rule for rule in stored}
    bounds: dict[ReasonKey, _Bounds] = {}
    for bound in read_bounds(connection, set_id, classes):
        rule = by_id[bound.rule_id]
        of_rule = bounds.setdefault((bound.label_id, rule.reason or _FIRST_RULE), [])
        of_rule.append((rule.group_value or "", bound.lower, bound.upper))
    for of_rule in bounds.values():
        of_rule.sort(key=lambda of_group: of_group[0])
    return _Side(row, rules, bounds, judged_labels(connection, set_id, names))
