"""Copy the file of a SQLite store while others write to it."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

_PAGES: Final = 1000
"""Pages that are copied at a time, some milliseconds, before Python handles signals."""

Progress = Callable[[int, int], None]
"""Called with the number of pages copied so far, and of all pages."""


def copy(connection: Connection, target: Path, progress: Progress | None = None) -> None:
    """Copy the state of the file that a connection reads.

    Outside a transaction SQLite would start again after each write of others, and might never end.

    Parameters
    ----------
    connection
        In a transaction of `hpastore.store.engine.Store.reading` of a SQLite store.
    target : Path
        An empty file, or a path where no file is.
    progress : callable, optional
        Called with (pages copied, pages).
    """

    def report(
        status: int, left: int, pages: int
    ) -> None:  # needed without progress too, for signals
        del status
        if progress:
            progress(pages - left, pages)

    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute(
        "SELECT count(*) FROM sqlite_master"
    ).fetchone()  # the first read fixes the state
    with closing(sqlite3.connect(target)) as copied:
        copied.execute("PRAGMA synchronous = OFF")  # put_in_place syncs the complete file
        driver.backup(copied, pages=_PAGES, progress=report)
    mode = Path(str(connection.engine.url.database)).stat().st_mode
    target.chmod(stat.S_IMODE(mode) | stat.S_IRUSR | stat.S_IWUSR)  # also of a read-only store
