"""Make clean sets, and look at them."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection

from hpastore.clean.diff import differences
from hpastore.clean.limits import ForcedDrop, IdleRule, forced_drops, idle_rules
from hpastore.clean.recipe import parse_recipe, recipe_toml
from hpastore.clean.rules import COUNTED, SHOWN, CleanRecipe, Rule, check_name
from hpastore.errors import UsageError
from hpastore.ingestion.remeasure import warn_of_other_version
from hpastore.store import (
    custom_measures,
    decoding,
    figures,
    judging,
    label_thresholds,
    measurement_settings,
    roots_and_splits,
    stored_sets,
)
from hpastore.store.engine import Store
from hpastore.vocabulary import find_label

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CleanSetSummary:
    """A clean set as it was made.

    Parameters
    ----------
    name, version
        As in ``NAME@VERSION``.
    cells, clean
        Number of verdicts, and of those that are clean; a cell has one for each label it is judged
        against.
    emptied
        Number of images that lost all their cells for a label; each label of an image counts.
    split
        The split that it is limited to.
    idle
        Rules whose percentiles and medians bound nothing for a label, since it has too few cells.
    forced
        Percentiles that drop a label's lowest or highest cell, however good, since it has few cells.
    flips
        What a refresh changed; empty for a set that was created.
    shares
        Labels whose share clean a refresh moved by more than `MUCH`.
    skipped_images, skipped_cells
        Images with several labels, and their cells, that are not judged since the scope is ``single``.
    superseded
        The version that the name meant before, if that is of another split or by other rules.
    """

    name: str
    version: int
    cells: int
    clean: int
    emptied: int = 0
    split: str | None = None
    idle: tuple[IdleRule, ...] = ()
    forced: tuple[ForcedDrop, ...] = ()
    flips: tuple[Flips, ...] = ()
    shares: tuple[ShareMove, ...] = ()
    skipped_images: int = 0
    skipped_cells: int = 0
    superseded: Superseded | None = None


@dataclass(frozen=True)
class Superseded:
    """The version that a clean set's name meant before another was made, and how the two differ.

    Parameters
    ----------
    version
    split
        The split that it is limited to.
    other_split, other_rules
        Whether its split differs, and its rules, scope or limits.
    """

    version: int
    split: str | None
    other_split: bool
    other_rules: bool


@dataclass(frozen=True)
class Flips:
    """How many cells of a label a refresh made clean, or not clean any more, for one cause.

    Parameters
    ----------
    label_id, label
    change
        ``in`` or ``out``.
    cause
        One of `hpastore.CAUSES`.
    cells
    """

    label_id: int
    label: str
    change: str
    cause: str
    cells: int


@dataclass(frozen=True)
class ShareMove:
    """Share of a label's verdicts that are clean, 0..1, before and after a refresh."""

    label_id: int
    label: str
    before: float
    after: float


MUCH: Final = 0.1
"""A share clean that moves by more is warned of."""


def thresholds(
    store: Store, rule: Rule | None = None, *, label: int | str | None = None, split: str | None = None
) -> pd.DataFrame:
    """Take two percentiles of a measure for every label.

    Parameters
    ----------
    store : Store
    rule : Rule, optional
        Which measure and percentiles; by default the notebook's.
    label : int or str, optional
        Only this label, given by id or name.
    split : str, optional
        Only cells of images of this split.

    Returns
    -------
    DataFrame
        ``label_id, label, n, lower, upper``: n cells that have a value, dark ones too, of images
        whose only label it is.  Labels without such a cell are left out.

    Raises
    ------
    UsageError
        If there is no such measure, channel, label or split, or a percentile is not a share.

    Notes
    -----
    Equal to ``numpy.quantile(values, q)`` to the last bit, on both databases.
    """
    rule = rule or Rule()
    label_id = None if label is None else find_label(label)
    with store.reading() as connection:
        rule = rule.checked(label_thresholds.custom_channels(connection))
        shares = {side: number for side, (kind, number) in rule.sides.items() if kind == "percentile"}
        if rule.is_flag:
            raise UsageError(f"{rule.measure} is a flag and has no percentiles")
        if len(shares) < 2:
            raise UsageError(
                f"thresholds takes two percentiles of a measure; {rule.measure} was given others"
            )
        roots_and_splits.require_split(connection, split)
        rows = label_thresholds.thresholds(connection, rule.measure, rule.channel, shares, label_id, split)
        warn_of_gaps(connection, {rule.measure})
    return _frame(rows, ["label_id", "label", "n", "lower", "upper"])


