"""Runs of ingest, and the measurement settings that they work with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, insert, select, update

from hpastore.model import MeasurementSettings
from hpastore.schema.tables import IngestRun, StoredSettings
from hpastore.store.bulk import analyze, change, store_checksums

COUNTERS: Final = {
    "new": "added",
    "changed": "changed",
    "relabelled": "relabelled",
    "rejected": "rejected",
    "cells": "cells",
    "remeasured": "remeasured",
    "gone": "gone",
    "returned": "returned",
    "moved": "moved",
    "resplit": "resplit",
}
"""Columns of a run by what is counted."""


def begin_run(connection: Connection, **columns: Any) -> int:
    """Record that a run begins, and return its id."""
    statement = insert(IngestRun).values(**dict.fromkeys(COUNTERS.values(), 0), **columns)
    return int(connection.execute(statement.returning(IngestRun.id)).scalar_one())


def count_run(connection: Connection, run_id: int, counts: Mapping[str, int]) -> None:
    """Add to what a run did; in the transaction that does it."""
    added = {
        column: getattr(IngestRun, column) + counts[name]
        for name, column in COUNTERS.items()
        if counts.get(name)
    }
    if added:
        connection.execute(update(IngestRun).where(IngestRun.id == run_id).values(added))


def finish_run(connection: Connection, run_id: int, now: datetime) -> None:
    """Record that a run came to its end, and let PostgreSQL's planner know the new sizes."""
    connection.execute(update(IngestRun).where(IngestRun.id == run_id).values(finished_at=now))
    analyze(connection)


def adopt_settings(connection: Connection, settings: MeasurementSettings) -> int:
    """Make measurement settings the store's current ones, and return their id."""
    values = asdict(settings)
    same = and_(*(getattr(StoredSettings, name) == value for name, value in values.items()))
    change(connection, StoredSettings, and_(StoredSettings.current, ~same), {"current": False})
    change(connection, StoredSettings, and_(~StoredSettings.current, same), {"current": True})

    found = connection.execute(select(StoredSettings.id).where(same)).scalar()
    if found is None:
        statement = (
            insert(StoredSettings).values(current=True, **values).returning(StoredSettings.id)
        )
        found = connection.execute(statement).scalar_one()
        store_checksums(connection, StoredSettings, StoredSettings.id == found)
    return int(found)
