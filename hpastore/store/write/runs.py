"""Runs of ingest, and the measurement settings that they work with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, insert, update

from hpastore.model import MeasurementSettings
from hpastore.schema.tables import IngestRun, StoredSettings
from hpastore.store.bulk import analyze, change, store_checksums
from hpastore.store.measurement_settings import all_settings, settings_columns

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
    key = write_settings(connection, settings)
    same = StoredSettings.id == key
    change(connection, StoredSettings, and_(StoredSettings.current, ~same), {"current": False})
    change(connection, StoredSettings, and_(~StoredSettings.current, same), {"current": True})
    return key


def write_settings(connection: Connection, settings: MeasurementSettings) -> int:
    """Write measurement settings unless the store has equal ones, and return their id."""
    for key, stored in all_settings(connection).items():
        if stored == settings:
            return key
    columns = settings_columns(settings)
    statement = insert(StoredSettings).values(current=False, **columns)
    written = int(connection.execute(statement.returning(StoredSettings.id)).scalar_one())
    store_checksums(connection, StoredSettings, StoredSettings.id == written)
    return written
