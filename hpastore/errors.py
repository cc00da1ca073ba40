"""All errors that hpastore raises on purpose, as one tree.

::

    HpastoreError
    ├── UsageError               an argument is invalid
    ├── FileError                something is wrong with one file or folder
    │   ├── InputError           a root, folder or table cannot be used: nothing was ingested
    │   ├── RejectedError        one file of one image cannot be used: other images are ingested
    │   │   └── MissingFileError    a stored image's file has been moved or deleted
    │   └── ExportError          an export cannot be written, or differs from its manifest
    │       └── NoRoomError      its disk is full
    ├── StoreError               the database cannot be used as a store
    │   ├── SchemaMissingError   it has no tables of hpastore
    │   ├── SchemaOldError       made by an older hpastore
    │   ├── SchemaNewError       made by a newer hpastore
    │   └── UnavailableError     cannot be reached, or its disk is full
    │       └── DisconnectedError   the connection was lost, or the database asks to retry
    ├── InstallationError        a library is missing, or has the wrong version
    ├── DamagedError             a stored value is damaged
    ├── WorkerError              a worker process died
    ├── MeasureError             a custom measure is invalid, or fails on a cell
    ├── NotFoundError            the store does not contain this name
    └── QueryError               the user's SQL was refused or failed

The root itself is never raised.  Errors carry data, such as `path`, and compose the message from
them: what happened, to which file, and what to do.  Each class has a word for programs, its
`category`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class HpastoreError(Exception):
    """Root of the tree; catch it to catch all of hpastore's errors."""

    category: ClassVar[str] = "error"
    """A stable word for programs; a class without one inherits that of its parent."""


class UsageError(HpastoreError):
    """An argument has an invalid value."""

    category: ClassVar[str] = "usage"


class FileError(HpastoreError):
    """Something is wrong with one file or folder; never raised itself.

    Parameters
    ----------
    path : Path
        The file or folder.
    reason : str
        What is wrong with it, and what to do.
    """

    category: ClassVar[str] = "file"

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class InputError(FileError):
    """An input as a whole cannot be used: nothing was ingested."""

    category: ClassVar[str] = "input"


class RejectedError(FileError):
    """One file of one image cannot be used; the image becomes a ``failure`` row.

    Parameters
    ----------
    code : str
        One of `hpastore.vocabulary.FAILURE_CODES`.
    path : Path
        The file.
    reason : str
        What is wrong with it, and what would be accepted.
    """

    category: ClassVar[str] = "rejected"

    def __init__(self, code: str, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.args = (code, path, reason)  # pickled from worker processes by these
        self.code = code


class MissingFileError(RejectedError):
    """A file of a stored image is missing: it was moved or deleted after it was ingested.

    Parameters
    ----------
    image : str
        The image's name.
    path : Path
        Where its file was.
    """

    def __init__(self, image: str, path: Path | str) -> None:
        hint = "if its folder has moved, run 'hpastore ingest NEW_PLACE'"
        super().__init__("missing_file", path, f"is not where it was when it was ingested; {hint}")
        self.args = (image, path)  # pickled from worker processes by these
        self.image = image

    def __str__(self) -> str:
        return f"{self.image}: its file {self.path} {self.reason}"


class StoreError(HpastoreError):
    """The database cannot be used as a store.

    Parameters
    ----------
    url : str
        The database, without its password.
    reason : str
        What is wrong with it, and what to do.
    """

    category: ClassVar[str] = "store"

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


class SchemaMissingError(StoreError):
    """The database holds no hpastore tables."""

    category: ClassVar[str] = "schema_missing"


class SchemaOldError(StoreError):
    """The database was made by an older hpastore."""

    category: ClassVar[str] = "schema_old"


class SchemaNewError(StoreError):
    """The database was made by a newer hpastore."""

    category: ClassVar[str] = "schema_new"


class UnavailableError(StoreError):
    """The database cannot be reached, or its disk is full."""

    category: ClassVar[str] = "unavailable"


class DisconnectedError(UnavailableError):
    """The connection was lost, or the database gave up a transaction that can be retried."""

    def __str__(self) -> str:
        return f"{self.url}: no connection ({self.reason}); run the same command again"


class InstallationError(HpastoreError):
    """A library that hpastore needs is missing, or has the wrong version."""

    category: ClassVar[str] = "installation"


class DamagedError(HpastoreError):
    """A stored value is damaged, or was not written by hpastore.

    Parameters
    ----------
    where : str
        The row: ``cell a:1``, ``image a``.
    reason : str
        What is wrong with its value.
    """

    category: ClassVar[str] = "damaged"

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}; 'hpastore doctor --deep' lists what is damaged"


class WorkerError(HpastoreError):
    """A worker process died."""

    category: ClassVar[str] = "worker"


class MeasureError(HpastoreError):
    """A custom measure is invalid, or fails on a cell.

    Parameters
    ----------
    measure : str
        Its name, or the entry point that should have defined it.
    reason : str
        What is wrong with it, and on which cell.
    """

    category: ClassVar[str] = "measure"

    def __init__(self, measure: str, reason: str) -> None:
        super().__init__(measure, reason)
        self.measure = measure
        self.reason = reason

    def __str__(self) -> str:
        return f"measure {self.measure}: {self.reason}"


class NotFoundError(HpastoreError):
    """The store does not contain this name."""

    category: ClassVar[str] = "not_found"


class QueryError(HpastoreError):
    """The user's SQL was refused, or the database refused it."""

    category: ClassVar[str] = "query"


class ExportError(FileError):
    """An export cannot be written, or differs from its manifest."""

    category: ClassVar[str] = "export"


class NoRoomError(ExportError):
    """The disk of an export is full."""

    category: ClassVar[str] = "no_room"
