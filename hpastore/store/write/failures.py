"""Rejected images: why, and what their files were like when they were tried."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, and_, bindparam, case, delete, insert
from sqlalchemy.dialects import postgresql, sqlite

from hpastore.model import Failure
from hpastore.runtime.failpoints import failpoint
from hpastore.schema import tables
from hpastore.schema.tables import FailureFile
from hpastore.store.statements import batches

_DELETE: Final = delete(tables.Failure).where(tables.Failure.image_name == bindparam("name"))
"""Made once: to build a statement takes longer than to run it."""


def write_failures(
    connection: Connection, failures: Iterable[Failure], *, run_id: int, now: datetime
) -> None:
    """Record rejected images; one row each, with the latest fault."""
    failures = list(failures)
    if not failures:
        return
    times = {"first_seen": now, "last_seen": now, "run_id": run_id}
    connection.execute(
        _insert_or_replace(connection), [_row(failure) | times for failure in failures]
    )

    for part in batches([failure.image_name for failure in failures]):
        connection.execute(delete(FailureFile).where(FailureFile.image_name.in_(part)))
    files = [
        {"image_name": failure.image_name, **file._asdict()}
        for failure in failures
        for file in failure.files
    ]
    if files:
        connection.execute(insert(FailureFile), files)
    failpoint("failures.written")


def clear_failures(connection: Connection, names: Sequence[str]) -> None:
    """Delete the failures of images that are in the store as their files are."""
    if names:
        connection.execute(_DELETE, [{"name": name} for name in names])


def forget_tries(connection: Connection, names: Sequence[str]) -> None:
    """Forget what the files of rejected images were like, so that they are tried again."""
    for part in batches(names):
        connection.execute(delete(FailureFile).where(FailureFile.image_name.in_(part)))


def _row(failure: Failure) -> dict[str, Any]:
    return {name: getattr(failure, name) for name in ("image_name", "uri", "code", "message")}


def _insert_or_replace(connection: Connection) -> Any:
    """Insert a failure; of one that is there, the time when the same fault was first met stays."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    old = tables.Failure
    statement = dialect.insert(old)
    new = statement.excluded
    same = and_(old.code == new.code, old.uri == new.uri)
    return statement.on_conflict_do_update(
        index_elements=["image_name"],
        set_={
            "uri": new.uri,
            "code": new.code,
            "message": new.message,
            "first_seen": case((same, old.first_seen), else_=new.first_seen),
            "last_seen": new.last_seen,
            "run_id": new.run_id,
        },
    )
