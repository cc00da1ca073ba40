"""List, show, freeze and drop clean sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from hpastore.classes import Classes
from hpastore.clean.limits import Limits, forced_drops, idle_rules, stand_ins
from hpastore.clean.recipe import stored_recipe
from hpastore.clean.rules import COUNTED, SHOWN
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.counts import (
    LabelCounts,
    count_by_label,
    list_clean_sets,
    read_emptied_images,
    read_reasons,
)
from hpastore.store.clean_sets.materialise import delete_clean_sets, set_frozen
from hpastore.store.clean_sets.rows import (
    find_clean_set,
    read_bounds,
    read_clean_set,
    read_rules,
    read_versions,
)
from hpastore.store.engine import Store

if TYPE_CHECKING:
    import pandas as pd


def clean_sets(store: Store) -> pd.DataFrame:
    """List the clean sets, one row per version, with the numbers of their verdicts.

    `archived` verdicts are on cells that were deleted since, because their image was replaced or
    pruned; they are not among `cells` and `clean`.
    """
    with store.reading() as connection:
        rows = list_clean_sets(connection)
    columns = ("name", "version", "created_at", "scope", "split", "min_green", "frozen")
    counts = ("rules", "cells", "clean", "archived")
    return _frame([tuple(row.values()) for row in rows], (*columns, *counts))


def clean_set(store: Store, name: str) -> pd.DataFrame:
    """Show a clean set: verdicts by label and reason, and the bounds of the first percentiles.

    Parameters
    ----------
    store : Store
    name : str
        ``NAME``, the newest version, or ``NAME@VERSION``.

    Returns
    -------
    DataFrame
        ``label_id, label, split, measure, channel, n, lower, upper, cells, clean`` and a count for
        each reason that occurs, in the order in which they are checked; after them ``emptied``, the
        images that lost all cells for the label, and the numbers of its ``idle_rules`` and
        ``forced_drops``, which `clean_set_limits` lists.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        set_id = find_clean_set(connection, name).id
        split = read_clean_set(connection, set_id).split
        classes = read_classes(connection)
        labels = count_by_label(connection, set_id, classes)
        reasons = read_reasons(connection, set_id)
        emptied = read_emptied_images(connection, set_id)
        limits = read_limits(connection, set_id, [one.label_id for one in labels], classes)

    counted = (emptied, limits.idle, limits.forced)
    by_label = [Counter(one.label_id for one in found) for found in counted]
    rows = [
        (
            *_shown_columns(counts, split),
            *(counts.reasons.get(reason, 0) for reason in reasons),
            *(counter[counts.label_id] for counter in by_label),
        )
        for counts in labels
    ]
    return _frame(rows, (*SHOWN, *reasons, *COUNTED)).astype({"n": "Int64"})


def _shown_columns(counts: LabelCounts, split: str | None) -> list[Any]:
    """Values of the columns `SHOWN`."""
    return [split if name == "split" else getattr(counts, name) for name in SHOWN]


def clean_set_limits(store: Store, name: str) -> Limits:
    """Find what a clean set's bounds cannot do for labels with few cells.

    Parameters
    ----------
    store : Store
    name : str
        ``NAME``, the newest version, or ``NAME@VERSION``.

    Returns
    -------
    idle, forced, stand_ins
        Rules whose percentiles and medians bound nothing for a label, since it has fewer cells than
        `min_cells`; percentiles that drop a label's lowest or highest cell, however good that is;
        and rules for whose labels others stand in.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        set_id = find_clean_set(connection, name).id
        classes = read_classes(connection)
        labels = [counts.label_id for counts in count_by_label(connection, set_id, classes)]
        return read_limits(connection, set_id, labels, classes)


def read_limits(
    connection: Connection, set_id: int, labels: Sequence[int], classes: Classes
) -> Limits:
    """Find what `clean_set_limits` finds, for some labels, in an open transaction."""
    min_cells = read_clean_set(connection, set_id).min_cells
    rules = read_rules(connection, set_id, classes)
    bounds = read_bounds(connection, set_id, classes)
    found = (rules, bounds, min_cells, labels, classes)
    return Limits(idle_rules(*found), forced_drops(*found), stand_ins(*found))


def clean_set_recipe(store: Store, name: str) -> str:
    """Read the recipe of a clean set as it was given, with the keys of today: TOML.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        set_id = find_clean_set(connection, name).id
        row = read_clean_set(connection, set_id)
        return stored_recipe(row.recipe_toml, row.recipe_version)


def emptied_images(store: Store, name: str) -> pd.DataFrame:
    """List the images without a clean cell for a label: ``image_name, label_id, label, cells``.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        rows = read_emptied_images(connection, find_clean_set(connection, name).id)
    return _frame(rows, ("image_name", "label_id", "label", "cells"))


def freeze_clean_set(store: Store, name: str, *, frozen: bool = True) -> None:
    """Keep a version's thresholds in later versions, or let them follow new data again.

    Parameters
    ----------
    store : Store
    name : str
        ``NAME``, the newest version, or ``NAME@VERSION``.
    frozen : bool

    Raises
    ------
    NotFoundError
        If there is no such set.
    """

    def freeze(connection: Connection) -> None:
        set_frozen(connection, find_clean_set(connection, name).id, frozen=frozen)

    store.write(freeze)


def drop_clean_set(store: Store, name: str) -> int:
    """Delete a clean set: ``NAME`` with all its versions, ``NAME@VERSION`` only that one.

    Returns
    -------
    int
        Number of versions deleted.

    Raises
    ------
    NotFoundError
        If there is none.
    """

    def drop(connection: Connection) -> int:
        found = find_clean_set(connection, name)
        all_versions = [version.id for version in read_versions(connection, found.name)]
        ids = [found.id] if "@" in name else all_versions
        delete_clean_sets(connection, ids)
        return len(ids)

    return store.write(drop)


def _frame(rows: Iterable[Any], columns: Sequence[str]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(list(rows), columns=list(columns))
