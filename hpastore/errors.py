"""Every error that hpastore raises on purpose, as one tree.

::

    HpastoreError
    ├── UsageError               an argument that makes no sense
    ├── FileError                something is wrong with one file or folder
    │   ├── InputError           a root, folder or table that cannot be used: nothing was ingested
    │   ├── RejectedError        one file of one image that cannot be taken: the others go on
    │   │   └── MissingFileError    a stored image's file that is not where it was
    │   └── ExportError          an export that cannot be written, or does not verify
    │       └── NoRoomError      its disk is full
    ├── StoreError               the database is not as it must be
    │   ├── SchemaMissingError   no hpastore tables in it
    │   ├── SchemaOldError       made by an older hpastore
    │   ├── SchemaNewError       made by a newer hpastore
    │   └── UnavailableError     cannot be reached, or its disk is full
    │       └── DisconnectedError   the connection was lost, or the database asks to try again
    ├── InstallationError        a library is missing, or is another than hpastore needs
    ├── DamagedError             a stored value is not what it must be
    ├── WorkerError              a worker process died
    ├── MeasureError             a measure that a user added cannot be used, or fails on a cell
    ├── NotFoundError            a name that the store does not hold
    └── QueryError               the user's SQL was refused or failed

The root is never raised itself.  Errors carry the data and make the sentence last: what
happened, to which file, and what to do.  Each class has a word for programs, its `category`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class HpastoreError(Exception):
    """Root of the tree; catch it to catch all of hpastore's errors."""

    category: ClassVar[str] = "error"
    """A word for programs, which stays as it is; of a class without its own, that of its parent."""


class UsageError(HpastoreError):
    """An argument has a value that makes no sense."""

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
    """One file of one image cannot be taken; the image becomes a ``failure`` row.

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
        self.args = (code, path, reason)  # what an error that left a worker process is made of again
        self.code = code


class MissingFileError(RejectedError):
    """A file of a stored image is not where it was when it was ingested.

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
        self.args = (image, path)  # as of its parent
        self.image = image

    def __str__(self) -> str:
        return f"{self.image}: its file {self.path} {self.reason}"


class StoreError(HpastoreError):
    """The database is not as it must be.

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
    """The database cannot be reached, or has no room left."""

    category: ClassVar[str] = "unavailable"


class DisconnectedError(UnavailableError):
    """The connection was lost, or the database gave up a transaction that may be tried again."""

    def __str__(self) -> str:
        return f"{self.url}: no connection ({self.reason}); run the same command again"


class InstallationError(HpastoreError):
    """A library that hpastore needs cannot be loaded, or is of the wrong version."""

    category: ClassVar[str] = "installation"


class DamagedError(HpastoreError):
    """A stored value is damaged, or was never written by hpastore.

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
    """A measure that a user added cannot be used, or fails on a cell.

    Parameters
    ----------
    measure : str
        Its name, or where it was to be found.
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
    """A name that the store does not hold."""

    category: ClassVar[str] = "not_found"


class QueryError(HpastoreError):
    """The user's SQL was refused, or the database refused it."""

    category: ClassVar[str] = "query"


class ExportError(FileError):
    """An export cannot be written, or does not agree with its manifest."""

    category: ClassVar[str] = "export"


class NoRoomError(ExportError):
    """The disk of an export is full."""

    category: ClassVar[str] = "no_room"
