"""Create clean sets, and refresh them: a new version by the same recipe."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from hpastore.classes import Classes
from hpastore.clean.backgrounds import warn_of_bright_backgrounds
from hpastore.clean.diff import differences
from hpastore.clean.missing_channels import warn_of_missing_channels
from hpastore.clean.recipe import (
    RECIPE_VERSION,
    parse_recipe,
    recipe_toml,
    stored_recipe,
)
from hpastore.clean.rules import CleanRecipe, Groups
from hpastore.clean.sets import read_limits
from hpastore.clean.summary import (
    SHARE_WARNING,
    CleanSetSummary,
    Flips,
    ShareMove,
    Superseded,
)
from hpastore.clean.thresholds import warn_of_incomplete_measures
from hpastore.errors import UsageError
from hpastore.schema.clean_rows import BoundRow
from hpastore.store import decoding
from hpastore.store.classes import read_classes
from hpastore.store.clean_sets.bounds import RuleKey, rule_key
from hpastore.store.clean_sets.counts import (
    LabelCounts,
    clean_shares,
    count_by_label,
    read_emptied_images,
)
from hpastore.store.clean_sets.materialise import write_clean_set
from hpastore.store.clean_sets.rows import (
    FoundSet,
    find_clean_set,
    read_bounds,
    read_clean_set,
    read_rules,
    read_versions,
)
from hpastore.store.engine import Store
from hpastore.store.image_records import column_names, column_values
from hpastore.store.label_thresholds import count_multilabel, custom_channels
from hpastore.store.measurement_settings import current_settings
from hpastore.store.roots_and_splits import require_split
from hpastore.text import count_text, short_list

logger = logging.getLogger(__name__)

_MAX_GROUPS: Final = 400
"""Of a rule: bounds of more groups, each of a few images, would say little."""

_MAX_BOUNDS: Final = 15_000
"""Of grouped rules, labels and groups together: two parameters of a statement each."""

NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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
        Only cells of images in this split are judged, and make the thresholds; later versions that
        `refresh_clean_set` makes are limited to it too.

    Returns
    -------
    CleanSetSummary

    Raises
    ------
    UsageError
        If the name or the recipe is invalid, there is no such split, or the store has no labelled
        cell to judge.
    """
    check_name(name)
    recipe = recipe or CleanRecipe()

    def create(connection: Connection) -> CleanSetSummary:
        require_split(connection, split)
        classes = read_classes(connection)
        version = _write_version(connection, name, recipe, classes, frozen=frozen, split=split)
        if not version.labels:
            in_split = "" if split is None else f" in split {split}"
            raise UsageError(
                f"no cell to judge{in_split}; ingest images with labels first, or use --scope all"
            )
        return _summarise(connection, version, recipe, split, classes)

    return store.write(create)


def check_name(name: str) -> None:
    """Refuse an invalid name of a clean set.

    Raises
    ------
    UsageError
    """
    if not NAME_PATTERN.fullmatch(name):
        raise UsageError(
            f"invalid clean set name {name!r}; use up to 64 letters, digits, '.', '_' and '-', a "
            "letter or digit first"
        )


def refresh_clean_set(store: Store, name: str) -> CleanSetSummary:
    """Make a new version of a clean set by the same recipe, from the current cells and overrides.

    Parameters
    ----------
    store : Store
    name : str
        ``NAME``, the newest version, or ``NAME@VERSION``.  A frozen one passes on its thresholds;
        the new version is frozen too.

    Returns
    -------
    CleanSetSummary
        With what changed since that version, per label and cause.  A warning names the labels whose
        share of clean verdicts moved by more than `SHARE_WARNING`.

    Raises
    ------
    NotFoundError
        If there is no such set.
    UsageError
        If its recipe cannot be used any more.

    Notes
    -----
    Where no cell is left to judge, such as after all images moved to another split, the new version
    has no verdict, and a warning says so.
    """

    def refresh(connection: Connection) -> CleanSetSummary:
        old = find_clean_set(connection, name)
        before = read_clean_set(connection, old.id)
        classes = read_classes(connection)
        kept = _kept(connection, old.id, classes) if before.frozen else None
        text = stored_recipe(before.recipe_toml, before.recipe_version)
        recipe = parse_recipe(text, f"recipe of {name}")
        version = _write_version(
            connection,
            old.name,
            recipe,
            classes,
            frozen=before.frozen,
            split=before.split,
            kept=kept,
        )
        new = version.found
        if not version.labels:
            where = "" if before.split is None else f" in split {before.split}"
            logger.warning(
                "clean set %s has no verdicts: there are no cells to judge%s",
                new.versioned_name,
                where,
            )
        summary = _summarise(connection, version, recipe, before.split, classes)
        return _with_changes(connection, old, new, summary, classes)

    return store.write(refresh)


