"""Compare two clean sets cell by cell, and name the cause of each difference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import Connection

from hpastore.store import decoding, judging, statements, stored_sets
from hpastore.store.engine import Store
from hpastore.vocabulary import LABEL_NAMES

if TYPE_CHECKING:
    import pandas as pd

CAUSES: Final = {
    "threshold_moved": "other cells moved a bound of the same rule",
    "rule_changed": "the recipes differ: the rule, the dark limit, the guard or the scope",
    "override": "somebody decided about the cell, or took it back",
    "guard": "the cell was kept as its image's best, and is not any more, or is now",
    "relabelled": "the image's labels changed",
    "split_changed": "the image's split changed, or the sets are limited to different splits",
    "remeasured": "the cell's numbers were computed with another background percentile or formula",
    "new_image": "the image came after one of the sets was made",
    "image_changed": "the image was replaced, and its cells with it",
    "image_gone": "the image had left its inputs when one of the sets was made",
}
"""Why a cell is clean in one set and not in the other."""

_COLUMNS: Final = ("change", "cause", "cell", "label_id", "label", "reason_a", "reason_b")

Key = tuple[str, int, int]
"""Image's name, mask id, label."""


class Verdict(NamedTuple):
    """A row of a clean set, as it is compared."""

    clean: bool
    reason: str | None
    former: bool
    """Whether its cell's image was replaced or pruned since."""


@dataclass(frozen=True)
class _Side:
    """One of two clean sets."""

    row: statements.Row
    rules: Mapping[tuple[int, str], tuple[Any, ...]]
    """What the rule behind a label's reason says; without its place and name."""
    bounds: Mapping[tuple[int, str], tuple[float | None, float | None]]
    judged: Mapping[str, set[int]]
    """Labels under which it has judged an image, by image of which one set has verdicts and one has not."""


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
        ``change, cause, cell, label_id, label, reason_a, reason_b``: `change` is ``in`` for a cell that is
        clean in `b` only and ``out`` for one that is clean in `a` only; `cause` is one of `CAUSES`; a
        reason is missing where the verdict is clean, or the set has none on the cell.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        ids = [stored_sets.find_clean_set(connection, name)[0] for name in (a, b)]
        return differences(connection, *ids)


def differences(connection: Connection, a: int, b: int) -> pd.DataFrame:
    """List what `clean_diff` lists of two clean sets by their keys, in a transaction that is there."""
    import pandas as pd

    verdicts = judging.differing(connection, a, b)
    names = {key[0] for key in verdicts[0].keys() ^ verdicts[1].keys()}
    sides = [_side(connection, set_id, names) for set_id in (a, b)]
    images = judging.image_facts(connection, names)
    frame = pd.DataFrame(list(_differences(verdicts, sides, images)), columns=list(_COLUMNS))
    return frame.sort_values(["change", "cause", "cell", "label_id"], ignore_index=True)


def summarise_diff(differences: pd.DataFrame) -> pd.DataFrame:
    """Count what `clean_diff` lists: ``change, cause, cells``, what is most first."""
    counted = differences.groupby(["change", "cause"]).size().reset_index(name="cells")
    return counted.sort_values(["cells", "change", "cause"], ascending=[False, True, True], ignore_index=True)


def _differences(
    verdicts: tuple[Mapping[Key, Any], Mapping[Key, Any]],
    sides: list[_Side],
    images: Mapping[str, statements.Row],
) -> Iterator[tuple[Any, ...]]:
    for key in {**verdicts[0], **verdicts[1]}:
        pair = [None if found is None else Verdict(*found) for found in (v.get(key) for v in verdicts)]
        clean_in = [one is not None and one.clean for one in pair]
        if clean_in[0] == clean_in[1]:
            continue
        name, mask_id, label_id = key
        cause = _cause(key, pair, sides, images.get(name))
        change = "in" if clean_in[1] else "out"
        reasons = [None if one is None else one.reason for one in pair]
        cell = f"{name}:{mask_id}"
        yield change, cause, cell, label_id, decoding.label_name(label_id, f"cell {cell}"), *reasons


