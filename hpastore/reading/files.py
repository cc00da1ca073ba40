"""Read a whole file once, and know which bytes were read."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from pathlib import Path
from typing import Final

from hpastore.errors import InputError, RejectedError
from hpastore.model import FileRecord

MAX_FILE_BYTES: Final = 2**28
"""The largest file that is read; real ones have 0.1 to 20 MB."""

_RETRIES: Final = 3
"""How often a file that changes is read again."""

_TICK_NS: Final = 20_000_000
"""Within this time two changes may have one time: Linux's clock of files ticks every 1 to 10 ms,
and was seen to lag by a tick and a half."""


def read_file(
    path: Path, role: str, uri: str, limit: int = MAX_FILE_BYTES
) -> tuple[bytes, FileRecord]:
    """Read a file that nobody changes meanwhile.

    Hash and pixels come from the same bytes, so a record never describes another version of
    the file than the one that was decoded.

    Parameters
    ----------
    path
        A regular file, or a link to one.  Links are followed wherever they lead: that is how people
        lay out data that lies on several disks.
    role, uri
        What the record calls it.
    limit
        Bytes; a larger file is not read.

    Returns
    -------
    tuple of bytes and FileRecord
        The content, and its size, modification time and SHA-256.

    Raises
    ------
    RejectedError
        ``missing_file``; ``too_large``; ``changed`` where it changed during each of four readings;
        ``io`` where it cannot be read or is no regular file.
    """
    try:
        for _ in range(1 + _RETRIES):
            data, before, after, rested = _read(path, limit)
            if rested and _version(before) == _version(after) and len(data) == before.st_size:
                digest = hashlib.sha256(data).hexdigest()
                return data, FileRecord(role, uri, len(data), before.st_mtime_ns, digest)
    except FileNotFoundError:
        raise RejectedError(
            "missing_file", path, "does not exist; check the name and the folder"
        ) from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); check the file and its permissions"
        raise RejectedError("io", path, reason) from error
    raise RejectedError("changed", path, "changes while it is read; try again when it is complete")


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a file that a person gave, or a pipe.

    Parameters
    ----------
    path
    limit
        Bytes; of more none is read.

    Raises
    ------
    InputError
        If it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise InputError(path, f"cannot be read: {error.strerror}") from error
    if len(data) > limit:
        raise InputError(path, f"has more than {limit:,} bytes; give a smaller file")
    return data


def read_text(path: Path, limit: int) -> str:
    """Read a file of text that a person wrote, or a pipe.

    Parameters
    ----------
    path
    limit
        Bytes; of more none is read.

    Returns
    -------
    str
        Without a byte order mark.

    Raises
    ------
    InputError
        If it cannot be read, is larger, or is not UTF-8.
    """
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(path, "cannot be read: it is not UTF-8") from error


def _read(path: Path, limit: int) -> tuple[bytes, os.stat_result, os.stat_result, bool]:
    """Content, status before and after, and whether any change meanwhile shows in the status."""
    with open(path, "rb", opener=_open) as file:
        before, unrest = _status_and_wait(file.fileno())
        if unrest:
            time.sleep(unrest)
            before, unrest = _status_and_wait(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise RejectedError("io", path, "is not a regular file; give a file or a link to one")
        if before.st_size > limit:
            reason = f"has {before.st_size} bytes; at most {limit} are read"
            raise RejectedError("too_large", path, reason)
        # One byte more than expected, to see a file that grows.
        data = file.read(before.st_size + 1)
        return data, before, os.fstat(file.fileno()), not unrest


def _status_and_wait(file: int) -> tuple[os.stat_result, float]:
    """Status, and in how many seconds the next change would have another time than the last one."""
    now = time.time_ns()
    status = os.fstat(file)
    age = now - status.st_ctime_ns
    # Only what is near: a server's clock may be hours ahead of ours.
    return status, (_TICK_NS - age) / 1e9 if abs(age) < _TICK_NS else 0.0


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a FIFO waits for its writer, perhaps for ever.
    return os.open(path, flags | os.O_NONBLOCK)


def _version(status: os.stat_result) -> tuple[int, ...]:
    # ctime too: a write followed by `touch -d`, or a rename over the file, leaves mtime alone.
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