class _Kept(NamedTuple):
    """What a frozen version passes on."""

    bounds: dict[RuleKey, BoundRow]
    groups: dict[str, list[str]]
    """The groups of images that its rules have, by column of the label table."""


def _kept(connection: Connection, set_id: int, classes: Classes) -> _Kept:
    """Read the bounds and groups that a version keeps."""
    rules = {rule.id: rule for rule in read_rules(connection, set_id, classes)}
    bounds = {
        rule_key(rules[bound.rule_id], bound.label_id): bound
        for bound in read_bounds(connection, set_id, classes)
    }
    groups: dict[str, set[str]] = {}
    for rule in rules.values():
        if rule.grouped_by is not None and rule.group_value is not None:
            groups.setdefault(rule.grouped_by, set()).add(rule.group_value)
    return _Kept(bounds, {column: sorted(values) for column, values in groups.items()})


class _Version(NamedTuple):
    """A version that was written."""

    found: FoundSet
    labels: list[LabelCounts]
    superseded: Superseded | None


def _write_version(
    connection: Connection,
    name: str,
    recipe: CleanRecipe,
    classes: Classes,
    *,
    frozen: bool,
    split: str | None,
    kept: _Kept | None = None,
) -> _Version:
    """Write a new version, and count its verdicts by label."""
    columns = column_values(connection, recipe.grouped_by)
    valid = recipe.validated(custom_channels(connection), classes, column_names(connection))
    groups = columns if kept is None else kept.groups
    _require_few_groups(groups, valid, classes)
    _warn_of_new_groups(name, columns, groups)
    settings = current_settings(connection)
    row = {
        "name": name,
        "scope": valid.scope,
        "min_green": valid.min_green,
        "min_cells": valid.min_cells,
        "guard": valid.guard,
        "recipe_toml": recipe_toml(valid),
        "recipe_version": RECIPE_VERSION,
        "small_labels": None if valid.small_labels == "nothing" else valid.small_labels,
        "frozen": frozen,
        "split": split,
        "background_percentile": settings and settings.background_percentile,
        # Inside the writing transaction: an image that was stored before belongs to the set.
        "created_at": datetime.now(UTC),
    }
    superseded = _superseded(connection, name, valid, split, classes)
    rules = valid.rows(classes, groups)
    set_id, version = write_clean_set(connection, row, rules, classes, kept and kept.bounds)
    labels = count_by_label(connection, set_id, classes)
    return _Version(FoundSet(set_id, name, version), labels, superseded)