def measure_name(store: Store, rule: Rule) -> str:
    """Name what a rule asks for, after its channel if it is of one: ``green fraction``, ``area``."""
    with store.reading() as connection:
        checked = rule.checked(label_thresholds.custom_channels(connection))
    return " ".join(filter(None, (checked.channel, checked.measure)))


def create_clean_set(
    store: Store,
    name: str,
    recipe: CleanRecipe | None = None,
    *,
    frozen: bool = False,
    split: str | None = None,
) -> CleanSetSummary:
    """Judge all cells by a recipe, and keep the verdicts under a name.

    Parameters
    ----------
    store : Store
    name : str
        A name that exists gets its next version; older ones are kept.
    recipe : CleanRecipe, optional
        By default the notebook's.
    frozen : bool
        Whether later versions that `refresh_clean_set` makes keep its thresholds.
    split : str, optional
        Only cells of images of this split are judged, and make the thresholds; later versions that
        `refresh_clean_set` makes are limited to it too.

    Returns
    -------
    CleanSetSummary

    Raises
    ------
    UsageError
        If the name or the recipe makes no sense, there is no such split, or the store has no labelled cell
        to judge.
    """
    check_name(name)
    recipe = recipe or CleanRecipe()

    def create(connection: Connection) -> CleanSetSummary:
        return _create(connection, name, recipe, frozen=frozen, split=split)

    return store.write(create)


def refresh_clean_set(store: Store, name: str) -> CleanSetSummary:
    """Make a new version of a clean set by the same recipe, over the cells and overrides of now.

    Parameters
    ----------
    store : Store
    name : str
        ``NAME``, the newest version, or ``NAME@VERSION``.  A frozen one passes on its thresholds; the
        new version is frozen too.

    Returns
    -------
    CleanSetSummary
        With what changed since that version, per label and cause.  A label whose share clean moved by more
        than `MUCH` is warned of.

    Raises
    ------
    NotFoundError
        If there is no such set.
    UsageError
        If its recipe cannot be used any more.

    Notes
    -----
    Where no cell is left to judge, such as after all images went to another split, the new version has no
    verdict, and a warning says so.
    """

    def refresh(connection: Connection) -> CleanSetSummary:
        set_id, stem, _ = stored_sets.find_clean_set(connection, name)
        before = stored_sets.clean_set(connection, set_id)
        kept = None
        if before["frozen"]:
            positions = {rule["id"]: rule["position"] for rule in stored_sets.clean_rules(connection, set_id)}
            bounds = stored_sets.clean_bounds(connection, set_id)
            kept = {(positions[bound["rule_id"]], bound["label_id"]): bound for bound in bounds}
        recipe = parse_recipe(before["recipe_toml"], f"recipe of {name}")
        made = _create(
            connection,
            stem,
            recipe,
            frozen=before["frozen"],
            split=before["split"],
            kept=kept,
            refreshed=True,
        )
        return _compared(connection, set_id, made)

    return store.write(refresh)


def freeze_clean_set(store: Store, name: str, *, frozen: bool = True) -> None:
    """Have a version keep its thresholds when data arrive, or follow them again.

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
    store.write(
        lambda connection: judging.freeze(
            connection, stored_sets.find_clean_set(connection, name)[0], frozen=frozen
        )
    )


def drop_clean_set(store: Store, name: str) -> int:
    """Delete a clean set: ``NAME`` with all its versions, ``NAME@VERSION`` that one.

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
        set_id, stem, _ = stored_sets.find_clean_set(connection, name)
        ids = [set_id] if "@" in name else [row["id"] for row in stored_sets.versions(connection, stem)]
        judging.drop(connection, ids)
        return len(ids)

    return store.write(drop)


def clean_sets(store: Store) -> pd.DataFrame:
    """List the clean sets, one row per version, with the numbers of their verdicts.

    `former` ones are on cells that are no more, since their image was replaced or pruned; they are not
    among `cells` and `clean`.
    """
    with store.reading() as connection:
        rows = stored_sets.clean_sets(connection)
    counts = ("rules", "cells", "clean", "former")
    return _frame(rows, ("name", "version", "created_at", "scope", "split", "min_green", "frozen", *counts))


