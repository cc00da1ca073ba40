"""Copy a store that is in use into a file."""

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

_SQLITE: Final = b"SQLite format 3\0"
"""What a SQLite file begins with."""

_ROWS: Final = 10_000
"""Rows that are copied from PostgreSQL at a time."""


def backup(
    store: Store, path: Path | str, *, force: bool = False, progress: sqlite_file.Progress | None = None
) -> Path:
    """Copy a store into a SQLite file, as it is at one moment, while others use it.

    The copy of a SQLite store has the same bytes but for free space; that of a PostgreSQL database is a
    SQLite store with the same rows, keys and checksums.  Either is a store: name it with ``--db``.

    Parameters
    ----------
    store : Store
    path : Path
        The file; its folder is there.
    force : bool
        Whether an existing file is replaced, once the copy is whole.
    progress : callable, optional
        Called with (pages copied, pages) of a SQLite store.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ExportError
        If the file exists, is the store itself or is in use, or cannot be written.
    StoreError
        If the store is damaged; what was at `path` is kept.
    """
    path = expanded(path)
    with _named_errors(path):
        _refuse(store, path, force=force)
        with _beside(path) as temporary:
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


def _refuse(store: Store, path: Path, *, force: bool) -> None:
    if not path.parent.is_dir():
        raise ExportError(path, f"cannot be made: there is no folder {path.parent}")
    if path.is_dir():
        raise ExportError(path, "is a folder; choose another name")
    protect.refuse_special_file(path)
    protect.refuse_store_files(store, path)
    if path.exists() and not force:
        raise ExportError(path, "exists; choose another name, or replace it with --force")
    protect.refuse_inputs(store, path, exported=partial(_is_backup, path))
    # SQLite would take them for the new file's and spoil it.
    for end in ("-wal", "-journal"):
        beside = Path(f"{path}{end}")
        if beside.exists() and beside.stat().st_size:
            raise ExportError(
                path, f"is in use, or was not closed: there is {beside.name}; choose another name"
            )


def _is_backup(path: Path) -> bool:
    """Whether a file is a SQLite database, as no input is."""
    with path.open("rb") as file:
        return file.read(len(_SQLITE)) == _SQLITE


@contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """Give a new file beside the target, and remove it if it is not moved there; also those of the dead."""
    for left in path.parent.glob(f".{path.name}.*.tmp*"):
        owner = re.fullmatch(
            rf"\.{re.escape(path.name)}\.(\d+)\.tmp({'|'.join(protect.SIDE_FILES)})?", left.name
        )
        if owner and not lives(int(owner[1])):
            left.unlink(missing_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield temporary
    finally:
        for end in ("", *protect.SIDE_FILES):
            Path(f"{temporary}{end}").unlink(missing_ok=True)


def _copy_rows(store: Store, path: Path) -> None:
    """Copy PostgreSQL's rows, as they are at one moment, into a new SQLite store."""
    with connect(path) as copied:
        migrate.upgrade(copied)
        with store.reading() as connection:
            for table in Base.metadata.sorted_tables:
                with copied.writing() as target:
                    target.execute(delete(table))  # the 19 labels came with the schema
                    rows = connection.execute(select(table), execution_options={"yield_per": _ROWS})
                    for part in rows.mappings().partitions():
                        target.execute(insert(table), [dict(row) for row in part])


def _check(store: Store, path: Path) -> None:
    """Look at the copy before it takes the place of an older, maybe better one."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?immutable=1", uri=True)) as connection:
            said = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    except sqlite3.DatabaseError as error:
        said = str(error)
    if said != "ok":
        reason = f"is damaged, and so is its copy, which was not kept ({said}); restore an older backup"
        raise StoreError(store.url, reason)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    """Name the copy where it is what cannot be written."""
    try:
        yield
    except OSError as error:
        if error.errno in (ENOSPC, EDQUOT):
            raise NoRoomError(path, "no room left on the disk; nothing was written") from error
        raise ExportError(path, f"cannot be written ({error.strerror})") from error
    except UnavailableError as error:
        if "disk is full" in error.reason:  # SQLite's word, of the file that it writes
            raise NoRoomError(path, "no room left on the disk; nothing was written") from error
        raise