def _require_few_groups(groups: Groups, recipe: CleanRecipe, classes: Classes) -> None:
    """Refuse groups whose bounds no statement can hold: a database takes few parameters."""
    for column, values in groups.items():
        rows = (row for row in recipe.rows(classes) if row["grouped_by"] == column)
        rules = len({row["position"] for row in rows})
        most = min(_MAX_GROUPS, _MAX_BOUNDS // (max(rules, 1) * len(classes.ids)))
        if len(values) > most:
            raise UsageError(
                f"column {column!r} has {len(values):,} different values, which are too many "
                f"groups for {count_text(rules, 'rule')}; use a column with at most {most}"
            )


def _warn_of_new_groups(name: str, now: Groups, groups: Groups) -> None:
    """Warn of groups of images that a frozen set has no bounds for."""
    for column, values in now.items():
        new = sorted(set(values) - set(groups.get(column, ())))
        if new:
            logger.warning(
                "frozen clean set %s has no bounds for %s %s: its rules by %s drop none of their "
                "cells",
                name,
                column,
                short_list(new),
                column,
            )


def _summarise(
    connection: Connection,
    version: _Version,
    recipe: CleanRecipe,
    split: str | None,
    classes: Classes,
) -> CleanSetSummary:
    """Count the verdicts of a new version, and find what its author should know of it."""
    set_id, name, number = version.found
    rules = read_rules(connection, set_id, classes)
    warn_of_incomplete_measures(connection, {rule.measure for rule in rules})
    warn_of_missing_channels(connection, rules, split)
    warn_of_bright_backgrounds(connection, rules, split)
    labels = [counts.label_id for counts in version.labels]
    limits = read_limits(connection, set_id, labels, classes)
    skipped_images, skipped_cells = 0, 0
    if recipe.scope == "single":
        skipped_images, skipped_cells = count_multilabel(connection, split)
    return CleanSetSummary(
        name,
        number,
        cells=sum(counts.cells for counts in version.labels),
        clean=sum(counts.clean for counts in version.labels),
        emptied=len(read_emptied_images(connection, set_id)),
        split=split,
        idle=limits.idle,
        forced=limits.forced,
        stand_ins=limits.stand_ins,
        skipped_images=skipped_images,
        skipped_cells=skipped_cells,
        superseded=version.superseded,
    )


def _superseded(
    connection: Connection, name: str, recipe: CleanRecipe, split: str | None, classes: Classes
) -> Superseded | None:
    """Find the newest version of a name, if its split or rules differ from the next one's."""
    versions = read_versions(connection, name)
    if not versions:
        return None
    last = versions[-1]
    try:
        channels = custom_channels(connection)
        text = stored_recipe(last.recipe_toml, last.recipe_version)
        before = parse_recipe(text).validated(channels, classes)
        other_rules = _content(before, classes) != _content(recipe, classes)
    except UsageError:  # for example a custom measure that does not exist any more
        other_rules = True
    other_split = last.split != split
    if not (other_split or other_rules):
        return None
    return Superseded(last.version, last.split, other_split, other_rules)


def _content(recipe: CleanRecipe, classes: Classes) -> tuple[Any, ...]:
    """What a recipe means, however its text is written."""
    limits = (recipe.scope, recipe.min_green, recipe.min_cells, recipe.small_labels, recipe.guard)
    return recipe.rows(classes), *limits


def _with_changes(
    connection: Connection,
    old: FoundSet,
    new: FoundSet,
    summary: CleanSetSummary,
    classes: Classes,
) -> CleanSetSummary:
    """Add to a new version's summary how it differs from an older one, and warn of large moves."""
    found = differences(connection, old.id, new.id, classes)
    keys = ["label_id", "label", "change", "cause"]
    grouped = found.groupby(keys).size().reset_index(name="cells")
    counted = grouped[[*keys, "cells"]].itertuples(index=False, name=None)
    flips = tuple(Flips(*row) for row in counted)

    shares = _share_moves(
        clean_shares(connection, old.id), clean_shares(connection, new.id), classes
    )
    if shares:
        logger.warning(
            "%s: the share of clean verdicts moved by more than 10 percentage points: %s; "
            "'hpastore clean diff %s %s' lists the cells",
            new.versioned_name,
            ", ".join(
                f"{m.label_id} {m.label} from {m.before:.1%} to {m.after:.1%}" for m in shares
            ),
            old.versioned_name,
            new.versioned_name,
        )
    return replace(summary, flips=flips, shares=shares)


def _share_moves(
    before: Mapping[int, float], after: Mapping[int, float], classes: Classes
) -> tuple[ShareMove, ...]:
    return tuple(
        ShareMove(
            label,
            decoding.label_name(label, "clean_set_cell", classes),
            before[label],
            after[label],
        )
        for label in sorted(before.keys() & after.keys())
        if abs(after[label] - before[label]) > SHARE_WARNING
    )
