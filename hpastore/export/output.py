"""Write whole files and folders, or nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hpastore.errors import ExportError, NoRoomError


@contextmanager
def whole_file(path: Path, *, force: bool) -> Iterator[Path]:
    """Give a temporary path beside the target; the file there takes the target's place at the end.

    Parameters
    ----------
    path : Path
        The target; its folder is made.
    force : bool
        Whether an existing file is replaced.

    Raises
    ------
    ExportError
        If the target exists, or cannot be written.
    """
    with _beside(path, force=force) as temporary:
        yield temporary
        _sync(temporary)
        temporary.replace(path)


@contextmanager
def whole_folder(path: Path, *, force: bool) -> Iterator[Path]:
    """Give a new folder beside the target, which takes the target's place at the end.

    Parameters
    ----------
    path : Path
        The target.
    force : bool
        Whether an existing folder is replaced, with all that it holds.

    Raises
    ------
    ExportError
        If the target exists, or cannot be written.
    """
    with _beside(path, force=force) as temporary:
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            _sync(file)
        old = temporary.with_suffix(".old")
        if path.exists():
            path.rename(old)
        temporary.rename(path)
        _remove(old)


@contextmanager
def _beside(path: Path, *, force: bool) -> Iterator[Path]:
    if path.exists() and not force:
        raise ExportError(path, "exists; choose another name, or replace it with --force")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
        finally:
            _remove(temporary)
        _sync(path.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoomError(path, "no room left on the disk; nothing was written") from error
        raise ExportError(path, f"cannot be written ({error.strerror})") from error


def _sync(path: Path) -> None:
    """Bring a file, or a folder's entries, to the disk before anything refers to it."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
