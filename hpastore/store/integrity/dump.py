"""The store's content in natural keys: equal for two stores that hold the same."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, select

from hpastore.schema.percentile import AnySelect
from hpastore.schema.row_info import Natural, declared_tables, row_info
from hpastore.schema.tables import Base
from hpastore.schema.views import VIEWS
from hpastore.store import arrays
from hpastore.store.engine import Store
from hpastore.store.statements import stream


def dump(store: Store) -> Generator[str]:
    r"""Give everything that two stores of the same inputs have in common, as lines of text.

    Surrogate keys, runs, moments, modification times, roots, checksums and messages are left out;
    so are measurement settings that no image uses.  Whole numbers are decimal, real ones C99
    hexadecimal, text is JSON, a histogram is the SHA-256 of its counts, NULL is ``\N``; tabs
    separate them.

    Parameters
    ----------
    store : Store

    Yields
    ------
    str
        A heading per table and view, its rows by their natural keys, and last ``sha256`` and the
        sum of all lines before.
    """
    digest = hashlib.sha256()
    with store.reading() as connection:
        for line in _lines(connection):
            digest.update(f"{line}\n".encode())
            yield line
    yield f"sha256\t{digest.hexdigest()}"


def _lines(connection: Connection) -> Generator[str]:
    for name, statement, keys in (*_tables(), *_views()):
        yield f"{name}: {', '.join(column.name for column in statement.selected_columns)}"
        ordered = statement.order_by(*keys)
        for row in stream(connection, ordered):
            yield "\t".join((name, *(_text(value, row) for value in row)))


def _text(value: Any, row: Any) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, float):
        return value.hex()
    if isinstance(value, bytes | memoryview):
        # Packed, it depends on zlib's version.
        counts = arrays.inflate_histogram(bytes(value), f"image {row.image}")
        return hashlib.sha256(counts).hexdigest()
    return str(int(value))


def _tables() -> Iterable[tuple[str, AnySelect, Sequence[ColumnElement[Any]]]]:
    """Name, statement and natural key of each table that declares one."""
    for table in declared_tables(Base.metadata):
        info = row_info(table)
        if info.natural_key and info.dumped:
            natural = Natural.dumped(table)
            statement = natural.select()
            keys = [statement.selected_columns[name] for name in natural.key_names()]
            yield table.name, statement, keys


_SURROGATES: Final = frozenset({"image_id", "cell_id", "clean_set_id", "rule_id"})

_VIEW_KEYS: Final = {
    "cell_stats": ("image_name", "mask_id"),
    "cell_size": ("image_name", "mask_id", "label_id"),
    "label_threshold": ("clean_set", "version", "rule", "label_id", "group_value"),
    "clean_cell": ("clean_set", "version", "image_name", "mask_id", "label_id"),
    "label_summary": ("label_id",),
    "image_summary": ("image_name",),
}


def _views() -> Iterable[tuple[str, AnySelect, Sequence[ColumnElement[Any]]]]:
    """Name, statement and natural key of each view; databases differ on where NULL sorts."""
    for view in VIEWS:
        if view.table.name not in _VIEW_KEYS:  # one that declares its rows as a table does
            continue
        columns = [column for column in view.table.c if column.name not in _SURROGATES]
        keys = [view.table.c[name].nulls_first() for name in _VIEW_KEYS[view.table.name]]
        yield view.table.name, select(*columns), keys
