"""What databases know of themselves: damage, where and how a file is kept, invalid indexes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, text

from hpastore.schema.tables import Base
from hpastore.store.integrity.finding import RESTORE, Finding
from hpastore.store.readonly import is_writable

MAX_LOG_BYTES: Final = 2**30
"""A longer SQLite log slows down readers; something keeps it from being merged into the file."""

MIN_POSTGRESQL: Final = 13

NETWORK_FILE_SYSTEMS: Final = re.compile(
    r"(fuse\.)?(nfs4?|cifs|smb[f23]s?|9p|afs|sshfs|lustre|gpfs|ceph(-fuse)?|glusterfs|beegfs|orangefs|pvfs2|panfs"
    r"|davfs2?|rclone|s3fs|gcsfuse|juicefs|acfs|ocfs2|gfs2|vboxsf|prl_fs|vmhgfs(-fuse)?)"
)
"""File systems whose machines, or a guest and its host, may not share memory or locks."""


def sqlite_damage(connection: Connection, *, deep: bool) -> Iterator[Finding]:
    """What SQLite finds in its own file."""
    for (message,) in connection.exec_driver_sql(
        f"PRAGMA {'integrity' if deep else 'quick'}_check"
    ):
        if message != "ok":
            yield Finding("database", f"the file is damaged: {message}", RESTORE)


def sqlite_file(connection: Connection) -> Iterator[Finding]:
    """How a SQLite file is kept."""
    path = Path(str(connection.engine.url.database))
    mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    if mode != "wal" and is_writable(path):
        what = f"its journal mode is {mode}, in which readers and writers wait for each other"
        yield Finding("database", what, "'hpastore db upgrade' sets it to wal")
    log = Path(f"{path}-wal")
    if log.exists() and log.stat().st_size > MAX_LOG_BYTES:
        what = f"{log.name} has {log.stat().st_size:,} bytes, which slows down readers"
        hint = "close the programs that use the store; the last one merges the log into it"
        yield Finding("database", what, hint)
    mounts = Path("/proc/self/mountinfo")  # of Linux alone
    kind = file_system(path, mounts.read_text()) if mounts.exists() else None
    if kind and NETWORK_FILE_SYSTEMS.fullmatch(kind):
        what = f"it is on a network file system ({kind}), where SQLite cannot lock it reliably"
        yield Finding("database", what, "move it to a local disk, or use PostgreSQL")


def file_system(path: Path, mounts: str) -> str | None:
    """Name the kind of file system that a file is on.

    Parameters
    ----------
    path : Path
    mounts : str
        As ``/proc/self/mountinfo`` has them; of two at one place, the later one hides the other.
    """
    kinds = {}
    for line in mounts.splitlines():
        of_mount, _, of_system = line.partition(" - ")
        place = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), of_mount.split()[4])
        kinds[place] = of_system.split()[0]
    real = Path(os.path.realpath(path))
    return next((kinds[str(parent)] for parent in real.parents if str(parent) in kinds), None)


def postgresql_server(connection: Connection) -> Iterator[Finding]:
    """What PostgreSQL knows of itself and of our tables."""
    version = int(connection.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000
    if version < MIN_POSTGRESQL:
        yield Finding(
            "database", f"PostgreSQL {version} is older than {MIN_POSTGRESQL}", "upgrade it"
        )
    ours = {table.name for table in Base.metadata.sorted_tables}
    for sql, what, hint in _SERVER:
        for table, name in connection.execute(text(sql)):
            if table in ours:
                yield Finding(f"{name} of {table}", what, hint.format(table=table, name=name))


_SERVER: Final = (
    (
        """SELECT owner.relname, named.relname FROM pg_index
           JOIN pg_class AS owner ON owner.oid = indrelid
           JOIN pg_class AS named ON named.oid = indexrelid
           WHERE owner.relnamespace = CAST(current_schema() AS regnamespace) AND NOT indisvalid""",
        "the index is not valid",
        "REINDEX INDEX {name}",
    ),
    (
        """SELECT relname, conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
           WHERE connamespace = CAST(current_schema() AS regnamespace) AND NOT convalidated""",
        "the constraint was never checked",
        "ALTER TABLE {table} VALIDATE CONSTRAINT {name}",
    ),
    (
        """SELECT table_name, column_name FROM information_schema.columns
           WHERE table_schema = current_schema() AND data_type = 'text'
           AND collation_name IS DISTINCT FROM 'C'""",
        "text is not sorted by its bytes, as in other stores",
        "set the column's collation to C; 'hpastore db upgrade' recreates views in the way",
    ),
)
"""Statements that find faults of a table and a thing of its own, what is wrong, and a hint."""
