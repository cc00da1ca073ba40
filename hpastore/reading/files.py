"""Read a whole file once, and know which bytes were read."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path
from typing import Final

from hpastore.errors import RejectedError
from hpastore.model import FileRecord

MAX_FILE_BYTES: Final = 2**30
"""The largest file that is read; real ones have 0.1 to 20 MB."""

_ATTEMPTS: Final = 3


def read_file(path: Path, role: str, uri: str, limit: int = MAX_FILE_BYTES) -> tuple[bytes, FileRecord]:
    """Read a file that nobody changes meanwhile.

    Hash and pixels come from the same bytes, so a record never describes another version of
    the file than the one that was decoded.

    Parameters
    ----------
    path
        A regular file, or a link to one.
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
        ``missing_file``, ``too_large``, or ``io``: it cannot be read, is no regular file, or
        changed during each of three readings.
    """
    try:
        for _ in range(_ATTEMPTS):
            data, before, after = _read(path, limit)
            if _version(before) == _version(after) and len(data) == before.st_size:
                digest = hashlib.sha256(data).hexdigest()
                return data, FileRecord(role, uri, len(data), before.st_mtime_ns, digest)
    except FileNotFoundError:
        raise RejectedError("missing_file", path, "does not exist; check the name and the folder") from None
    except OSError as error:
        reason = f"cannot be read ({error.strerror}); check the file and its permissions"
        raise RejectedError("io", path, reason) from error
    raise RejectedError("io", path, "changes while it is read; try again when it is complete")


def _read(path: Path, limit: int) -> tuple[bytes, os.stat_result, os.stat_result]:
    with open(path, "rb", opener=_open) as file:
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise RejectedError("io", path, "is not a regular file; give a file or a link to one")
        if before.st_size > limit:
            reason = f"has {before.st_size} bytes; at most {limit} are read"
            raise RejectedError("too_large", path, reason)
        # One byte more than expected, to see a file that grows.
        data = file.read(before.st_size + 1)
        return data, before, os.fstat(file.fileno())


def _open(path: str, flags: int) -> int:
    # Without O_NONBLOCK, opening a FIFO waits for its writer, perhaps for ever.
    return os.open(path, flags | os.O_NONBLOCK)


def _version(status: os.stat_result) -> tuple[int, ...]:
    # ctime too: a write followed by `touch -d`, or a rename over the file, leaves mtime alone.
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
