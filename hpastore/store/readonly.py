"""Read a SQLite store that this user may only read.

Context: in WAL mode SQLite creates a log (``-wal``) and its index (``-shm``) beside the file, even
to read.  A user without write access to the folder cannot create them.  A user with access to the
folder but not to the file would leave an index that the file's owner cannot write.  SQLite's
``immutable=1`` needs neither file, but sees a mixture of old and new pages when somebody writes.

Decision: if both files exist, SQLite reads with them, as it always does.  Otherwise all commits are
in the file itself.  It is opened with ``immutable=1`` while this process holds SQLite's lock of a
reader on it.  A writer creates the log first, and needs an exclusive lock to delete it at the end,
which ours prevents.  So a commit in the meantime is noticed afterwards: by the log, or by the
file's size or time.  Then what was read is discarded with an error.

Consequence: a reader gets the state at the beginning or an error, and a writer never waits for it.
Copying the file first would be simpler, but takes the file's size in memory or on a disk for each
command.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hpastore.errors import UnavailableError

_SHARED_FIRST: Final = 0x40000000 + 2
_SHARED_SIZE: Final = 510
"""The bytes on which SQLite's readers share a lock and its writers need an exclusive one (os.h)."""

_SET_LOCK: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
"""Sets a lock of an open file; one of the process would end when SQLite closes the same file."""

_LOCK_TIMEOUT_S: Final = 10
"""How long to wait for an exclusive lock to end, which a process has while it closes the store."""

_LOCK_POLL_S: Final = 0.05


def is_writable(path: Path) -> bool:
    """Whether this user may write a SQLite file and its folder."""
    return _has_access(path, os.W_OK) and _has_access(path.absolute().parent, os.W_OK)


def is_immutable(path: Path) -> bool:
    """Whether a file must be opened with ``immutable=1``; only certain within `consistent`."""
    if is_writable(path) or not path.is_file():
        return False
    return not has_log(path) and not all(file.exists() for file in _beside(path))


def has_log(path: Path) -> bool:
    """Whether the log holds commits that are not in the file, which ``immutable=1`` would miss."""
    log, _ = _beside(path)
    return log.is_file() and log.stat().st_size > 0


@contextmanager
def consistent(path: Path) -> Iterator[None]:
    """Read a file that this user may only read from one state of it, or fail.

    Parameters
    ----------
    path : Path
        A SQLite file that is not writable.

    Raises
    ------
    UnavailableError
        If another process changed the file meanwhile, or the file cannot be locked.
    """
    with _reader_lock(path) as handle:
        if not is_immutable(path):  # SQLite itself separates readers and writers
            yield
            return
        before = _signature(os.fstat(handle))
        try:
            yield
        except Exception as error:  # a page that is half written may lead to any error
            if _has_changed(path, before):
                raise _changed(path) from error
            raise
        if _has_changed(path, before):
            raise _changed(path)


def why_not_writable(path: Path) -> str:
    """Explain why a store cannot be written, and what to do.

    Parameters
    ----------
    path : Path
        A SQLite file.
    """
    copy = f"or work on a copy: hpastore --db {path} db backup COPY"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"is on a disk that is mounted read-only; mount it writable, {copy}"
    files = (path, *_beside(path), path.absolute().parent)
    blocked = next(
        (file for file in files if file.exists() and not _has_access(file, os.W_OK)), path
    )
    owner = _owner(blocked)
    return f"this user cannot write {blocked}; ask its owner {owner} for access, {copy}"


def why_not_readable(path: Path) -> str | None:
    """Explain why this user cannot read a store, and what to do; None if permissions are not why.

    Parameters
    ----------
    path : Path
        A SQLite file that could not be opened.
    """
    for file in (path, *_beside(path)):
        if file.exists() and not _has_access(file, os.R_OK):
            return f"this user cannot read {file}; ask its owner {_owner(file)} for access"
    if has_log(path) and not is_writable(path):
        log, _ = _beside(path)
        return (
            f"the newest changes are in {log}, which this user cannot read without write access to "
            f"its folder; ask the owner {_owner(path)} to run 'hpastore status' on the store, "
            "which moves them into its file"
        )
    return None


def _beside(path: Path) -> tuple[Path, Path]:
    """Name the log and its index."""
    return Path(f"{path}-wal"), Path(f"{path}-shm")


def _has_access(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _owner(path: Path) -> str:
    number = path.stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"(user {number})"


@contextmanager
def _reader_lock(path: Path) -> Iterator[int]:
    """Hold SQLite's lock of a reader, and give the open file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        reason = why_not_readable(path) if path.exists() else None
        raise UnavailableError(
            str(path), reason or f"cannot be opened ({error.strerror})"
        ) from error
    try:
        _lock(path, handle)
        yield handle
    finally:
        os.close(handle)


def _lock(path: Path, handle: int) -> None:
    end = time.monotonic() + _LOCK_TIMEOUT_S
    request = struct.pack("hhqqi0q", fcntl.F_RDLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)
    while True:
        try:
            if _SET_LOCK is None:
                raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
            fcntl.fcntl(handle, _SET_LOCK, request)
            return
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                if time.monotonic() < end:
                    time.sleep(_LOCK_POLL_S)
                    continue
                reason = "another process has locked it; run the same command again"
            elif os.fstatvfs(handle).f_flag & os.ST_RDONLY:
                return  # nobody can write here, such as on a disc
            else:
                reason = (
                    "this user can only read it, and cannot lock it against changes on this file "
                    f"system ({error.strerror}); copy it while nobody writes to it, and name "
                    "the copy with --db"
                )
            raise UnavailableError(str(path), reason) from error


def _signature(status: os.stat_result) -> tuple[int, ...]:
    """Pick what a write or a replacement changes."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _has_changed(path: Path, before: tuple[int, ...]) -> bool:
    """Whether a file was written, replaced or removed."""
    try:
        return has_log(path) or _signature(path.stat()) != before
    except OSError:
        return True


def _changed(path: Path) -> UnavailableError:
    reason = "another process changed it while it was being read; run the same command again"
    return UnavailableError(str(path), reason)
