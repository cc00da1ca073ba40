"""Count the verdicts of clean sets: by set, label, reason and image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, case, func, select

from hpastore.classes import Classes
from hpastore.schema.clean_rows import BOUND_REASONS
from hpastore.schema.tables import (
    Cell,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetFormer,
    CleanSetThreshold,
    Image,
    Label,
)
from hpastore.store import decoding
from hpastore.store.clean_sets.rows import clean_set_title
from hpastore.store.statements import Row, rows
from hpastore.vocabulary import REASONS


@dataclass
class LabelCounts:
    """The verdicts of a clean set for one label, counted.

    Parameters
    ----------
    label_id, label
    measure, channel, n, lower, upper
        Of the rule that is shown, and its bounds; None for a set without rules for the label.
    cells, clean
        Number of verdicts, and of those that are clean.
    reasons
        Number of verdicts by reason.
    """

    label_id: int
    label: str
    measure: str | None = None
    channel: str | None = None
    n: int | None = None
    lower: float | None = None
    upper: float | None = None
    cells: int = 0
    clean: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


class EmptiedImage(NamedTuple):
    """An image that has verdicts for a label, and none that is clean."""

    image_name: str
    label_id: int
    label: str
    cells: int


def list_clean_sets(connection: Connection) -> list[Row]:
    """Read all clean sets with the numbers of their verdicts, by name and version.

    ``archived`` verdicts are on cells that were deleted since; they are not among the others.
    """
    in_set = CleanSetCell.clean_set_id == CleanSet.id
    rules = select(func.count(func.distinct(CleanRule.position)))
    counts = {
        "rules": rules.where(CleanRule.clean_set_id == CleanSet.id),
        "cells": select(func.count()).where(in_set),
        "clean": select(func.count()).where(in_set, CleanSetCell.clean),
        "archived": select(func.count()).where(CleanSetFormer.clean_set_id == CleanSet.id),
    }
    statement = select(
        *(CleanSet.name, CleanSet.version, CleanSet.created_at, CleanSet.scope, CleanSet.split),
        *(CleanSet.min_green, CleanSet.frozen),
        *(count.scalar_subquery().label(name) for name, count in counts.items()),
    )
    return rows(connection, statement.order_by(CleanSet.name, CleanSet.version))


def count_by_label(connection: Connection, set_id: int, classes: Classes) -> list[LabelCounts]:
    """Count a clean set's verdicts by label, with the bounds of the rule that is shown."""
    title = clean_set_title(connection, set_id)
    shown = _shown_bounds(connection, set_id)

    key = (CleanSetCell.label_id, CleanSetCell.clean, CleanSetCell.reason)
    counted = select(*key, func.count()).where(CleanSetCell.clean_set_id == set_id).group_by(*key)
    found: dict[int, LabelCounts] = {}
    for label_id, clean, reason, cells in connection.execute(
        counted.order_by(CleanSetCell.label_id)
    ):
        if label_id not in found:
            name = decoding.label_name(label_id, title, classes)
            found[label_id] = LabelCounts(label_id, name, *shown.get(label_id, ()))
        counts = found[label_id]
        counts.cells += cells
        counts.clean += cells * clean
        if reason is not None:
            counts.reasons[reason] = cells
    return list(found.values())


def _shown_bounds(connection: Connection, set_id: int) -> dict[int, Sequence[Any]]:
    """Read the rule that is shown and its bounds: measure, channel, n, lower, upper, by label.

    Groups of images have bounds of their own: then the numbers of their cells are added up, and
    there are no bounds of the label.
    """
    kept = CleanSetThreshold
    statement = (
        select(
            *(kept.label_id, CleanRule.measure, CleanRule.channel),
            *(kept.n, kept.lower, kept.upper),
        )
        .join(CleanRule, CleanRule.id == kept.rule_id)
        .where(kept.clean_set_id == set_id, CleanRule.shown)
    )
    found: dict[int, Sequence[Any]] = {}
    for label, *columns in connection.execute(statement):
        if label in found:
            measure, channel, n, *_ = columns
            columns = [measure, channel, n + found[label][2], None, None]
        found[label] = columns
    return found


def count_dropped_by_rules(connection: Connection, set_id: int) -> dict[tuple[int, int], int]:
    """Count the cells that each rule drops, by the rule and the label."""
    verdict = CleanSetCell
    key = (verdict.rule_id, verdict.label_id)
    statement = (
        select(*key, func.count())
        .join(CleanRule, CleanRule.id == verdict.rule_id)
        .where(verdict.clean_set_id == set_id, ~verdict.clean)
        .where(func.coalesce(CleanRule.reason, verdict.reason) == verdict.reason)
        .where(verdict.reason.not_in(set(REASONS) - set(BOUND_REASONS.values())))
        .group_by(*key)
    )
    return {(int(rule or 0), label): n for rule, label, n in connection.execute(statement)}


def read_reasons(connection: Connection, set_id: int) -> list[str]:
    """Read the reasons that a clean set's verdicts have, in the order in which they are checked."""
    column = CleanSetCell.reason
    statement = select(column).where(CleanSetCell.clean_set_id == set_id, column.is_not(None))
    found = {str(reason) for reason in connection.execute(statement.distinct()).scalars()}

    named = select(CleanRule.reason).where(CleanRule.clean_set_id == set_id)
    named = named.where(CleanRule.reason.is_not(None))
    ordered = named.order_by(CleanRule.position, CleanRule.label_id)
    by_rules = [str(reason) for reason in connection.execute(ordered).scalars()]
    *before, last = REASONS
    order = list(dict.fromkeys([*before, *by_rules, last]))
    return sorted(found, key=lambda reason: order.index(reason) if reason in order else len(order))


def read_emptied_images(connection: Connection, set_id: int) -> list[EmptiedImage]:
    """Read the images that have verdicts for a label and none that is clean."""
    cells = func.count().label("cells")
    statement = (
        select(Image.name, CleanSetCell.label_id, Label.name, cells)
        .select_from(CleanSetCell)
        .join(Cell, Cell.id == CleanSetCell.cell_id)
        .join(Image)
        .join(Label, Label.id == CleanSetCell.label_id)
        .where(CleanSetCell.clean_set_id == set_id)
        .group_by(Image.name, CleanSetCell.label_id, Label.name)
        .having(func.count(case((CleanSetCell.clean, 1))) == 0)
        .order_by(Image.name, CleanSetCell.label_id)
    )
    return [EmptiedImage(*row) for row in connection.execute(statement)]


def clean_shares(connection: Connection, set_id: int) -> dict[int, float]:
    """Read the share of a clean set's verdicts that are clean, archived ones too, by label."""
    cells: dict[int, int] = {}
    clean: dict[int, int] = {}
    tables: tuple[Any, ...] = (CleanSetCell, CleanSetFormer)
    for table in tables:
        statement = select(table.label_id, func.count(), func.count().filter(table.clean))
        statement = statement.where(table.clean_set_id == set_id).group_by(table.label_id)
        for label, n, n_clean in connection.execute(statement):
            cells[label] = cells.get(label, 0) + n
            clean[label] = clean.get(label, 0) + n_clean
    return {label: clean[label] / n for label, n in cells.items()}
