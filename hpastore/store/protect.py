"""Refuse outputs that would replace the store, or the inputs of its images.

Two paths are the same if they lead to the same file, by whatever links or spelling.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, Subquery, func, or_, select, union_all

from hpastore.errors import ExportError
from hpastore.schema.tables import Failure, FailureFile, Image, ImageFile, IngestRun
from hpastore.store.engine import Store

SIDE_FILES: Final = ("-wal", "-shm", "-journal")
"""Endings of the files that SQLite keeps beside a store that is open, or was not closed."""

_TABLE_ENDINGS: Final = (".csv", ".tsv", ".txt", ".gz")
"""Endings of the names of label tables."""


def refuse_store_files(store: Store, path: Path) -> None:
    """Refuse to write over a store.

    Parameters
    ----------
    store : Store
    path : Path
        A file that is to be written; it need not exist.

    Raises
    ------
    ExportError
        If it is the store's own file, or one that SQLite keeps, or would keep, beside it.
    """
    if not store.is_sqlite:
        return
    for file in _store_files(store):
        same_name = file.name.casefold() == path.name.casefold()
        if _same(file, path) or (same_name and _same(file.parent, path.parent)):
            raise ExportError(path, "is the store itself, or a part of it; choose another name")


def refuse_special_file(path: Path) -> None:
    """Refuse to replace a device, a FIFO, a socket, or a link to an open file.

    Parameters
    ----------
    path : Path
        A file that is to be written; it need not exist.

    Raises
    ------
    ExportError
        If it is one of these, such as ``/dev/null``, or ``/dev/stdout`` wherever that leads.
    """
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        raise ExportError(path, "is not a regular file; choose another name")
    if path.is_symlink() and path.readlink().is_relative_to(
        "/proc"
    ):  # /dev/stdout is part of the system
        raise ExportError(path, "is a link to an open file; choose another name")


def refuse_inputs(store: Store, path: Path, *, exported: Callable[[], bool]) -> None:
    """Refuse to replace an input.

    The store does not know files that no run has read yet.  So a table in a root, and any file in a
    folder of inputs, is replaced only if it is an export of hpastore.

    Parameters
    ----------
    store : Store
    path : Path
        A file that is to be replaced.
    exported : callable
        Tells whether the file is an export of hpastore; called only if that matters.

    Raises
    ------
    ExportError
        If it is an input of the store's images, or may be one.
    """
    if not path.exists():
        return
    with store.reading() as connection:
        if image := _image_with_input(connection, path):
            raise ExportError(path, f"is an input of image {image}; choose another name")
        for folder in _input_folders(connection):
            if _same(folder, path.parent) and not exported():
                raise ExportError(
                    path, "is among the inputs of stored images; choose another folder"
                )
        if any(_same(Path(table), path) for table in _label_tables(connection)):
            raise ExportError(path, "is the label table of stored images; choose another name")
        if path.name.lower().endswith(_TABLE_ENDINGS):
            for root in _roots(connection):
                if _same(root, path.parent) and not exported():
                    reason = (
                        f"may be the label table of {root}; choose another name, or delete it first"
                    )
                    raise ExportError(path, reason)


def refuse_folder(store: Store, path: Path) -> None:
    """Refuse to replace a folder.

    Parameters
    ----------
    store : Store
    path : Path
        A folder that is to be replaced with all that it holds.

    Raises
    ------
    ExportError
        If it holds the store or inputs of stored images.
    """
    if store.is_sqlite and any(_within(file, path) for file in _store_files(store)):
        raise ExportError(path, "holds the store itself; choose another name")
    with store.reading() as connection:
        for folder in (*_roots(connection), *_input_folders(connection)):
            if _within(folder, path):
                raise ExportError(
                    path, f"holds the inputs of stored images ({folder}); choose another name"
                )


def _store_files(store: Store) -> list[Path]:
    """List a SQLite store's file and the files beside it, and those of a link's target."""
    given = Path(str(store.engine.url.database))
    files = dict.fromkeys((given, Path(os.path.realpath(given))))
    return [Path(f"{file}{ending}") for file in files for ending in ("", *SIDE_FILES)]


def _image_with_input(connection: Connection, path: Path) -> str | None:
    """Give the name of the image that has a file as an input.

    Only inputs of the same size or name are compared with the file, since there may be a million
    inputs.  This misses an input that has changed, and is reached by a hard link of another name;
    to replace the link does not delete the input.
    """
    files = _input_files()
    named = func.lower(files.c.uri).endswith(path.name.lower(), autoescape=True)
    statement = select(files.c.name, files.c.root, files.c.uri)
    statement = statement.where(or_(files.c.size == path.stat().st_size, named))
    found = connection.execute(statement)
    return next((str(name) for name, root, uri in found if _same(Path(root, uri), path)), None)


def _label_tables(connection: Connection) -> list[str]:
    """List the label tables of all runs."""
    labels = IngestRun.labels
    return list(connection.scalars(select(labels).where(labels.is_not(None)).distinct()))


def _input_files() -> Subquery:
    """Select the files of stored and rejected images: ``name, root, role, uri, size``."""
    stored = select(Image.name, Image.root, ImageFile.role, ImageFile.uri, ImageFile.size)
    stored = stored.join(ImageFile, ImageFile.image_id == Image.id)
    tried = FailureFile
    rejected = select(tried.image_name, IngestRun.root, tried.role, tried.uri, tried.size)
    rejected = rejected.join(Failure, Failure.image_name == tried.image_name).join(IngestRun)
    return union_all(stored, rejected).subquery("files")


def _roots(connection: Connection) -> Iterator[Path]:
    """List the roots of all images and runs."""
    found = {
        root
        for column in (Image.root, IngestRun.root)
        for root in connection.scalars(select(column).distinct())
    }
    return (Path(root) for root in sorted(found))


def _input_folders(connection: Connection) -> Iterator[Path]:
    """List the folders of inputs: one for each root and role, or two if ingested in parts."""
    files = _input_files()
    statement = select(files.c.root, func.min(files.c.uri), func.max(files.c.uri))
    statement = statement.group_by(files.c.root, files.c.role)
    found = {
        Path(root, uri).parent for root, *uris in connection.execute(statement) for uri in uris
    }
    return iter(sorted(found))


def _within(inner: Path, outer: Path) -> bool:
    """Whether a path is a folder, or lies in it."""
    if "\0" in str(inner):  # of a damaged store; no file has such a path
        return False
    real = Path(os.path.realpath(inner))
    return any(_same(folder, outer) for folder in (real, *real.parents))


def _same(one: Path, other: Path) -> bool:
    """Whether two paths lead to the same existing file."""
    try:
        return one.samefile(other)
    except (OSError, ValueError):  # ValueError: a zero byte in a damaged store
        return False