def clean_set(store: Store, name: str) -> pd.DataFrame:
    """Show a clean set: per label its verdicts counted by reason, and the bounds of its first percentiles.

    Parameters
    ----------
    store : Store
    name : str
        ``NAME``, the newest version, or ``NAME@VERSION``.

    Returns
    -------
    DataFrame
        ``label_id, label, split, measure, channel, n, lower, upper, cells, clean`` and a count for each
        reason that occurs, in the order in which they are asked; after them ``emptied``, the images that lost
        all cells for the label, and the numbers of its ``idle_rules`` and ``forced_drops``, which
        `clean_set_limits` lists.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    import pandas as pd

    with store.reading() as connection:
        set_id, _, _ = stored_sets.find_clean_set(connection, name)
        split = stored_sets.clean_set(connection, set_id)["split"]
        rows = stored_sets.clean_set_labels(connection, set_id)
        reasons = stored_sets.reasons(connection, set_id)
        emptied = stored_sets.emptied(connection, set_id)
        limits = _limits(connection, set_id, [row["label_id"] for row in rows])
    found = [
        {
            **{column: split if column == "split" else row[column] for column in SHOWN},
            **{reason: row["reasons"].get(reason, 0) for reason in reasons},
            **{
                name: sum(_label_of(one) == row["label_id"] for one in ones)
                for name, ones in zip(COUNTED, (emptied, *limits), strict=True)
            },
        }
        for row in rows
    ]
    return pd.DataFrame(found, columns=[*SHOWN, *reasons, *COUNTED]).astype({"n": "Int64"})


def clean_set_limits(store: Store, name: str) -> tuple[tuple[IdleRule, ...], tuple[ForcedDrop, ...]]:
    """Find what a clean set's bounds cannot do for labels with few cells.

    Parameters
    ----------
    store : Store
    name : str
        ``NAME``, the newest version, or ``NAME@VERSION``.

    Returns
    -------
    idle, forced
        Rules whose percentiles and medians bound nothing for a label, since it has fewer cells than
        `min_cells`; and percentiles that drop a label's lowest or highest cell, however good that is.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        set_id, _, _ = stored_sets.find_clean_set(connection, name)
        labels = [row["label_id"] for row in stored_sets.clean_set_labels(connection, set_id)]
        return _limits(connection, set_id, labels)


