"""Write whole files and folders, or nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hpastore.errors import ExportError, NoRoomError
from hpastore.failpoints import reach
from hpastore.store.file import lives, sync


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
    with _named_errors(path):
        if path.is_dir():
            raise ExportError(path, "is a folder; choose another name")
        with _beside(path, force=force) as temporary:
            yield temporary
            reach("output.written")
            sync(temporary)
            temporary.replace(path)
            reach("output.renamed")


@contextmanager
def whole_folder(path: Path, *, force: bool, ours: Callable[[Path], bool]) -> Iterator[Path]:
    """Give a new folder beside the target, which takes the target's place at the end.

    Parameters
    ----------
    path : Path
        The target; of a link, the folder it leads to.
    force : bool
        Whether an existing folder is replaced, with all that it holds.
    ours : callable
        Tells whether a folder was written by us; no other is replaced unless it is empty.

    Raises
    ------
    ExportError
        If the target exists, is not ours, or cannot be written.
    """
    with _named_errors(path):
        path = Path(os.path.realpath(path))  # `.` has no name, and beside a link is not beside its folder
        _refuse_foreign(path, ours)
        with _beside(path, force=force) as temporary:
            temporary.mkdir()
            yield temporary
            reach("folder.written")
            for file in temporary.rglob("*"):
                sync(file)
            _exchange(path, temporary)
            _sweep(path, "old")


def _exchange(path: Path, new: Path) -> None:
    """Put a new folder in the place of another; where that fails, the old one stays."""
    old = new.with_suffix(".old")
    try:
        if path.exists():
            path.rename(old)
            reach("folder.aside")
        new.rename(path)
        reach("folder.renamed")
    finally:
        if old.exists() and not path.exists():
            old.rename(path)
        _remove(old)


@contextmanager
def _named_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise NoRoomError(path, "no room left on the disk; nothing was written") from error
        raise ExportError(path, f"cannot be written ({error.strerror})") from error


def _refuse_foreign(path: Path, ours: Callable[[Path], bool]) -> None:
    if Path.cwd().is_relative_to(path):
        raise ExportError(path, "is or holds the working folder; name another")
    if not path.exists():
        return
    if not path.is_dir():
        raise ExportError(path, "is not a folder; choose another name")
    if any(path.iterdir()) and not ours(path):
        raise ExportError(path, "holds other files; choose another name, or empty it yourself")


@contextmanager
def _beside(path: Path, *, force: bool) -> Iterator[Path]:
    if path.exists() and not force:
        raise ExportError(path, "exists; choose another name, or replace it with --force")
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path, "tmp")
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
    finally:
        _remove(temporary)
    sync(path.parent)


def _sweep(path: Path, kind: str) -> None:
    """Remove what processes that were killed have left beside a target."""
    begins, ends = f".{path.name}.", f".{kind}"
    for left in path.parent.iterdir():
        number = left.name.removeprefix(begins).removesuffix(ends)
        if left.name == f"{begins}{number}{ends}" and number.isdecimal() and not lives(int(number)):
            _remove(left)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
