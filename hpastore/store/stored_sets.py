"""Clean sets as they are stored: their rules, bounds and verdicts, counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, case, func, select

from hpastore.errors import DamagedError, NotFoundError, UsageError
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
from hpastore.store.statements import Row, rows
from hpastore.vocabulary import REASONS


def clean_sets(connection: Connection) -> list[Row]:
    """Read all clean sets with the numbers of their verdicts, by name and version.

    ``former`` verdicts are on cells that are no more; they are not among the others.
    """
    count = {
        "cells": select(func.count()).where(CleanSetCell.clean_set_id == CleanSet.id),
        "clean": select(func.count()).where(CleanSetCell.clean_set_id == CleanSet.id, CleanSetCell.clean),
        "rules": select(func.count(func.distinct(CleanRule.position))).where(
            CleanRule.clean_set_id == CleanSet.id
        ),
    }
    count["former"] = select(func.count()).where(CleanSetFormer.clean_set_id == CleanSet.id)
    columns = (
        *(CleanSet.name, CleanSet.version, CleanSet.created_at, CleanSet.scope, CleanSet.split),
        CleanSet.min_green,
    )
    numbers = (count[name].scalar_subquery().label(name) for name in ("rules", "cells", "clean", "former"))
    statement = select(*columns, CleanSet.frozen, *numbers)
    return rows(connection, statement.order_by(CleanSet.name, CleanSet.version))


def clean_set_names(connection: Connection) -> list[str]:
    """Read the names of all clean sets, each once."""
    return list(connection.scalars(select(CleanSet.name).distinct().order_by(CleanSet.name)))


def clean_set(connection: Connection, set_id: int) -> Row:
    """Read the row of a clean set."""
    return rows(connection, select(CleanSet.__table__).where(CleanSet.id == set_id))[0]


def versions(connection: Connection, name: str) -> list[Row]:
    """Read the rows of all versions of a clean set, oldest first."""
    statement = select(CleanSet.__table__).where(CleanSet.name == name)
    return rows(connection, statement.order_by(CleanSet.version))


def clean_rules(connection: Connection, set_id: int) -> list[Row]:
    """Read a clean set's rules in their order."""
    statement = select(CleanRule.__table__).where(CleanRule.clean_set_id == set_id)
    return rows(connection, statement.order_by(CleanRule.position, CleanRule.label_id))


def clean_bounds(connection: Connection, set_id: int) -> list[Row]:
    """Read the bounds that a clean set was materialised with.

    Raises
    ------
    DamagedError
        If one is of a rule that is not the set's, or of no label.
    """
    kept = CleanSetThreshold
    columns = (kept.rule_id, kept.label_id, kept.n, kept.lower, kept.upper)
    bounds = rows(connection, select(*columns).where(kept.clean_set_id == set_id))
    own = select(CleanRule.id).where(CleanRule.clean_set_id == set_id)
    rules = set(connection.execute(own).scalars())
    title = _title(connection, set_id)
    for bound in bounds:
        if bound["rule_id"] not in rules:
            what = f"its threshold of label {bound['label_id']} is of no rule of the set"
            raise DamagedError(title, what)
        decoding.label_name(bound["label_id"], title)
    return bounds


def check_labels(connection: Connection, set_id: int) -> None:
    """Check that all verdicts of a clean set are of labels that there are.

    Raises
    ------
    DamagedError
        If one is not.
    """
    title = _title(connection, set_id)
    labels = select(CleanSetCell.label_id).where(CleanSetCell.clean_set_id == set_id).distinct()
    for label in connection.execute(labels.order_by(CleanSetCell.label_id)).scalars():
        decoding.label_name(label, title)


def find_bound(bounds: Mapping[Any, Any], key: Any, where: str) -> Any:
    """Find a bound of a clean set by its key.

    Raises
    ------
    DamagedError
        If it is missing.
    """
    if key not in bounds:
        raise DamagedError(where, "a threshold of its clean set is missing")
    return bounds[key]


def _title(connection: Connection, set_id: int) -> str:
    """Name a clean set in a message."""
    row = clean_set(connection, set_id)
    return f"clean set {row['name']}@{row['version']}"


