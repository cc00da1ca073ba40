"""Write whole files and folders, or nothing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hpastore.errors import ExportError, NoRoomError
from hpastore.export.manifest import is_manifest, manifest_path, verify
from hpastore.runtime.atomic_files import lives, sync
from hpastore.runtime.failpoints import failpoint
from hpastore.store import protect
from hpastore.store.engine import Store


@contextmanager
def whole_file(path: Path, *, force: bool, store: Store | None) -> Iterator[Path]:
    """Give a temporary path beside the target; the file there takes the target's place at the end.

    Parameters
    ----------
    path : Path
        The target; its folder is made.
    force : bool
        Whether an existing file is replaced.
    store : Store, optional
        Its own files and its inputs are never replaced.

    Raises
    ------
    ExportError
        If the target exists, belongs to the store, or cannot be written.
    """
    with _named_errors(path):
        check_file(path, force=force, store=store)
        with _beside(path, force=force) as temporary:
            yield temporary
            failpoint("output.written")
            sync(temporary)
            temporary.replace(path)
            failpoint("output.renamed")


@contextmanager
def whole_export(path: Path, *, force: bool, store: Store) -> Iterator[tuple[Path, Path]]:
    """Give temporary paths of an export that is one file, and of its manifest.

    A manifest of ours that an export left is replaced without `force`; any other file is not.

    Raises
    ------
    ExportError
        As of `whole_file`, of either file.
    """
    with _named_errors(path):
        manifest = manifest_path(path)
    with (
        whole_file(manifest, force=force or is_manifest(manifest), store=store) as beside,
        whole_file(path, force=force, store=store) as temporary,
    ):
        yield temporary, beside


def check_file(path: Path, *, force: bool, store: Store | None) -> None:
    """Refuse a file that `whole_file` would not write, before time is spent on what goes in.

    Raises
    ------
    ExportError
        As of `whole_file`.
    """
    with _named_errors(path):
        if path.is_dir():
            raise ExportError(path, "is a folder; choose another name")
        protect.refuse_special_file(path)
        if store:
            protect.refuse_store_files(store, path)
        if path.exists() and not force:
            raise ExportError(path, "exists; choose another name, or replace it with --force")
        if store:
            protect.refuse_inputs(store, path, exported=partial(_is_export, path))


def _is_export(path: Path) -> bool:
    """Whether a file is as an export left it."""
    try:
        return is_manifest(path) or verify(path) == 1
    except ExportError:
        return False


@contextmanager
def whole_folder(
    path: Path, *, force: bool, listed: Callable[[Path], Collection[str] | None], store: Store | None
) -> Iterator[Path]:
    """Give a new folder beside the target, which takes the target's place at the end.

    Parameters
    ----------
    path : Path
        The target; of a link, the folder it leads to.
    force : bool
        Whether an existing folder is replaced, with all that it holds.
    listed : callable
        Names the files of a folder that we wrote, relative to it; None for a folder of somebody else's.
        No folder that holds another file is replaced.
    store : Store, optional
        No folder that holds it or its inputs is replaced.

    Raises
    ------
    ExportError
        If the target exists, holds other files or belongs to the store, or cannot be written.
    """
    with _named_errors(path):
        path = Path(os.path.realpath(path))  # `.` has no name, and beside a link is not beside its folder
        _check_folder(path, listed, store)
        with _beside(path, force=force) as temporary:
            temporary.mkdir()
            yield temporary
            failpoint("folder.written")
            for file in temporary.rglob("*"):
                sync(file)
            _check_folder(path, listed, store)  # somebody may have put a file there meanwhile
            _exchange(path, temporary)
            _sweep(path, "old")


def _exchange(path: Path, new: Path) -> None:
    """Put a new folder in the place of another; where that fails, the old one stays."""
    old = new.with_suffix(".old")
    try:
        if path.exists():
            path.rename(old)
            failpoint("folder.aside")
        new.rename(path)
        failpoint("folder.renamed")
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


def _check_folder(path: Path, listed: Callable[[Path], Collection[str] | None], store: Store | None) -> None:
    if Path.cwd().is_relative_to(path):
        raise ExportError(path, "is or holds the working folder; name another")
    if not path.exists():
        return
    if not path.is_dir():
        raise ExportError(path, "is not a folder; choose another name")
    if store:
        protect.refuse_folder(store, path)
    found = (file for file in path.rglob("*") if file.is_symlink() or not file.is_dir())
    unlisted = sorted({file.relative_to(path).as_posix() for file in found} - set(listed(path) or ()))
    if unlisted:
        reason = f"holds other files, such as {unlisted[0]}; choose another name, or move them away"
        raise ExportError(path, reason)


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
