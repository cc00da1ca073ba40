"""Write files so that a power cut leaves the old file or the new one, and never a part."""

from __future__ import annotations

import os
from pathlib import Path


def put_in_place(temporary: Path, path: Path) -> None:
    """Let a finished file take the place of another; a power cut leaves one or the other."""
    sync(temporary)
    temporary.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Bring a file, or a folder's entries, to the disk before anything refers to it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def lives(pid: int) -> bool:
    """Whether the process that named a temporary file after itself still works on it."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    # Of a container whose first processes have the same numbers each time.
    return pid != os.getpid()