def find_clean_set(connection: Connection, name: str, split: str | None = None) -> tuple[int, str, int]:
    """Find a clean set by ``NAME``, its newest version, or ``NAME@VERSION``.

    Parameters
    ----------
    connection
    name
    split
        A split that the set must have judged.

    Returns
    -------
    id, name, version

    Raises
    ------
    NotFoundError
        If there is none of this name and version.
    UsageError
        If it is limited to another split.
    """
    stem, at, version = name.partition("@")
    columns = (CleanSet.id, CleanSet.name, CleanSet.version, CleanSet.split)
    statement = select(*columns).where(CleanSet.name == stem)
    if at:
        if not (version.isdecimal() and len(version) < 10):
            raise UsageError(f"{name}: a version is a number, as in {stem}@1")
        statement = statement.where(CleanSet.version == int(version))
    found = connection.execute(statement.order_by(CleanSet.version.desc()).limit(1)).one_or_none()
    if found is None:
        raise NotFoundError(f"no clean set {name}; 'hpastore clean list' shows those there are")
    if split is not None and found.split not in (None, split):
        raise UsageError(
            f"clean set {found.name}@{found.version} is limited to split {found.split!r} and has no cell of "
            f"{split!r}; make one with 'hpastore clean create NAME --split {split}'"
        )
    return found.id, found.name, found.version


def newest_name(connection: Connection) -> str | None:
    """Read the name of the clean set that was made last; None without one."""
    return connection.execute(select(CleanSet.name).order_by(CleanSet.id.desc()).limit(1)).scalar()


def clean_set_labels(connection: Connection, set_id: int) -> list[dict[str, Any]]:
    """Read a clean set's verdicts counted by label, with the bounds of the rule that is shown.

    ``label_id, label, measure, channel, n, lower, upper, cells, clean`` and ``reasons``, the counts by
    reason.
    """
    title = _title(connection, set_id)
    verdict = (CleanSetCell.label_id, CleanSetCell.clean, CleanSetCell.reason, func.count().label("cells"))
    counted = select(*verdict).where(CleanSetCell.clean_set_id == set_id)
    counted = counted.group_by(CleanSetCell.label_id, CleanSetCell.clean, CleanSetCell.reason)
    kept = CleanSetThreshold
    columns = (CleanRule.measure, CleanRule.channel, kept.n, kept.lower, kept.upper)
    shown = select(kept.label_id, *columns).join(CleanRule, CleanRule.id == kept.rule_id)
    shown = shown.where(kept.clean_set_id == set_id, CleanRule.shown)
    bounds = {row["label_id"]: row for row in rows(connection, shown)}
    found: dict[int, dict[str, Any]] = {}
    for label_id, clean, reason, cells in connection.execute(counted.order_by(CleanSetCell.label_id)):
        bound: Any = bounds.get(label_id, {})
        row = found.setdefault(
            label_id,
            {
                "label_id": label_id,
                "label": decoding.label_name(label_id, title),
                **{name: bound.get(name) for name in ("measure", "channel", "n", "lower", "upper")},
                "cells": 0,
                "clean": 0,
                "reasons": {},
            },
        )
        row["cells"] += cells
        row["clean"] += cells * clean
        if reason is not None:
            row["reasons"][reason] = cells
    return list(found.values())


def reasons(connection: Connection, set_id: int) -> list[str]:
    """Read the reasons that a clean set's verdicts have, in the order in which they are asked."""
    column = CleanSetCell.reason
    statement = select(column).where(CleanSetCell.clean_set_id == set_id, column.is_not(None)).distinct()
    found = {str(reason) for reason in connection.execute(statement).scalars()}
    named = [rule["reason"] for rule in clean_rules(connection, set_id)]
    order = list(dict.fromkeys([*REASONS[:-1], *(name for name in named if name), REASONS[-1]]))
    return sorted(found, key=lambda reason: order.index(reason) if reason in order else len(order))


def emptied(connection: Connection, set_id: int) -> list[Row]:
    """Read the images that have verdicts for a label and none that is clean."""
    cells = func.count().label("cells")
    statement = (
        select(Image.name.label("image_name"), CleanSetCell.label_id, Label.name.label("label"), cells)
        .select_from(CleanSetCell)
        .join(Cell, Cell.id == CleanSetCell.cell_id)
        .join(Image)
        .join(Label, Label.id == CleanSetCell.label_id)
        .where(CleanSetCell.clean_set_id == set_id)
        .group_by(Image.name, CleanSetCell.label_id, Label.name)
        .having(func.count(case((CleanSetCell.clean, 1))) == 0)
    )
    return rows(connection, statement.order_by(Image.name, CleanSetCell.label_id))
