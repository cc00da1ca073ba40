"""Decode stored texts; a damaged one is an error that names its row.

Context: a store may come from another lab, and a disk may change a byte.  Decision: names, labels
and paths are checked here before they are used, masks and histograms in `hpastore.store.arrays`,
and dates in `hpastore.schema.types.Instant`.  Consequence: the code that computes with them, or
writes them to a file, need not check them again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Table, Text, case, cast, or_, select, type_coerce

from hpastore.classes import Classes
from hpastore.errors import DamagedError
from hpastore.schema.row_info import row_info
from hpastore.schema.tables import Base
from hpastore.schema.types import Instant, as_moment
from hpastore.text import printable
from hpastore.vocabulary import NAME_PATTERN, NAME_RULE

_FIRST: Final = datetime(1, 1, 2, tzinfo=UTC)
_LAST: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""The range of moments that Python can express in every time zone."""

_LABELS: Final = re.compile(r"\d{1,10}(\|\d{1,10})*", re.ASCII)


def image_name(name: str, where: str = "") -> str:
    """Check the name of an image before it is used in a path or written to a file.

    Parameters
    ----------
    name : str
    where : str
        The row that holds it; by default the image itself.

    Raises
    ------
    DamagedError
        If an image cannot have this name, such as ``../a``.
    """
    if not NAME_PATTERN.fullmatch(name):
        where = where or f"image {printable(name)}"
        raise DamagedError(where, f"its name is not allowed ({NAME_RULE})")
    return name


def label_ids(image: str, labels: str, classes: Classes) -> tuple[int, ...]:
    """Parse the text of ``image.labels``, such as ``0|16``.

    Parameters
    ----------
    image : str
        The image's name.
    labels : str
    classes : Classes
        Those of the store.

    Raises
    ------
    DamagedError
        If the text is not a list of labels.
    """
    ids = tuple(map(int, labels.split("|"))) if _LABELS.fullmatch(labels) else ()
    if (labels and not ids) or any(label not in classes.names for label in ids):
        raise DamagedError(
            f"image {image}",
            f"its labels {printable(labels)!r} are not all of the ids {classes.ids_text}",
        )
    return ids


def label_name(label: int, where: str, classes: Classes) -> str:
    """Give the name of a stored label.

    Parameters
    ----------
    label : int
    where : str
        The row that holds it, such as ``cell a:1``.
    classes : Classes
        Those of the store.

    Raises
    ------
    DamagedError
        If no label has this id.
    """
    if label not in classes.names:
        raise DamagedError(where, f"its label {label} is none of the ids {classes.ids_text}")
    return classes.names[label]


def measure_versions(where: str, text: str) -> dict[str, int]:
    """Parse the text of ``measurement_settings.measures``, such as ``{"entropy":1}``.

    Parameters
    ----------
    where : str
        The row that holds it.
    text : str

    Raises
    ------
    DamagedError
        If the text is not a JSON object of integers.
    """
    try:
        versions = json.loads(text)
    except (ValueError, RecursionError):
        versions = None
    if not isinstance(versions, dict) or any(type(v) is not int for v in versions.values()):
        raise DamagedError(
            where, f"its measures {printable(text)!r} are not versions of measures by name"
        )
    return versions


def file_path(image: str, root: str, uri: str) -> Path:
    """Join the path of an image's file.

    Parameters
    ----------
    image : str
        The image's name.
    root, uri : str

    Raises
    ------
    DamagedError
        If it contains a zero byte, which no path can.
    """
    if "\0" in root or "\0" in uri:
        raise DamagedError(
            f"image {image}", f"its path {printable(f'{root}/{uri}')!r} contains a zero byte"
        )
    return Path(root, uri)


def damaged_moments(connection: Connection) -> Iterator[DamagedError]:
    """Look for stored moments that are none, in all tables."""
    tables = Base.metadata.tables.values()
    return chain.from_iterable(_damaged_moments(connection, table) for table in tables)


def _damaged_moments(connection: Connection, table: Table) -> Iterator[DamagedError]:
    columns = [column for column in table.c if isinstance(column.type, Instant)]
    if not columns:
        return
    name = row_info(table).name
    named = [table.c[column] for column in re.findall(r"\{(\w+)\}", name)]
    unread = [_unread(connection, column).label(column.name) for column in columns]
    for row in connection.execute(select(*named, *unread)).mappings():
        for column in columns:
            if _is_damaged(row[column.name]):
                what = f"its {column.name} {printable(str(row[column.name]))!r} is no date and time"
                yield DamagedError(name.format(**row), what)


def _unread(connection: Connection, column: Any) -> ColumnElement[Any]:
    """Select a date as the database's text.

    PostgreSQL holds valid dates only, but some outside Python's range: only of those it gives text.
    """
    if connection.dialect.name == "sqlite":
        return type_coerce(column, Text())
    return case((or_(column < _FIRST, column > _LAST), cast(column, Text())))


def _is_damaged(value: str | None) -> bool:
    try:
        as_moment(value)
    except DamagedError:
        return True
    return False
