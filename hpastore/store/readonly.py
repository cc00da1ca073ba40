"""Read a SQLite store that this user may only read.

Context: in WAL mode SQLite makes a log (``-wal``) and an index of it (``-shm``) beside the file, even to
read.  A user who may not write the folder cannot make them; one who may, but not write the file, would
leave an index that its owner cannot write.  SQLite's ``immutable=1`` needs neither, but sees a mixture of
old and new pages when somebody writes.

Decision: where both files are there, SQLite reads with them, as it always does.  Otherwise all commits are
in the file, and it is opened with ``immutable=1`` while this process holds the lock of a reader on it.
Whoever opens the store to write makes the log first, and must hold the file alone to delete it when it is
closed, which the lock prevents.  Hence a commit in the meantime is seen afterwards: by the log, or by the
file's size or time.  Then all that was read is dropped, with an error that says so.

Consequence: a reader gets the state at the beginning or an error, and never keeps a writer waiting.
Copying the file first would be simpler, but takes its size in memory or on a disk for each command.
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
"""The bytes that SQLite's readers lock and its writers need alone (SHARED_FIRST in os.h)."""

_SET_LOCK: Final[int | None] = getattr(fcntl, "F_OFD_SETLK", None)
"""Sets a lock that belongs to an open file.  Those of a process end when SQLite closes the same file."""

_LOCK_S: Final = 10
"""How long a store that somebody is about to close is waited for."""

_PAUSE_S: Final = 0.05


def is_writable(path: Path) -> bool:
    """Whether this user may write a SQLite file, and beside it."""
    return _may(path, os.W_OK) and _may(path.absolute().parent, os.W_OK)


def is_immutable(path: Path) -> bool:
    """Whether a file must be opened with ``immutable=1``; only sure within `unchanged`."""
    if is_writable(path) or not path.is_file():
        return False
    return not has_log(path) and not all(file.exists() for file in _beside(path))


def has_log(path: Path) -> bool:
    """Whether there are commits that are not in the file yet; an immutable file would be without them."""
    log, _ = _beside(path)
    return log.is_file() and log.stat().st_size > 0


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Read a file that this user may only read; what is read is from one moment, or there is an error.

    Parameters
    ----------
    path : Path
        A SQLite file that is not writable.

    Raises
    ------
    UnavailableError
        If somebody wrote meanwhile, or the file cannot be locked.
    """
    with _reader_lock(path) as handle:
        if not is_immutable(path):  # SQLite keeps readers and writers apart itself
            yield
            return
        before = _state(handle)
        try:
            yield
        except Exception as error:  # whatever comes of half a page
            if _has_changed(path, before):
                raise _changed(path) from error
            raise
        if _has_changed(path, before):
            raise _changed(path)


def refusal(path: Path) -> str:
    """Say why a store cannot be written, and what to do.

    Parameters
    ----------
    path : Path
        A SQLite file.
    """
    copy = f"or work on a copy: hpastore --db {path} db backup COPY"
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return f"may only be read, since its disk is mounted read-only; mount it writable, {copy}"
    files = (path, *_beside(path), path.absolute().parent)
    blocked = next((file for file in files if file.exists() and not _may(file, os.W_OK)), path)
    owner = _owner(blocked)
    return f"may only be read by this user, who cannot write {blocked}; ask its owner {owner}, {copy}"


def obstacle(path: Path) -> str | None:
    """Name the file that keeps this user from reading a store, and say what to do; None if there is none.

    Parameters
    ----------
    path : Path
        A SQLite file that could not be opened.
    """
    for file in (path, *_beside(path)):
        if file.exists() and not _may(file, os.R_OK):
            return f"{file} may not be read by this user; ask its owner {_owner(file)}"
    if has_log(path) and not is_writable(path):
        log, _ = _beside(path)
        return (
            f"this user cannot read the commits in {log} without writing beside it; ask {_owner(path)}, who "
            "owns the store, to run 'hpastore status' on it, which brings them into the file"
        )
    return None


def _beside(path: Path) -> tuple[Path, Path]:
    """The log and its index."""
    return Path(f"{path}-wal"), Path(f"{path}-shm")


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)


def _owner(path: Path) -> str:
    number = path.stat().st_uid
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"(user {number})"


@contextmanager
def _reader_lock(path: Path) -> Iterator[int]:
    """Hold the lock of a reader, and give the open file."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        reason = obstacle(path) if path.exists() else None
        raise UnavailableError(str(path), reason or f"cannot be opened ({error.strerror})") from error
    try:
        _lock(path, handle)
        yield handle
    finally:
        os.close(handle)


def _lock(path: Path, handle: int) -> None:
    end = time.monotonic() + _LOCK_S
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
                    time.sleep(_PAUSE_S)
                    continue
                reason = "another process holds it alone; run the same command again"
            elif os.fstatvfs(handle).f_flag & os.ST_RDONLY:
                return  # such as a disc, which nobody can write
            else:
                reason = (
                    f"may only be read by this user, and cannot be locked here against its owner's changes "
                    f"({error.strerror}); copy the file while nobody writes it, and name the copy with --db"
                )
            raise UnavailableError(str(path), reason) from error


def _state(handle: int) -> tuple[int, ...]:
    """What a write changes, of an open file."""
    return _signature(os.fstat(handle))


def _signature(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _has_changed(path: Path, before: tuple[int, ...]) -> bool:
    """Whether a file was written, replaced or taken away."""
    try:
        return has_log(path) or _signature(path.stat()) != before
    except OSError:
        return True


def _changed(path: Path) -> UnavailableError:
    reason = "somebody wrote it while it was being read, so that nothing was kept; run the same command again"
    return UnavailableError(str(path), reason)
