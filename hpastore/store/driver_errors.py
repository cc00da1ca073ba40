"""Translate the errors of both database drivers into ours, with what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sqlalchemy.engine import URL

from hpastore.errors import DisconnectedError, StoreError, UnavailableError
from hpastore.store import readonly
from hpastore.store.timeouts import BUSY_TIMEOUT_S

DAMAGED: Final = "is damaged; restore a backup, or ingest into a new store"

_BUSY: Final = f"another process has been writing for {BUSY_TIMEOUT_S} s; try again later"
_FREE_SOME: Final = "free some and run the same command again"
_DISK_FULL: Final = f"no room left on the disk; {_FREE_SOME}"

_UNAVAILABLE: Final = {
    "database is locked": _BUSY,
    "lock timeout": _BUSY,
    "could not extend": f"the database's disk has no room left; {_FREE_SOME}",
    "disk is full": _DISK_FULL,
    "disk I/O error": f"the disk failed, or has no room left; {_FREE_SOME}",
    "No space left": _DISK_FULL,
    "unable to open": "cannot be opened; SQLite must be able to write in its folder",
    "readonly": "is read-only; check the permissions of the file and its folder",
}
"""Parts of drivers' messages about a database that cannot be used now, and our message."""

_WRONG: Final = {
    "not a database": "is not a SQLite database; name another file with --db",
    "malformed": DAMAGED,
    "permission denied": "the database's user has no permission for this; ask its administrator",
}
"""Parts of drivers' messages about a database that is wrong or damaged, and our message."""

_TRANSIENT: Final = ("08", "57P", "40001", "40P01")
"""PostgreSQL's codes of a lost connection, a shutdown, and a transaction that may be retried."""


def translate(error: BaseException | None, url: URL, shown_url: str) -> StoreError:
    """Make an error of ours from a driver's.

    Parameters
    ----------
    error
        The driver's error, if it gave one.
    url : URL
        Of the database; its password is hidden in the message.
    shown_url : str
        The database as messages name it.
    """
    lines = str(error).strip().splitlines()
    message = _without_password(lines[0] if lines else "the connection failed", url)
    is_sqlite = url.get_backend_name() == "sqlite"
    if is_sqlite and (hint := _permission_hint(Path(str(url.database)), message)):
        return UnavailableError(shown_url, f"{hint} ({message})")
    for part, hint in _UNAVAILABLE.items():
        if part in message:
            return UnavailableError(shown_url, f"{hint} ({message})")
    for part, hint in _WRONG.items():
        if part in message:
            return StoreError(shown_url, f"{hint} ({message})")
    if not is_sqlite and _is_disconnect(error):
        return DisconnectedError(shown_url, message)
    return StoreError(shown_url, message)


def _without_password(message: str, url: URL) -> str:
    """Hide the password, for a driver may quote how it was called."""
    return message.replace(url.password, "***") if url.password else message


def _permission_hint(path: Path, message: str) -> str | None:
    """Name the file that this user may not use, if that is why SQLite failed."""
    if "readonly" in message and path.exists():
        return readonly.why_not_writable(path)
    if "unable to open" in message and path.exists():
        return readonly.why_not_readable(path)
    return None


def _is_disconnect(error: BaseException | None) -> bool:
    code = getattr(error, "sqlstate", None)
    if code:
        return bool(code.startswith(_TRANSIENT))
    # The driver's own errors of a lost connection have no code.
    return type(error).__name__ == "OperationalError"
