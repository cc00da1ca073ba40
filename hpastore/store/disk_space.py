"""The disk that an upgrade takes: how much it needs, and how much is free.

Measured from schema 0005 to 0006, in sizes of the database before.  SQLite, 511,200 cells: 1.0 for
the copy beside the file, 0.57 for the log, and 0.57 by which the file grows when the log is merged
into it.  A store of 9 cells, 0.2 MB, needs 0.6 MB, as each table and index takes a page.
PostgreSQL has both tables until the commit, 0.54, and writes the new ones to its log too, which may
be as much again.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from hpastore.errors import UnavailableError
from hpastore.store.engine import Store
from hpastore.text import size_text

logger = logging.getLogger(__name__)

_SQLITE_GROWTH: Final = 1.5
"""Log and growth of the file by an upgrade, in sizes of what the file holds; measured: 1.15."""

_SQLITE_TEMPORARY: Final = 0.1
"""SQLite's temporary files, such as of a sorted index; measured: 0.006."""

_SQLITE_SMALLEST: Final = 2_000_000
"""What an upgrade of an empty store takes at least, in bytes; measured: 0.6 MB."""

_POSTGRESQL_GROWTH: Final = 1.5
"""Tables and log of an upgrade, in sizes of the database; measured: 0.54 for the tables."""


@dataclass(frozen=True)
class Shortage:
    """A disk that has less room than is needed."""

    folder: Path
    """A folder on this disk."""
    needed: int
    """In bytes."""
    free: int
    """In bytes."""

    def __str__(self) -> str:
        return f"{size_text(self.needed)} in {self.folder}, where {size_text(self.free)} are free"


def require_room_for_upgrade(store: Store, connection: Connection, backup: Path) -> None:
    """Refuse an upgrade for which a disk is too small; that of a PostgreSQL server nobody can see.

    Parameters
    ----------
    store : Store
    connection : Connection
        In a transaction that reads.
    backup : Path
        The copy that is made of a SQLite file.

    Raises
    ------
    UnavailableError
        With what is needed and what is free.
    """
    if not store.is_sqlite:
        size = connection.exec_driver_sql("SELECT pg_database_size(current_database())")
        needed = size_text(int(_POSTGRESQL_GROWTH * size.scalar_one()))
        logger.info(
            "the upgrade needs about %s on the server's disk, which is not checked; "
            "a full disk leaves the store as it is",
            needed,
        )
        return
    shortage = find_shortage(_upgrade_needs(connection, backup))
    if shortage:
        reason = f"the upgrade needs about {shortage}; nothing was changed"
        raise UnavailableError(
            store.url, f"{reason}; free some or move the store, and run the same command again"
        )


def find_shortage(needs: Iterable[tuple[Path, int]]) -> Shortage | None:
    """Give the first disk that has less room than its folders need together.

    Parameters
    ----------
    needs
        Folders, and how many bytes each needs.
    """
    folders: dict[int, Path] = {}
    needed: dict[int, int] = {}
    for folder, size in needs:
        disk = folder.stat().st_dev
        folders.setdefault(disk, folder)
        needed[disk] = needed.get(disk, 0) + size

    for disk, folder in folders.items():
        free = shutil.disk_usage(folder).free
        if free < needed[disk]:
            return Shortage(folder, needed[disk], free)
    return None


def file_folder(connection: Connection) -> Path:
    """Give the folder of a SQLite file and its log: where a link leads."""
    return Path(os.path.realpath(str(connection.engine.url.database))).parent


def file_sizes(connection: Connection) -> tuple[int, int]:
    """Measure a SQLite file, and what it holds without free pages, in bytes."""

    def pragma(name: str) -> int:
        return int(connection.exec_driver_sql(f"PRAGMA {name}").scalar_one())

    page, pages = pragma("page_size"), pragma("page_count")
    return page * pages, page * (pages - pragma("freelist_count"))


def temporary_folder() -> Path:
    """Give the folder of SQLite's temporary files, found as SQLite does."""
    candidates = (
        *(os.environ.get(name) for name in ("SQLITE_TMPDIR", "TMPDIR")),
        *("/var/tmp", "/usr/tmp", "/tmp"),  # noqa: S108 nothing is written here
    )
    usable = (
        Path(folder)
        for folder in candidates
        if folder and Path(folder).is_dir() and os.access(folder, os.W_OK | os.X_OK)
    )
    return next(usable, Path())


def _upgrade_needs(connection: Connection, backup: Path) -> list[tuple[Path, int]]:
    size, used = file_sizes(connection)
    unfinished = Path(f"{backup}.tmp")  # of an upgrade that was killed; deleted by this one
    copied = size - (unfinished.stat().st_size if unfinished.exists() else 0)
    return [
        (backup.absolute().parent, max(0, copied)),
        (file_folder(connection), int(_SQLITE_GROWTH * used) + _SQLITE_SMALLEST),
        (temporary_folder(), int(_SQLITE_TEMPORARY * used)),
    ]
