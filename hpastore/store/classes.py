"""The classes of a store: read them, and give other ones to a store that is still empty."""

from __future__ import annotations

from sqlalchemy import Connection, delete, exists, insert, or_, select, true

from hpastore.classes import Classes
from hpastore.errors import UsageError
from hpastore.schema.tables import CellOverride, CleanSet, Image, Label
from hpastore.store.bulk import store_checksums
from hpastore.store.engine import Store


def read_classes(connection: Connection) -> Classes:
    """Read the classes of a store."""
    found = connection.execute(select(Label.id, Label.name, Label.negative)).all()
    negative = next((label for label, _, is_negative in found if is_negative), None)
    return Classes({label: name for label, name, _ in found}, negative)


def store_classes(store: Store) -> Classes:
    """Read the classes of a store.

    Parameters
    ----------
    store : Store

    Returns
    -------
    Classes
        Ids and names, and the id of the negative class, if there is one.
    """
    return store.read(read_classes)


def choose_classes(connection: Connection, given: Classes | None) -> Classes:
    """Give the classes that were requested, or else those of the store.

    Raises
    ------
    UsageError
        If others than the store's are given, and the store has images.
    """
    stored = read_classes(connection)
    if given is None or given == stored:
        return stored
    if connection.execute(_IS_USED).scalar_one():
        raise UsageError(
            "the store has images, and other classes than those given; leave out the classes, or "
            "make another store for them"
        )
    return given.validated()


_IS_USED = select(or_(*(exists(select(table.id)) for table in (Image, CleanSet, CellOverride))))


def set_classes(store: Store, classes: Classes) -> None:
    """Give a store without images its classes; nothing is done if it has the same ones.

    Raises
    ------
    UsageError
        If the classes are not allowed, or the store has images and other classes.
    """

    def replace(connection: Connection) -> None:
        if choose_classes(connection, classes) != read_classes(connection):
            write_classes(connection, classes)

    if store_classes(store) != classes:
        store.write(replace)


def write_classes(connection: Connection, classes: Classes) -> None:
    """Replace the classes of a store that has nothing else yet."""
    rows = [
        {"id": label, "name": name, "negative": label == classes.negative}
        for label, name in classes.names.items()
    ]
    connection.execute(delete(Label))
    connection.execute(insert(Label), rows)
    store_checksums(connection, Label, true())
