"""Copy a store into a SQLite file while others use it."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from errno import EDQUOT, ENOSPC
from functools import partial
from pathlib import Path
from typing import Final

from sqlalchemy import delete, insert, select

from hpastore.arguments import expanded
from hpastore.errors import ExportError, NoRoomError, StoreError, UnavailableError
from hpastore.runtime.atomic_files import lives, put_in_place
from hpastore.runtime.failpoints import failpoint
from hpastore.schema.tables import Base
from hpastore.store import migrate, protect, sqlite_file
from hpastore.store.engine import Store, connect

_SQLITE_HEADER: Final = b"SQLite format 3\0"
"""The first bytes of a SQLite file."""

_BATCH_ROWS: Final = 10_000
"""Rows that are copied from PostgreSQL at a time."""


def backup(
    store: Store,
    path: Path | str,
    *,
    force: bool = False,
    progress: sqlite_file.Progress | None = None,
) -> Path:
    """Copy one state of a store into a SQLite file, while others use the store.

    The copy of a SQLite store has the same bytes except in free pages; the copy of a PostgreSQL
    database has the same rows, keys and checksums.  Either copy is a store, and can be named with
    ``--db``.

    Parameters
    ----------
    store : Store
    path : Path
        The file, in a folder that exists.
    force : bool
        Whether an existing file is replaced, once the copy is complete.
    progress : callable, optional
        For a SQLite store, called with (pages copied, pages).

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        If the file exists, is the store itself or is in use, or cannot be written.
    StoreError
        If the store is damaged; an existing file at `path` is kept.
    """
    path = expanded(path)
    with _translated_errors(path):
        _refuse_target(store, path, force=force)
        with _temporary_file(path) as temporary:
            if store.is_sqlite:
                with store.reading() as connection:
                    sqlite_file.copy(connection, temporary, progress)
            else:
                _copy_rows(store, temporary)
            failpoint("backup.copied")
            _check(store, temporary)
            put_in_place(temporary, path)
            failpoint("backup.placed")
    return path


def _refuse_target(store: Store, path: Path, *, force: bool) -> None:
    """Refuse to write to a path that is in use, cannot be created, or must not be replaced."""
    if not path.parent.is_dir():
        raise ExportError(path, f"cannot be created: there is no folder {path.parent}")
    if path.is_dir():
        raise ExportError(path, "is a folder; choose another name")
    protect.refuse_special_file(path)
    protect.refuse_store_files(store, path)
    if path.exists() and not force:
        raise ExportError(path, "exists; choose another name, or replace it with --force")
    protect.refuse_inputs(store, path, exported=partial(_is_backup, path))
    # SQLite would apply the log of the old file to the new one, and damage it.
    for ending in ("-wal", "-journal"):
        log = Path(f"{path}{ending}")
        if log.exists() and log.stat().st_size:
            reason = f"is in use, or was not closed properly, since {log.name} exists"
            raise ExportError(path, f"{reason}; choose another name")


def _is_backup(path: Path) -> bool:
    """Whether a file is a SQLite database, which no input is."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE_HEADER)) == _SQLITE_HEADER


@contextmanager
def _temporary_file(path: Path) -> Iterator[Path]:
    """Give a new file beside the target; delete it at the end unless it was moved to the target."""
    _delete_abandoned_files(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
    finally:
        for ending in ("", *protect.SIDE_FILES):
            Path(f"{temporary}{ending}").unlink(missing_ok=True)


def _delete_abandoned_files(path: Path) -> None:
    """Delete temporary files for this target whose processes have ended."""
    endings = "|".join(protect.SIDE_FILES)
    pattern = re.compile(rf"\.{re.escape(path.name)}\.(\d+)\.tmp({endings})?")
    for file in path.parent.glob(f".{path.name}.*.tmp*"):
        name = pattern.fullmatch(file.name)
        if name and not lives(int(name[1])):
            file.unlink(missing_ok=True)


def _copy_rows(store: Store, path: Path) -> None:
    """Copy one state of PostgreSQL's rows into a new SQLite store."""
    with connect(path) as copy:
        migrate.upgrade(copy)
        with store.reading() as connection:
            for table in Base.metadata.sorted_tables:
                with copy.writing() as target:
                    target.execute(delete(table))  # the schema comes with the default classes
                    rows = connection.execute(
                        select(table), execution_options={"yield_per": _BATCH_ROWS}
                    )
                    for part in rows.mappings().partitions():
                        target.execute(insert(table), [dict(row) for row in part])


def _check(store: Store, path: Path) -> None:
    """Check the copy before it replaces an older one, which may be intact."""
    try:
        with closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)
        ) as connection:
            finding = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        finding = str(error)
    if finding != "ok":
        detail = finding.splitlines()[-1]  # after a line that names the database
        reason = f"is damaged ({detail}), so that no backup was made; restore an older backup"
        raise StoreError(store.url, reason)


@contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    """Name the copy in errors of writing it."""
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise NoRoomError(path, "no room left on the disk; nothing was written") from error
        raise ExportError(path, f"cannot be written ({error.strerror})") from error
    except UnavailableError as error:
        if "disk is full" in error.reason:  # SQLite's message, about the file that it writes
            raise NoRoomError(path, "no room left on the disk; nothing was written") from error
        raise
