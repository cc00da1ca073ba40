"""Bring a database to the schema of this program, in one transaction."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.exc import ArgumentError, InvalidRequestError
from sqlalchemy.schema import CreateView, DropView

from hpastore.errors import StoreError
from hpastore.runtime.atomic_files import put_in_place
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.tables import Base
from hpastore.schema.views import VIEWS, views
from hpastore.store import sqlite_file, version
from hpastore.store.bulk import store_missing_checksums
from hpastore.store.engine import Store, patiently

logger = logging.getLogger(__name__)

_LOCK: Final = 0x68706173
"""Key of the advisory lock that one upgrade holds on PostgreSQL: "hpas"."""


def upgrade(store: Store, revision: str = "head") -> bool:
    """Create or upgrade the schema; either all of it or nothing.

    A SQLite file is copied before an upgrade, beside itself: see `backup_path`.

    Parameters
    ----------
    store
        Any database.
    revision
        Where to stop; migrations' tests need it.

    Returns
    -------
    bool
        Whether anything had to be done.

    Raises
    ------
    SchemaNewError
        If the schema is newer than this program; nothing was touched.
    StoreError
        If rows would lose the row that they refer to; nothing was changed.
    """
    with store.reading() as connection:
        _refuse_strangers(store, connection)
    return patiently(lambda: _upgrade(store, revision))


def _upgrade(store: Store, revision: str) -> bool:
    with _schema_transaction(store) as connection:
        before = version.stored(connection)
        version.refuse_newer(store, before)
        if before == version.head() and revision == "head" and not _drifted_views(connection):
            return False
        if before not in (None, version.head()) and store.is_sqlite:
            _back_up(store, str(before))
        _drop_views(connection)
        command.upgrade(_config(connection), revision)
        if version.stored(connection) == version.head():
            _create_views(connection)
        _refuse_orphans(store, connection)
        if before is not None and version.stored(connection) == version.head():
            store_missing_checksums(connection)
    return True


def backup_path(store: Store, revision: str) -> Path:
    """Name the copy that is made of a SQLite file before it is upgraded from a revision."""
    return Path(f"{store.engine.url.database}.schema-{revision}.backup")


def _back_up(store: Store, revision: str) -> None:
    """Copy the file as it was when the transaction began, whose lock keeps others from writing."""
    path = backup_path(store, revision)
    temporary = Path(f"{path}.tmp")
    temporary.unlink(missing_ok=True)
    with store.reading() as connection:
        sqlite_file.copy(connection, temporary)
    failpoint("schema.copied")
    put_in_place(temporary, path)
    failpoint("schema.backed_up")
    logger.info("the store as it was is kept in %s", path)


def downgrade(store: Store, revision: str) -> None:
    """Undo migrations down to a revision, or to ``base``; rows of dropped tables are lost."""
    with _schema_transaction(store) as connection:
        _drop_views(connection)
        command.downgrade(_config(connection), revision)
        _refuse_orphans(store, connection)


def check(store: Store) -> list[str]:
    """Compare the database with the models.

    Returns
    -------
    list of str
        What differs, one sentence each; empty if nothing does.
    """
    version.require_current(store)
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        try:
            differences = [_sentence(d) for d in compare_metadata(context, Base.metadata)]
        except (ArgumentError, InvalidRequestError) as error:  # a key that refers to no column, and the like
            differences = [f"the tables make no sense: {error}"]
        return differences + _drifted_views(connection) + _foreign_actions(connection)


def _foreign_actions(connection: Connection) -> list[str]:
    """Name the triggers and rules of a database, which may change rows unseen; this program makes none."""
    if connection.dialect.name == "sqlite":
        found, on = connection.execute(text(_SQLITE_TRIGGERS)).all(), ""
    else:
        found = [row for sql in _POSTGRESQL_ACTIONS for row in connection.execute(text(sql))]
        on = ' ON "{table}"'
    return [
        f"the {kind} {name} on {table} is not of this program, and may change rows; "
        f'remove it: DROP {kind.upper()} "{name}"{on.format(table=table)}'
        for kind, name, table in found
    ]


_SQLITE_TRIGGERS: Final = (
    "SELECT 'trigger', name, tbl_name FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
)

_POSTGRESQL_ACTIONS: Final = (
    """SELECT 'trigger', tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
       WHERE relnamespace = CAST(current_schema() AS regnamespace) AND NOT tgisinternal
       ORDER BY relname, tgname""",
    """SELECT 'rule', rulename, relname FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
       WHERE relnamespace = CAST(current_schema() AS regnamespace) AND rulename <> '_RETURN'
       ORDER BY relname, rulename""",
)
"""The rule _RETURN is what makes a view one."""


def _drifted_views(connection: Connection) -> list[str]:
    expected = views(connection.dialect.name)
    return [drift for view in expected if (drift := _view_drift(connection, view))]


def _view_drift(connection: Connection, view: CreateView) -> str | None:
    """Say how a view differs from what this program would make, by making it once more for a moment."""
    name = view.table.name
    if not inspect(connection).has_table(name):
        return f"the view {name} is missing"
    expected = CreateView(view.selectable, f"expected_{name}", temporary=True)
    connection.execute(expected)
    same = _definition(connection, name) == _definition(connection, expected.table.name)
    connection.execute(DropView(expected.table))
    return (
        None if same else f"the view {name} is not what this program makes; 'hpastore db upgrade' remakes it"
    )


def _definition(connection: Connection, view: str) -> str:
    """A view's SELECT, as the database has it."""
    if connection.dialect.name == "postgresql":
        return str(connection.scalar(text("SELECT pg_get_viewdef(CAST(:view AS regclass))"), {"view": view}))
    masters = "SELECT name, sql FROM sqlite_master UNION ALL SELECT name, sql FROM sqlite_temp_master"
    sql = str(connection.scalar(text(f"SELECT sql FROM ({masters}) WHERE name = :view"), {"view": view}))  # noqa: S608 no value is pasted
    return re.split(r"\bAS\b", sql, maxsplit=1, flags=re.IGNORECASE)[-1]


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(version.scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _schema_transaction(store: Store) -> Iterator[Connection]:
    """Give a connection whose transaction may change tables; one process at a time.

    SQLite copies a table to alter it, and dropping the old copy would delete all children by ON
    DELETE CASCADE.  Foreign keys can only be switched off outside a transaction.
    """
    store.require_writable()
    with store.named_errors(), store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if store.is_sqlite:
            driver.execute("PRAGMA journal_mode = WAL")
            driver.execute("PRAGMA foreign_keys = OFF")
        try:
            with connection.execution_options(hpastore_writes=True).begin():
                event.listen(connection, "before_cursor_execute", lambda *_: failpoint("schema.statement"))
                if not store.is_sqlite:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
                yield connection
                failpoint("schema.commit")
        finally:
            if store.is_sqlite:
                driver.execute("PRAGMA foreign_keys = ON")


def _refuse_strangers(store: Store, connection: Connection) -> None:
    """Refuse a database of somebody else's: a SQLite file with any table, or tables of our names."""
    if version.stored(connection) is not None:
        return
    names = set(inspect(connection).get_table_names()) - {"alembic_version"}
    if not store.is_sqlite:
        names &= {table.name for table in Base.metadata.sorted_tables}
    if names:
        what = ", ".join(sorted(names)[:3])
        raise StoreError(store.url, f"holds other tables ({what}); name another database with --db")


def _refuse_orphans(store: Store, connection: Connection) -> None:
    if not store.is_sqlite:
        return  # PostgreSQL checked every foreign key as it went
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if orphans:
        raise StoreError(
            store.url, f"{len(orphans)} rows of {orphans[0][0]} would refer to nothing; nothing was changed"
        )


def _drop_views(connection: Connection) -> None:
    present = set(inspect(connection).get_view_names())
    for view in reversed(VIEWS):
        if view.table.name in present:
            connection.execute(DropView(view.table))


def _create_views(connection: Connection) -> None:
    for view in views(connection.dialect.name):
        connection.execute(view)


def _sentence(difference: object) -> str:
    parts = difference if isinstance(difference, tuple) else difference[0]  # type: ignore[index]  # Alembic: tuple, or a list of one
    return " ".join(str(part) for part in parts)
