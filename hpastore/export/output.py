"""Write complete files and folders, or nothing."""

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
    """Give a temporary path beside the target; at the end, its file replaces the target.

    Parameters
    ----------
    path : Path
        The target; its folder is made if needed.
    force : bool
        Whether an existing file is replaced.
    store : Store, optional
        Files of this store, and its inputs, are never replaced.

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
    """Give temporary paths for an export of one file, and for its manifest.

    The manifest of an earlier export is replaced without `force`; any other file is not.

    Raises
    ------
    ExportError
        As `whole_file`, for either file.
    """
    with _named_errors(path):
        manifest = manifest_path(path)
    with (
        whole_file(
            manifest, force=force or is_manifest(manifest), store=store
        ) as temporary_manifest,
        whole_file(path, force=force, store=store) as temporary,
    ):
        yield temporary, temporary_manifest


def check_file(path: Path, *, force: bool, store: Store | None) -> None:
    """Check that `whole_file` could write a file, before its content is computed.

    Raises
    ------
    ExportError
        As `whole_file`.
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
    """Tell whether a file is a manifest, or an export that agrees with its manifest."""
    try:
        return is_manifest(path) or verify(path) == 1
    except ExportError:
        return False


@contextmanager
def whole_folder(
    path: Path,
    *,
    force: bool,
    listed: Callable[[Path], Collection[str] | None],
    store: Store | None,
) -> Iterator[Path]:
    """Give a new folder beside the target; at the end, it replaces the target.

    Parameters
    ----------
    path : Path
        The target; a link stands for the folder that it leads to.
    force : bool
        Whether an existing folder is replaced, with all its files.
    listed : callable
        Lists the files that hpastore wrote into a folder, relative to it; None for any other
        folder.  A folder that holds another file is never replaced.
    store : Store, optional
        A folder that holds this store or its inputs is never replaced.

    Raises
    ------
    ExportError
        If the target exists, holds other files or belongs to the store, or cannot be written.
    """
    with _named_errors(path):
        path = Path(os.path.realpath(path))  # for "." and for links
        _check_folder(path, listed, store)
        with _beside(path, force=force) as temporary:
            temporary.mkdir()
            yield temporary
            failpoint("folder.written")
            for file in temporary.rglob("*"):
                sync(file)
            _check_folder(path, listed, store)  # another program may have added a file meanwhile
            _exchange(path, temporary)
            _sweep(path, "old")


def _exchange(path: Path, new: Path) -> None:
    """Replace a folder by a new one; if that fails, the old one stays."""
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


def _check_folder(
    path: Path, listed: Callable[[Path], Collection[str] | None], store: Store | None
) -> None:
    if Path.cwd().is_relative_to(path):
        raise ExportError(path, "contains the current working folder; choose another name")
    if not path.exists():
        return
    if not path.is_dir():
        raise ExportError(path, "is not a folder; choose another name")
    if store:
        protect.refuse_folder(store, path)
    found = (file for file in path.rglob("*") if file.is_symlink() or not file.is_dir())
    unlisted = sorted(
        {file.relative_to(path).as_posix() for file in found} - set(listed(path) or ())
    )
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
    """Remove temporary files of killed processes beside a target."""
    prefix = f".{path.name}."
    suffix = f".{kind}"
    for file in path.parent.iterdir():
        number = file.name.removeprefix(prefix).removesuffix(suffix)
        is_temporary = file.name == f"{prefix}{number}{suffix}" and number.isdecimal()
        if is_temporary and not lives(int(number)):
            _remove(file)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
