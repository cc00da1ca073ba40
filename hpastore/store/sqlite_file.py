"""A SQLite store as a file, copied while others write to it."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

_PAGES: Final = 1000
"""Pages that are copied between two looks at signals: some milliseconds."""


Progress = Callable[[int, int], None]
"""Called with the number of pages copied, and of all."""


def copy(connection: Connection, target: Path, progress: Progress | None = None) -> None:
    """Copy the file of a reading connection, as it is at this moment.

    Without a transaction SQLite would begin again whenever somebody has written, and under constant
    writing never end.

    Parameters
    ----------
    connection
        In a transaction of `hpastore.store.engine.Store.reading` of a SQLite store.
    target : Path
        An empty file, or one that is not there.
    progress : callable, optional
        Called with (pages copied, pages).
    """

    def tell(status: int, left: int, pages: int) -> None:  # Python hears signals when it is called
        del status
        if progress:
            progress(pages - left, pages)

    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute("SELECT count(*) FROM sqlite_master").fetchone()  # from here on it is one moment
    with closing(sqlite3.connect(target)) as copied:
        copied.execute("PRAGMA synchronous = OFF")  # nobody needs a part of it, see put_in_place
        driver.backup(copied, pages=_PAGES, progress=tell)
    mode = Path(str(connection.engine.url.database)).stat().st_mode
    target.chmod(stat.S_IMODE(mode) | stat.S_IRUSR | stat.S_IWUSR)  # who may only read gets a copy to work on