def _cause(key: Key, pair: list[Verdict | None], sides: list[_Side], image: statements.Row | None) -> str:
    """Name why the verdicts of a pair differ, of which one may be missing."""
    if pair[0] is None or pair[1] is None:
        missing = 0 if pair[0] is None else 1
        return _absence(key, sides[missing], sides[1 - missing], image)
    if pair[0].former != pair[1].former:
        return "image_changed"
    reasons = [one.reason or "" for one in pair if one is not None]
    if any(reason.startswith("override_") for reason in reasons):
        return "override"
    if "kept_best" in reasons:
        return "rule_changed" if sides[0].row["guard"] != sides[1].row["guard"] else "guard"
    unclean = 0 if not pair[0].clean else 1
    return _by_rule(key[2], reasons[unclean], sides[unclean], sides[1 - unclean])


def _absence(key: Key, lacks: _Side, has: _Side, image: statements.Row | None) -> str:
    """Name why a set has no verdict on a cell for a label where another has one.

    By what both sets say of the image, which does not change when the image does later.
    """
    name, _, label = key
    if judged := lacks.judged.get(name):
        return "image_changed" if label in judged else "relabelled"
    if _is_of_other_split(lacks, has, image):
        return "split_changed"
    made = (lacks.row["created_at"], has.row["created_at"])
    relabelled = image and image["relabelled_at"]
    if relabelled and min(made) < relabelled <= max(made):
        return "relabelled"
    if lacks.row["scope"] != has.row["scope"] and len(has.judged[name]) > 1:
        return "rule_changed"
    came = image is None or image["ingested_at"] > made[0]
    if came and made[0] < made[1]:
        return "new_image"
    entered = lacks.row["split"] is not None and made[0] < made[1]
    return "split_changed" if entered else "image_gone"


def _is_of_other_split(lacks: _Side, has: _Side, image: statements.Row | None) -> bool:
    """Whether a set has no verdict on an image since it is limited to a split that is not the image's.

    The store keeps an image's split of now only: for a deleted image, the split that the other set is
    limited to tells.
    """
    limited = lacks.row["split"]
    if limited is None:
        return False
    if image is None:
        return has.row["split"] not in (None, limited)
    was_gone = image["gone_at"] is not None and image["gone_at"] <= lacks.row["created_at"]
    return bool(image["split"] != limited and not was_gone)


def _by_rule(label: int, reason: str, unclean: _Side, other: _Side) -> str:
    """Name why a cell is dropped by one set and not by another, that has judged it too."""
    if reason == "dark":
        return "rule_changed" if unclean.row["min_green"] != other.row["min_green"] else "relabelled"
    key = (label, {"above_upper": "below_lower"}.get(reason, reason))
    rule = unclean.rules.get(key)
    if rule is None:  # no_background, no_value, no_threshold: of the rules together
        if set(unclean.rules.items()) != set(other.rules.items()):
            return "rule_changed"
        return "threshold_moved" if reason == "no_threshold" else "remeasured"
    twin = next((k for k, r in other.rules.items() if k[0] == label and r == rule), None)
    if twin is None:
        return "rule_changed"
    percentiles = [side.row["background_percentile"] for side in (unclean, other)]
    if percentiles[0] != percentiles[1] and rule[0] == "fraction":
        return "remeasured"
    return "threshold_moved" if unclean.bounds.get(key) != other.bounds.get(twin) else "remeasured"


def _side(connection: Connection, set_id: int, names: set[str]) -> _Side:
    row = stored_sets.clean_set(connection, set_id)
    rules, bounds = stored_sets.clean_rules(connection, set_id), stored_sets.clean_bounds(connection, set_id)
    by_id = {rule["id"]: rule for rule in rules}
    said = {}
    for rule in rules:
        labels = range(len(LABEL_NAMES)) if rule["label_id"] is None else (rule["label_id"],)
        for label in labels:
            said[label, rule["reason"] or "below_lower"] = (
                *(rule[name] for name in judging.MEANING),
                row["min_cells"],
            )
    kept = {
        (bound["label_id"], by_id[bound["rule_id"]]["reason"] or "below_lower"): (
            bound["lower"],
            bound["upper"],
        )
        for bound in bounds
    }
    return _Side(row, said, kept, judging.labels_judged(connection, set_id, names))
