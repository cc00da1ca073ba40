"""Open a store by its name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from hpastore.classes import Classes
from hpastore.errors import SchemaMissingError
from hpastore.store import version
from hpastore.store.classes import set_classes
from hpastore.store.engine import Store, connect

DEFAULT_URL: Final = "hpastore.db"


def open_store(
    url: str | Path | None = None, *, create: bool = False, classes: Classes | None = None
) -> Store:
    """Open a store.

    Parameters
    ----------
    url : str or Path, optional
        A SQLite file's path, ``sqlite:///PATH`` or ``postgresql://USER@HOST/NAME``; by default
        ``$HPASTORE_DB``, else ``hpastore.db`` in the working folder.
    create : bool
        Whether the file and the tables are created if they do not exist.
    classes : Classes, optional
        Those of a new store, or of one without images; by default the 19 of 2021.  A store with
        images must have the same ones.

    Returns
    -------
    Store
        A context manager; `Store.close` closes it.

    Raises
    ------
    SchemaMissingError
        If there is no such store, and `create` is false.
    SchemaOldError, SchemaNewError
        If its schema is of another version of hpastore; nothing was changed.
    UnavailableError
        If the database cannot be reached.
    UsageError
        If the URL is of another kind, or the store has images and other classes.
    """
    store = connect(url or default_url(), create=create)
    try:
        try:
            version.require_current(store)
        except SchemaMissingError:
            if not create:
                raise
            from hpastore.store import migrate  # loads Alembic, which takes a third of a second

            migrate.upgrade(store, classes=classes)
        if classes is not None:
            set_classes(store, classes)
    except BaseException:
        store.close()
        raise
    return store


def default_url() -> str:
    """Give the name of the store that is used if none is given."""
    return os.environ.get("HPASTORE_DB") or DEFAULT_URL
