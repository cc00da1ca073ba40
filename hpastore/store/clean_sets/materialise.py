"""Write versions of clean sets with rules, bounds and verdicts; freeze and delete them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select

from hpastore.classes import Classes
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.clean_rows import BoundRow
from hpastore.schema.tables import CleanRule, CleanSet, CleanSetCell, CleanSetThreshold
from hpastore.schema.verdict import VERDICT_COLUMNS, judge_one_set
from hpastore.store.bulk import analyze, change, store_checksums
from hpastore.store.clean_sets.bounds import RuleKey, current_bounds, frozen_bounds
from hpastore.store.clean_sets.rows import read_clean_set, read_rules


def write_clean_set(
    connection: Connection,
    clean_set: Mapping[str, Any],
    rules: Iterable[Mapping[str, Any]],
    classes: Classes,
    kept: Mapping[RuleKey, BoundRow] | None = None,
) -> tuple[int, int]:
    """Store a new version of a clean set, and materialise its thresholds and verdicts.

    Parameters
    ----------
    connection
        In a writing transaction.
    clean_set
        Its columns but the version.
    rules
        Their columns.
    classes
        Those of the store.
    kept
        Bounds to judge by, by `bounds.rule_key`: those of a frozen version.
        Without them the bounds are taken from the current cells.

    Returns
    -------
    id, version : int
    """
    set_id, version = _insert_version(connection, clean_set)
    columns = [{"clean_set_id": set_id, **rule} for rule in rules]
    if columns:
        connection.execute(insert(CleanRule), columns)

    stored = read_clean_set(connection, set_id)
    stored_rules = read_rules(connection, set_id, classes)
    if kept is None:
        bounds = current_bounds(connection, stored, stored_rules)
    else:
        bounds = frozen_bounds(stored_rules, kept)
    if bounds:
        thresholds = [{"clean_set_id": set_id, **bound._asdict()} for bound in bounds]
        connection.execute(insert(CleanSetThreshold), thresholds)
    failpoint("clean_set.thresholds")

    judged = judge_one_set(stored, stored_rules, bounds).subquery("verdicts")
    names = ["clean_set_id", *VERDICT_COLUMNS]
    verdicts = select(CleanSet.id, *(judged.c[name] for name in names[1:]))
    verdicts = verdicts.join_from(CleanSet, judged, CleanSet.id == set_id)
    connection.execute(insert(CleanSetCell).from_select(names, verdicts))
    failpoint("clean_set.cells")

    analyze(connection)
    store_checksums(connection, CleanSet, CleanSet.id == set_id)
    return set_id, version


def _insert_version(connection: Connection, clean_set: Mapping[str, Any]) -> tuple[int, int]:
    """Write the row of the next version of a name; give its key and version."""
    next_version = select(func.coalesce(func.max(CleanSet.version), 0) + 1)
    next_version = next_version.where(CleanSet.name == clean_set["name"])
    version = connection.execute(next_version).scalar_one()

    inserted = insert(CleanSet).values(version=version, **clean_set).returning(CleanSet.id)
    set_id = connection.execute(inserted).scalar_one()
    return int(set_id), int(version)


def set_frozen(connection: Connection, set_id: int, *, frozen: bool) -> None:
    """Set whether later versions of a clean set keep its thresholds."""
    change(connection, CleanSet, CleanSet.id == set_id, {"frozen": frozen})


def delete_clean_sets(connection: Connection, set_ids: Sequence[int]) -> None:
    """Delete versions of clean sets with all their rows."""
    connection.execute(delete(CleanSetCell).where(CleanSetCell.clean_set_id.in_(set_ids)))
    connection.execute(delete(CleanSet).where(CleanSet.id.in_(set_ids)))
