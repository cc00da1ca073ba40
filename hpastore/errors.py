"""Every error that hpastore raises on purpose, as one tree.

::

    HpastoreError
    ├── UsageError               an argument that makes no sense
    ├── FileError                something is wrong with one file or folder
    │   ├── InputError           a root, folder or table that cannot be used: nothing was ingested
    │   ├── RejectedError        one file of one image that cannot be taken: the others go on
    │   └── ExportError          an export that cannot be written, or does not verify
    │       └── NoRoomError      its disk is full
    ├── StoreError               the database is not as it must be
    │   ├── SchemaMissingError   no hpastore tables in it
    │   ├── SchemaOldError       made by an older hpastore
    │   ├── SchemaNewError       made by a newer hpastore
    │   └── UnavailableError     cannot be reached, or its disk is full
    │       └── DisconnectedError   the connection was lost, or the database asks to try again
    ├── DamagedError             a stored value is not what it must be
    ├── WorkerError              a worker process died
    ├── MeasureError             a measure that a user added cannot be used, or fails on a cell
    ├── NotFoundError            a name that the store does not hold
    └── QueryError               the user's SQL was refused or failed

The root is never raised itself.  Errors carry the data and make the sentence last: what
happened, to which file, and what to do.
"""

from __future__ import annotations

from pathlib import Path


class HpastoreError(Exception):
    """Root of the tree; catch it to catch all of hpastore's errors."""


class UsageError(HpastoreError):
    """An argument has a value that makes no sense."""


class FileError(HpastoreError):
    """Something is wrong with one file or folder; never raised itself.

    Parameters
    ----------
    path : Path
        The file or folder.
    reason : str
        What is wrong with it, and what to do.
    """

    def __init__(self, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.path = Path(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class InputError(FileError):
    """An input as a whole cannot be used: nothing was ingested."""


class RejectedError(FileError):
    """One file of one image cannot be taken; the image becomes a ``failure`` row.

    Parameters
    ----------
    code : str
        One of `hpastore.model.FAILURE_CODES`.
    path : Path
        The file.
    reason : str
        What is wrong with it, and what would be accepted.
    """

    def __init__(self, code: str, path: Path | str, reason: str) -> None:
        super().__init__(path, reason)
        self.args = (code, path, reason)  # what an error that left a worker process is made of again
        self.code = code


class StoreError(HpastoreError):
    """The database is not as it must be.

    Parameters
    ----------
    url : str
        The database, without its password.
    reason : str
        What is wrong with it, and what to do.
    """

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(url, reason)
        self.url = url
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.url}: {self.reason}"


class SchemaMissingError(StoreError):
    """The database holds no hpastore tables."""


class SchemaOldError(StoreError):
    """The database was made by an older hpastore."""


class SchemaNewError(StoreError):
    """The database was made by a newer hpastore."""


class UnavailableError(StoreError):
    """The database cannot be reached, or has no room left."""


class DisconnectedError(UnavailableError):
    """The connection was lost, or the database gave up a transaction that may be tried again."""

    def __str__(self) -> str:
        return f"{self.url}: no connection ({self.reason}); run the same command again"


class DamagedError(HpastoreError):
    """A stored value is damaged, or was never written by hpastore.

    Parameters
    ----------
    where : str
        The row: ``cell a:1``, ``image a``.
    reason : str
        What is wrong with its value.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(where, reason)
        self.where = where
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}; 'hpastore doctor --deep' lists what is damaged"


class WorkerError(HpastoreError):
    """A worker process died."""


class MeasureError(HpastoreError):
    """A measure that a user added cannot be used, or fails on a cell.

    Parameters
    ----------
    measure : str
        Its name, or where it was to be found.
    reason : str
        What is wrong with it, and on which cell.
    """

    def __init__(self, measure: str, reason: str) -> None:
        super().__init__(measure, reason)
        self.measure = measure
        self.reason = reason

    def __str__(self) -> str:
        return f"measure {self.measure}: {self.reason}"


class NotFoundError(HpastoreError):
    """A name that the store does not hold."""


class QueryError(HpastoreError):
    """The user's SQL was refused, or the database refused it."""


class ExportError(FileError):
    """An export cannot be written, or does not agree with its manifest."""


class NoRoomError(ExportError):
    """The disk of an export is full."""
