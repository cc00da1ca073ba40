"""The schema that a store has, and the one that this program needs.

Every command compares them.  Alembic could, but takes longer to load than most commands to run.
Migrations form one line, and the names of their files begin with their revisions; a test holds
this.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect

from hpastore.errors import SchemaMissingError, SchemaNewError, SchemaOldError
from hpastore.store.engine import Store

_TABLE: Final = "alembic_version"
"""Alembic's table, which holds the revision."""


def head() -> str:
    """Give the revision that this program needs."""
    return _known_revisions()[-1]


def current(store: Store) -> str | None:
    """Read the revision of a store's schema; None for a database without hpastore's tables."""
    with store.reading() as connection:  # without retries: a wrong host is reported at once
        return stored(connection)


def stored(connection: Connection) -> str | None:
    """Read the revision of a database's schema; None if it has none."""
    if not inspect(connection).has_table(_TABLE):
        return None
    found = connection.exec_driver_sql(f"SELECT version_num FROM {_TABLE}").scalar()  # noqa: S608 our own name
    return None if found is None else str(found)


def require_current(store: Store) -> None:
    """Refuse a schema of another version.

    Raises
    ------
    SchemaMissingError, SchemaOldError, SchemaNewError
        With what to do.
    """
    revision = current(store)
    if revision is None:
        raise SchemaMissingError(
            store.url, "holds no hpastore tables; 'hpastore ingest ROOT' makes them"
        )
    refuse_newer(store, revision)
    if revision != head():
        raise SchemaOldError(
            store.url, f"has the older schema {revision}; run 'hpastore db upgrade' first"
        )


def refuse_newer(store: Store, revision: str | None) -> None:
    """Refuse a revision that this program does not know.

    Raises
    ------
    SchemaNewError
    """
    if revision is not None and revision not in _known_revisions():
        reason = f"was written by a newer hpastore (schema {revision}); upgrade hpastore to use it"
        raise SchemaNewError(store.url, reason)


def scripts() -> Path:
    """Give the folder of the migrations: in the installed package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _known_revisions() -> list[str]:
    """List all revisions, the oldest first."""
    return sorted(
        path.name.partition("_")[0] for path in (scripts() / "versions").glob("[0-9]*_*.py")
    )
