"""Create, upgrade and check the schema of a database; each change is one transaction."""

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
from sqlalchemy.exc import ArgumentError, DataError, InvalidRequestError
from sqlalchemy.schema import CreateView, DropView

from hpastore.classes import DEFAULT_CLASSES, Classes
from hpastore.errors import DamagedError, StoreError
from hpastore.runtime.atomic_files import put_in_place
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.tables import Base
from hpastore.schema.views import VIEWS, views
from hpastore.store import disk_space, sqlite_file, vacuum, version
from hpastore.store.bulk import analyze, verify_checksums
from hpastore.store.classes import write_classes
from hpastore.store.engine import Store, retry_on_disconnect
from hpastore.text import count_text, short_list

logger = logging.getLogger(__name__)

_PAGE_SIZE: Final = 16_384
"""Bytes of a page of a new SQLite file.

A mask or a histogram does not go on to the next page: of SQLite's 4096 bytes a seventh stays empty.
With these a store is 6 % smaller, and no query slower.
"""

_SCHEMA_LOCK: Final = 0x68706173
"""Key of the advisory lock that a change of the schema holds on PostgreSQL: "hpas"."""


def upgrade(store: Store, revision: str = "head", *, classes: Classes | None = None) -> bool:
    """Create or upgrade the schema: all of it or nothing.

    Before an upgrade the disk is checked, and a SQLite file is copied to `backup_path`.  At its end
    all checksums are compared; rows that do not match are a warning, since they may have been
    damaged before.  Then a SQLite file gives its free pages back.

    Parameters
    ----------
    store : Store
        Any database, also an empty one.
    revision : str
        The last migration to run; by default all, as only tests of migrations stop earlier.
    classes : Classes, optional
        Those that a new store gets; a store that exists keeps its own.

    Returns
    -------
    bool
        Whether anything was changed.

    Raises
    ------
    SchemaNewError
        If the schema is newer than this program; nothing was touched.
    UnavailableError
        If there is no room on the disk; nothing was changed.
    StoreError
        If the database holds foreign tables, or rows would refer to rows that do not exist; nothing
        was changed.
    """
    if classes is not None:
        classes.validated()
    with store.reading() as connection:
        _refuse_foreign_tables(store, connection)
        before = version.stored(connection)
        version.refuse_newer(store, before)
        if before not in (None, version.head()):
            store.require_writable()
            backup = backup_path(store, str(before))
            disk_space.require_room_for_upgrade(store, connection, backup)
    upgraded = retry_on_disconnect(lambda: _upgrade(store, revision, classes))
    if store.is_sqlite:
        vacuum.vacuum_if_worthwhile(store)
    return upgraded


def _upgrade(store: Store, revision: str, classes: Classes | None) -> bool:
    warning: str | None = None
    with _schema_transaction(store) as connection:
        before = version.stored(connection)
        version.refuse_newer(store, before)
        if before == version.head() and revision == "head" and not _drifted_views(connection):
            return False
        if before not in (None, version.head()) and store.is_sqlite:
            _back_up(store, str(before))
        _drop_views(connection)
        command.upgrade(_config(connection), revision)
        is_current = version.stored(connection) == version.head()
        if is_current:
            _create_views(connection)
        if is_current and before is None:
            write_classes(connection, classes or DEFAULT_CLASSES)
        _refuse_orphans(store, connection)
        if is_current and before is not None:
            analyze(connection)
            warning = _verify(connection)
    if warning:
        copy = f"; {backup_path(store, str(before))} is the store before the upgrade"
        logger.warning("%s%s", warning, copy if store.is_sqlite else "")
    return True


def backup_path(store: Store, revision: str) -> Path:
    """Give the path of the copy that is made of a SQLite file before an upgrade from a revision."""
    return Path(f"{store.engine.url.database}.schema-{revision}.backup")


def _back_up(store: Store, revision: str) -> None:
    """Copy the file as it was before the upgrade, whose transaction keeps others from writing."""
    path = backup_path(store, revision)
    temporary = Path(f"{path}.tmp")
    temporary.unlink(missing_ok=True)
    with store.reading() as connection:
        sqlite_file.copy(connection, temporary)
    failpoint("schema.copied")
    put_in_place(temporary, path)
    failpoint("schema.backed_up")
    logger.info("a copy of the store before the upgrade is in %s", path)


def _verify(connection: Connection) -> str | None:
    """Compare all checksums after a migration, and say what does not match.

    Of an upgrade of 511,200 cells this is two thirds of the time: 18 of 28 s of processor time on
    SQLite.  Decision: compare all the same, as it is the only proof that an upgrade kept every
    value, and is paid once.
    """
    doctor = "'hpastore doctor --deep' lists what is damaged"
    try:
        with connection.begin_nested():
            rows = verify_checksums(connection)
    except (DataError, DamagedError) as error:  # such as a moment that the driver cannot read
        reason = str(error).splitlines()[0]
        return f"the checksums could not be compared after the upgrade ({reason}); {doctor}"
    if not rows:
        return None
    number = f"{count_text(len(rows), 'row')} {'does' if len(rows) == 1 else 'do'}"
    return (
        f"{number} not match the stored checksum ({short_list(rows)}), and may have been damaged "
        f"before the upgrade; {doctor}"
    )


def downgrade(store: Store, revision: str) -> None:
    """Undo migrations down to a revision, or to ``base``; only tests of migrations do so."""
    with _schema_transaction(store) as connection:
        _drop_views(connection)
        command.downgrade(_config(connection), revision)
        _refuse_orphans(store, connection)