def clean_set_recipe(store: Store, name: str) -> str:
    """Read the recipe of a clean set as it was given: TOML.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        set_id, _, _ = stored_sets.find_clean_set(connection, name)
        return str(stored_sets.clean_set(connection, set_id)["recipe_toml"])


def emptied_images(store: Store, name: str) -> pd.DataFrame:
    """List the images that lost all their cells for a label: ``image_name, label_id, label, cells``.

    Raises
    ------
    NotFoundError
        If there is no such set.
    """
    with store.reading() as connection:
        set_id, _, _ = stored_sets.find_clean_set(connection, name)
        rows = stored_sets.emptied(connection, set_id)
    return _frame(rows, ("image_name", "label_id", "label", "cells"))


def warn_of_gaps(connection: Connection, measures: Iterable[str]) -> None:
    """Say so where not all images have these measures, or not of one recipe: bounds are of a mixture then."""
    if stale := measurement_settings.count_stale(connection):
        logger.warning(
            "%d images have numbers of another background percentile; 'hpastore remeasure' takes them again",
            stale,
        )
    warn_of_other_version(connection)
    of_users = {row["name"]: row["version"] for row in custom_measures.measures(connection)}
    for name in sorted(of_users.keys() & set(measures)):
        if lacking := custom_measures.count_lacking(connection, frozenset({(name, of_users[name])})):
            what = "'hpastore remeasure' or an ingest of their roots gives it to them"
            logger.warning("%d images lack %s of version %d; %s", lacking, name, of_users[name], what)


def _create(
    connection: Connection,
    name: str,
    recipe: CleanRecipe,
    *,
    frozen: bool,
    split: str | None,
    kept: Any = None,
    refreshed: bool = False,
) -> CleanSetSummary:
    if not refreshed:
        roots_and_splits.require_split(connection, split)
    checked = recipe.checked(label_thresholds.custom_channels(connection))
    store_recipe = measurement_settings.current_settings(connection)
    columns = {
        "name": name,
        "scope": checked.scope,
        "min_green": checked.min_green,
        "min_cells": checked.min_cells,
        "guard": checked.guard,
        "recipe_toml": recipe_toml(checked),
        "frozen": frozen,
        "split": split,
        "background_percentile": store_recipe and store_recipe.background_percentile,
        # The moment is taken by who may write: an image that was stored before it belongs to the set.
        "created_at": datetime.now(UTC),
    }
    superseded = _superseded(connection, name, checked, split)
    set_id, version = judging.write_clean_set(connection, columns, checked.rows(), kept)
    rows = stored_sets.clean_set_labels(connection, set_id)
    if not rows and refreshed:
        left = "there is no cell to judge" if split is None else f"no cell of split {split} is left to judge"
        logger.warning("clean set %s@%d has no verdict: %s", name, version, left)
    elif not rows:
        of_split = "" if split is None else f" in split {split}"
        raise UsageError(f"no cell to judge{of_split}; ingest images with labels first, or use --scope all")
    emptied = len(stored_sets.emptied(connection, set_id))
    lists = (checked.rules, *checked.labels.values())
    warn_of_gaps(connection, {rule.measure for rules in lists for rule in rules})
    idle, forced = _limits(connection, set_id, [row["label_id"] for row in rows])
    skipped = label_thresholds.count_multilabel(connection, split) if checked.scope == "single" else (0, 0)
    return CleanSetSummary(
        name,
        version,
        sum(row["cells"] for row in rows),
        sum(row["clean"] for row in rows),
        emptied,
        split,
        idle,
        forced,
        skipped_images=skipped[0],
        skipped_cells=skipped[1],
        superseded=superseded,
    )


def _superseded(
    connection: Connection, name: str, recipe: CleanRecipe, split: str | None
) -> Superseded | None:
    """Find the newest version of a name, if it is of another split or by other rules than the next one."""
    before = stored_sets.versions(connection, name)
    if not before:
        return None
    last = before[-1]
    try:
        channels = label_thresholds.custom_channels(connection)
        rules = parse_recipe(last["recipe_toml"], f"recipe of {name}").checked(channels)
        other_rules = _meaning(rules) != _meaning(recipe)
    except UsageError:  # a measure that is not there any more, for example
        other_rules = True
    other_split = last["split"] != split
    if not (other_split or other_rules):
        return None
    return Superseded(last["version"], last["split"], other_split, other_rules)


def _meaning(recipe: CleanRecipe) -> tuple[Any, ...]:
    """What a recipe says, however its text is written."""
    return recipe.rows(), recipe.scope, recipe.min_green, recipe.min_cells, recipe.guard


def _limits(
    connection: Connection, set_id: int, labels: Sequence[int]
) -> tuple[tuple[IdleRule, ...], tuple[ForcedDrop, ...]]:
    min_cells = stored_sets.clean_set(connection, set_id)["min_cells"]
    rules, bounds = stored_sets.clean_rules(connection, set_id), stored_sets.clean_bounds(connection, set_id)
    return idle_rules(rules, bounds, min_cells, labels), forced_drops(rules, bounds, min_cells, labels)


def _label_of(one: Any) -> int:
    return int(one["label_id"] if isinstance(one, Mapping) else one.label_id)


def _compared(connection: Connection, before: int, made: CleanSetSummary) -> CleanSetSummary:
    """Add to a set that was made what differs from the version before."""
    set_id, _, _ = stored_sets.find_clean_set(connection, f"{made.name}@{made.version}")
    found = differences(connection, before, set_id)
    keys = ["label_id", "label", "change", "cause"]
    grouped = found.groupby(keys).size().reset_index(name="cells")
    flips = tuple(Flips(*row) for row in grouped[[*keys, "cells"]].itertuples(index=False, name=None))
    counts = [figures.counts_by_label(connection, key) for key in (before, set_id)]
    shares = _share_moves(*({label: n / cells for label, (cells, n) in of.items()} for of in counts))
    if shares:
        moves = ", ".join(f"{m.label_id} {m.label} from {m.before:.1%} to {m.after:.1%}" for m in shares)
        version = stored_sets.clean_set(connection, before)["version"]
        logger.warning(
            "%s@%d: the share clean moved by more than ten points, of %s; "
            "'hpastore clean diff %s@%d %s@%d' lists the cells",
            *(made.name, made.version, moves, made.name, version, made.name, made.version),
        )
    return replace(made, flips=flips, shares=shares)


def _share_moves(before: Mapping[int, float], after: Mapping[int, float]) -> tuple[ShareMove, ...]:
    return tuple(
        ShareMove(label, decoding.label_name(label, "clean_set_cell"), before[label], after[label])
        for label in sorted(before.keys() & after.keys())
        if abs(after[label] - before[label]) > MUCH
    )


def _frame(rows: Any, columns: Any) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([tuple(row.values()) for row in rows], columns=list(columns))
