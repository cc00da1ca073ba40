"""Give the free pages of a SQLite file back to its disk.

A migration that copies tables leaves the pages of the former ones free: of 511,200 cells 681 of
1,783 MB.  Decision: VACUUM after the commit, which takes 4 s of processor time there, as a lab's
disk should not hold a store one and a half times.  It is a transaction of its own, and only a
convenience: where it fails, the store works as well, and the next ``hpastore db upgrade`` tries
again.
"""

from __future__ import annotations

import logging
import sqlite3
from typing import Final

from hpastore.runtime.failpoints import failpoint
from hpastore.store import disk_space
from hpastore.store.engine import Store
from hpastore.text import size_text

logger = logging.getLogger(__name__)

_MAX_FREE: Final = 0.2
"""Share of a file's pages that may be free; ingests use them."""

_BUSY_TIMEOUT_MS: Final = 5000
"""How long to wait for another process that writes."""


def vacuum_if_worthwhile(store: Store) -> None:
    """Make a SQLite file smaller if many of its pages are free; only report why it failed."""
    with store.reading() as connection:
        size, used = disk_space.file_sizes(connection)
        folder = disk_space.file_folder(connection)
    if size - used <= _MAX_FREE * size:
        return
    needs = [(folder, used), (disk_space.temporary_folder(), used)]
    shortage = disk_space.find_shortage(needs)
    if shortage:
        _report_failure(store, size - used, f"this takes {shortage}")
        return
    try:
        _vacuum(store)
    except sqlite3.Error as error:
        _report_failure(store, size - used, str(error))
        return
    logger.info("the store takes %s less than before VACUUM", size_text(size - used))


def _vacuum(store: Store) -> None:
    with store.engine.connect() as connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        [timeout] = driver.execute("PRAGMA busy_timeout").fetchone()
        driver.execute(f"PRAGMA busy_timeout = {_BUSY_TIMEOUT_MS}")
        try:
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            failpoint("schema.vacuum")
            driver.execute("VACUUM")
            failpoint("schema.vacuumed")
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        finally:
            driver.execute(f"PRAGMA busy_timeout = {timeout}")


def _report_failure(store: Store, free: int, reason: str) -> None:
    logger.warning(
        "%s works, and keeps %s that are free and will be used again: it could not be made smaller "
        "(%s); 'hpastore db upgrade' tries again",
        store.url,
        size_text(free),
        reason,
    )