def check(store: Store) -> list[str]:
    """Compare the database's schema with the one of this program.

    Returns
    -------
    list of str
        A sentence for each difference.
    """
    version.require_current(store)
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        try:
            differences = [_sentence(d) for d in compare_metadata(context, Base.metadata)]
        except (
            ArgumentError,
            InvalidRequestError,
        ) as error:  # such as a key that refers to no column
            differences = [f"the tables are inconsistent: {error}"]
        return differences + _drifted_views(connection) + _foreign_triggers(connection)


def _foreign_triggers(connection: Connection) -> list[str]:
    """Report triggers and rules, which may change rows unnoticed; hpastore creates none."""
    if connection.dialect.name == "sqlite":
        found = connection.execute(text(_SQLITE_TRIGGERS)).all()
        on_table = ""
    else:
        found = [
            row for sql in _POSTGRESQL_TRIGGERS_AND_RULES for row in connection.execute(text(sql))
        ]
        on_table = ' ON "{table}"'
    return [
        f"hpastore did not create the {kind} {name} on {table}, which may change rows; "
        f'remove it: DROP {kind.upper()} "{name}"{on_table.format(table=table)}'
        for kind, name, table in found
    ]


_SQLITE_TRIGGERS: Final = (
    "SELECT 'trigger', name, tbl_name FROM sqlite_master WHERE type = 'trigger' ORDER BY name"
)

_POSTGRESQL_TRIGGERS_AND_RULES: Final = (
    """SELECT 'trigger', tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
       WHERE relnamespace = CAST(current_schema() AS regnamespace) AND NOT tgisinternal
       ORDER BY relname, tgname""",
    """SELECT 'rule', rulename, relname FROM pg_rewrite JOIN pg_class ON pg_class.oid = ev_class
       WHERE relnamespace = CAST(current_schema() AS regnamespace) AND rulename <> '_RETURN'
       ORDER BY relname, rulename""",
)
"""Every view has a rule _RETURN, which is its definition."""


def _drifted_views(connection: Connection) -> list[str]:
    """Report views that are missing, or differ from those of this program."""
    expected = views(connection.dialect.name)
    return [drift for view in expected if (drift := _view_drift(connection, view))]


def _view_drift(connection: Connection, view: CreateView) -> str | None:
    """Compare a view with a temporary one that is created from our definition."""
    name = view.table.name
    if not inspect(connection).has_table(name):
        return f"the view {name} is missing"
    expected = CreateView(view.selectable, f"expected_{name}", temporary=True)
    connection.execute(expected)
    same = _definition(connection, name) == _definition(connection, expected.table.name)
    connection.execute(DropView(expected.table))
    if same:
        return None
    return f"the view {name} differs from hpastore's definition; 'hpastore db upgrade' restores it"


def _definition(connection: Connection, view: str) -> str:
    """Read a view's SELECT as the database stores it."""
    if connection.dialect.name == "postgresql":
        return str(
            connection.scalar(
                text("SELECT pg_get_viewdef(CAST(:view AS regclass))"), {"view": view}
            )
        )
    statement = (
        "SELECT sql FROM (SELECT name, sql FROM sqlite_master "
        "UNION ALL SELECT name, sql FROM sqlite_temp_master) WHERE name = :view"
    )
    sql = str(connection.scalar(text(statement), {"view": view}))
    return re.split(r"\bAS\b", sql, maxsplit=1, flags=re.IGNORECASE)[-1]


def _config(connection: Connection | None = None) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(version.scripts()).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@contextmanager
def _schema_transaction(store: Store) -> Iterator[Connection]:
    """Give a connection whose transaction may change tables; one process at a time.

    To alter a table on SQLite it is copied, and dropping the old one would delete all rows that
    refer to it (ON DELETE CASCADE).  So foreign keys are switched off, which is only possible
    outside a transaction.
    """
    store.require_writable()
    with store.translated_errors(), store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert driver is not None
        if store.is_sqlite:
            driver.execute(f"PRAGMA page_size = {_PAGE_SIZE}")  # of a new file
            driver.execute("PRAGMA journal_mode = WAL")
            driver.execute("PRAGMA foreign_keys = OFF")
            # Some builds of SQLite zero freed pages, which doubles the log of an upgrade, and
            # takes a temporary file as large as the largest table.
            driver.execute("PRAGMA secure_delete = OFF")
        try:
            with connection.execution_options(hpastore_writes=True).begin():
                event.listen(
                    connection, "before_cursor_execute", lambda *_: failpoint("schema.statement")
                )
                if not store.is_sqlite:
                    connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
                yield connection
                failpoint("schema.commit")
        finally:
            if store.is_sqlite:
                driver.execute("PRAGMA foreign_keys = ON")


def _refuse_foreign_tables(store: Store, connection: Connection) -> None:
    """Refuse a SQLite file of another program, or tables in PostgreSQL that have our names."""
    if version.stored(connection) is not None:
        return
    names = set(inspect(connection).get_table_names()) - {"alembic_version"}
    if not store.is_sqlite:
        names &= {table.name for table in Base.metadata.sorted_tables}
    if names:
        examples = ", ".join(sorted(names)[:3])
        reason = f"holds foreign tables ({examples}); name another database with --db"
        raise StoreError(store.url, reason)


def _refuse_orphans(store: Store, connection: Connection) -> None:
    """Refuse a change after which rows refer to rows that do not exist."""
    if not store.is_sqlite:
        return  # PostgreSQL has checked every foreign key already
    orphans = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
    if orphans:
        number = count_text(len(orphans), "row")
        raise StoreError(
            store.url,
            f"{number}, the first in table {orphans[0][0]}, would refer to rows that do not exist; "
            "nothing was changed",
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
    """Write a difference that Alembic found as one line."""
    parts = difference if isinstance(difference, tuple) else difference[0]  # type: ignore[index]  # Alembic: tuple, or a list of one
    return " ".join(str(part) for part in parts)
