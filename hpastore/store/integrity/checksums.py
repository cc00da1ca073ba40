"""Checksums of stored rows, so that a byte which a disk changed is noticed.

Context: a disk, or another program, may change a value without any error.  Decision: each image,
each clean set, each override, each class and each row of measurement settings has a checksum.  It
covers the row and those that belong to it, as each table declares, see `hpastore.schema.row_info`.
Tables that only keep account have none: a wrong number in a run, a failure or the description of a
custom measure changes no result.

A checksum is a sum modulo 2**63 of one number for each row; for the many rows of an image's cells,
of one for each group of columns.  Whoever changes a row adds the difference of its two numbers.  A
checksum is computed from stored rows only right after they were written: later it would vouch for
what may be damaged by then.

Keys of images and cells are not known before their rows are written, and are in no checksum.  A row
that comes to refer to another image or cell is noticed, since its old owner lacks it.  NULLs are
left out, so that a migration may add an empty column and leave all checksums as they are.  Both
databases, and every copy of a store, have the same checksums.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter, defaultdict
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
from sqlalchemy import ColumnElement, Connection, Table, func, literal, select, true, type_coerce
from sqlalchemy.engine import RowMapping
from sqlalchemy.types import NullType

from hpastore.schema.clean_rows import SIDES
from hpastore.schema.percentile import AnySelect
from hpastore.schema.row_info import (
    Natural,
    covered_columns,
    covered_tables,
    has_checksum,
    key_of,
    row_info,
    table_of,
)
from hpastore.schema.tables import (
    Base,
    Cell,
    CellChannel,
    CleanRule,
    CleanSetCell,
    Image,
    channel_column,
)
from hpastore.vocabulary import CHANNELS

Model = type[Base]
"""A table's class."""

Columns = Mapping[str, Sequence[Any]]
"""Rows as columns, by name."""

Group = tuple[Any, ...]
"""Values that some rows have in common, such as a channel."""

Blocks = Mapping[Group, Columns]
"""Rows of one owner as columns, by group."""

Integers = npt.NDArray[np.int64]

REASONS: Final = {
    "no_background": 1,
    "no_value": 2,
    "dark": 3,
    "no_threshold": 4,
    "below_lower": 5,
    "above_upper": 6,
    "override_keep": 7,
    "override_drop": 8,
    "kept_best": 9,
    "no_channel": 10,
}
"""The number of each reason in the checksum of verdicts, for ever; 0 is NULL."""

_REASON_OF_RULE: Final = 30
_OTHER_REASON: Final = 31

_MODULUS: Final = 2**63

_SMALLER_PRIME: Final = 2**31 - 19
_PRIME: Final = 2**31 - 1

_PAGE: Final = 100
"""Images whose cells are read at a time."""

_STREAM: Final = {"yield_per": 20_000}
"""How many verdicts are read at a time."""


class Comparison(NamedTuple):
    """A checksum as it is stored, and as the stored rows give it."""

    table: Table
    key: Any
    name: str
    """The row, for people: ``image a``."""
    stored: int | None
    computed: int


def add(checksum: int | None, *numbers: int) -> int | None:
    """Add numbers to a checksum; one that was never computed stays so."""
    return None if checksum is None else (checksum + sum(numbers)) % _MODULUS


def row_number(model: Model, values: Mapping[str, Any] | RowMapping) -> int:
    """Compute the number of one row; values may hold uncovered columns, and lack NULLs."""
    row = {name: values[name] for name in _covered_names(model) if values.get(name) is not None}
    flat = {name: int(value) if isinstance(value, bool) else value for name, value in row.items()}
    return _number([model.__tablename__, flat])


def rows_number(model: Model, rows: Iterable[Mapping[str, Any] | RowMapping]) -> int:
    """Sum up the numbers of rows."""
    return sum(row_number(model, row) for row in rows)


def stored_rows_number(connection: Connection, model: Model, where: ColumnElement[bool]) -> int:
    """Sum up the numbers of stored rows."""
    return rows_number(
        model, connection.execute(select(*raw_columns(model)).where(where)).mappings()
    )


def blocks_number(model: Model, blocks: Blocks) -> int:
    """Sum up the numbers of one owner's rows: for each group one, or two with settings."""
    following = following_names(model)
    total = 0
    for group, columns in blocks.items():
        fixed = {name: values for name, values in columns.items() if name not in following}
        total += _columns_number([model.__tablename__, *group], fixed)
        if following:
            total += settings_number(model, group, columns)
    return total


def settings_number(model: Model, group: Group, columns: Columns) -> int:
    """Compute the number of those columns of a group that follow the background percentile."""
    following = {name: columns[name] for name in sorted(following_names(model))}
    return _columns_number([model.__tablename__, "settings", *group], following)


@cache
def following_names(model: Model) -> frozenset[str]:
    """Name the columns that follow the background percentile."""
    return frozenset(
        column.name for column in table_of(model).c if column.info.get("follows_settings")
    )


@cache
def raw_columns(model: Model) -> tuple[Any, ...]:
    """Give what a checksum covers of a row, to be selected as the database has it.

    A flag that is neither 0 nor 1, and a moment that is none, are given as they are.
    """
    return tuple(_raw(column).label(column.name) for column in covered_columns(table_of(model)))


def compare_all(connection: Connection) -> Generator[Comparison]:
    """Compute every checksum of a store again."""
    image = table_of(Image)
    for table in Base.metadata.tables.values():
        if has_checksum(table) and table is not image:
            yield from compare(connection, table)
    for first, last in pages(connection):
        yield from compare(connection, image, Image.id.between(first, last))


def compare(
    connection: Connection, table: Table, where: ColumnElement[bool] | None = None
) -> Generator[Comparison]:
    """Compute the checksums of some rows of a table again."""
    where = true() if where is None else where
    numbers = Counter[Any]()
    for covered in covered_tables(table):
        numbers.update(_covered_numbers(connection, covered, table, where))

    key = key_of(table)
    model = _model(table)
    rows = (
        select(key.label("owner"), table.c.checksum, *raw_columns(model)).where(where).order_by(key)
    )
    for row in connection.execute(rows).mappings().all():
        computed = (row_number(model, row) + numbers[row["owner"]]) % _MODULUS
        yield Comparison(
            table, row["owner"], row_info(table).name.format(**row), row["checksum"], computed
        )


def pages(connection: Connection) -> Iterator[tuple[int, int]]:
    """Cut the images into parts, by their first and last key, to hold few cells at once."""
    ids = connection.execute(select(Image.id).order_by(Image.id)).scalars().all()
    return ((ids[i], ids[min(i + _PAGE, len(ids)) - 1]) for i in range(0, len(ids), _PAGE))


def stored_blocks(
    connection: Connection, model: Model, where: ColumnElement[bool]
) -> dict[int, dict[Group, Columns]]:
    """Read rows of images as columns, by the image's key and by group.

    Parameters
    ----------
    connection
    model
        A table whose rows are hashed column by column.
    where
        Which rows; may name ``image`` and all tables that the rows refer to.
    """
    return _stored_blocks(connection, table_of(model), where)


def verdict_sums(connection: Connection, *where: ColumnElement[bool]) -> dict[int, int]:
    """Sum up chosen verdicts of each clean set; a set without one is left out.

    Each verdict gives a number below 2**33, which a change of any one of its values changes.  The
    label, whether it is clean and the reason (a rule's by its place in the set) make one factor,
    the cell the other, neither of them zero modulo a prime; a value that is stored with it adds 31
    bits of a hash, and so does each bound.
    """
    places: dict[int, dict[str, int]] = {}
    names = ("clean_set_id", "cell_id", "label_id", "clean", "reason", "value", *SIDES)
    columns = [_raw(table_of(CleanSetCell).c[name]).label(name) for name in names]
    statement = select(*columns).where(*where)
    sums = Counter[int]()
    with connection.execute(statement, execution_options=_STREAM) as result:
        for part in result.partitions():
            sets, cells, labels, clean, reasons, *reals = zip(*part, strict=True)
            for set_id in {*sets} - places.keys():
                places[set_id] = _rule_places(connection, set_id)
            codes = [_reason_code(places[key], r) for key, r in zip(sets, reasons, strict=True)]
            numbers = _verdict_numbers(
                _integers(cells), _integers(labels), _integers(clean), _integers(codes), reals
            )
            owners, place = np.unique(_integers(sets), return_inverse=True)
            of_owner = _sums_by(place, numbers, len(owners))
            sums.update(dict(zip(owners.tolist(), of_owner, strict=True)))
    return dict(sums)


def _rule_places(connection: Connection, set_id: int) -> dict[str, int]:
    """Read the place of the rule that gives a reason, by the reason."""
    named = (CleanRule.clean_set_id == set_id, CleanRule.reason.is_not(None))
    statement = select(CleanRule.reason, func.min(CleanRule.position)).where(*named)
    found = connection.execute(statement.group_by(CleanRule.reason))
    return {str(reason): place for reason, place in found}


def _reason_code(places: Mapping[str, int], reason: str | None) -> int:
    if reason is None:
        return 0
    if reason in REASONS:
        return REASONS[reason]
    place = places.get(reason)
    return _OTHER_REASON if place is None else _REASON_OF_RULE + 2048 * place


def _verdict_numbers(
    cells: Integers,
    labels: Integers,
    clean: Integers,
    codes: Integers,
    reals: Sequence[Sequence[Any]],
) -> Integers:
    """Compute the number of each verdict; `reals` are its value and the bounds of its image."""
    judgement = labels * 64 + clean * 32 + codes + 1
    numbers: Integers = (cells % _SMALLER_PRIME + 1) * judgement % _PRIME
    for place, column in enumerate(reals):
        real = np.array(column, float)
        stored = ~np.isnan(real)
        bits = (real[stored] + 0.0).view(np.uint64)
        owner = _mixed(cells[stored].astype(np.uint64) + np.uint64(place << 62))
        numbers[stored] += (_mixed(bits ^ owner) >> 33).astype(int)
    return numbers


def _integers(column: Sequence[Any]) -> Integers:
    return np.array(column, np.int64)


def _mixed(bits: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Mix 64 bits, so that each depends on all: SplitMix64 (Steele, Lea and Flood 2014)."""
    bits = bits + np.uint64(0x9E3779B97F4A7C15)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


def _sums_by(place: Integers, numbers: Integers, groups: int) -> list[int]:
    sums = np.zeros(groups, np.int64)
    np.add.at(sums, place, numbers)
    return list(sums.tolist())


def _covered_numbers(
    connection: Connection, table: Table, owner: Table, where: ColumnElement[bool]
) -> dict[Any, int]:
    """Sum up the numbers of the rows that belong to rows of another table, by its key."""
    model = _model(table)
    how = row_info(table).hashed
    if how == "verdicts":
        return verdict_sums(
            connection, CleanSetCell.clean_set_id.in_(select(key_of(owner)).where(where))
        )
    if how == "columns":
        blocks = _stored_blocks(connection, table, where)
        return {key: blocks_number(model, of_owner) for key, of_owner in blocks.items()}

    natural = Natural(table)
    key = natural.join_to(owner)
    statement = natural.select(key.label("owner"), *raw_columns(model))
    statement = statement.join(owner, key_of(owner) == key).where(where)
    numbers = Counter[Any]()
    for row in connection.execute(statement).mappings():
        numbers[row["owner"]] += row_number(model, row)
    return numbers


def _stored_blocks(
    connection: Connection, table: Table, where: ColumnElement[bool]
) -> dict[int, dict[Group, Columns]]:
    statements, keys = _blocks_statements(table)
    found: dict[int, dict[Group, Columns]] = defaultdict(dict)
    for statement in statements:
        rows = connection.execute(statement.where(where))
        names = list(rows.keys())[keys:]
        for (image_id, *group), of_group in groupby(rows, lambda row: tuple(row[:keys])):
            columns = list(zip(*of_group, strict=True))[keys:]
            found[image_id][tuple(group)] = dict(zip(names, columns, strict=True))
    return found


@cache
def _blocks_statements(table: Table) -> tuple[list[AnySelect], int]:
    """Select rows of images in order, and tell how many columns come before those of the blocks."""
    info = row_info(table)
    owner = Base.metadata.tables[str(info.covered_by)]
    natural = Natural(table)
    key = natural.join_to(owner)
    for name in info.natural_key:
        column = table.c[name]
        if column is not key and not column.info.get("checksum", True):
            natural.add_reference(column, without=owner)
    natural.columns |= {column.name: _raw(column) for column in covered_columns(table)}
    if info.extended_by:
        natural.extend(extension := Base.metadata.tables[info.extended_by])
        natural.columns |= {column.name: _raw(column) for column in covered_columns(extension)}

    groups = [natural.columns.pop(name).label(f"group_{name}") for name in info.grouped_by]
    if table is table_of(CellChannel):
        return [_channel_statement(channel, list(natural.columns)) for channel in CHANNELS], 2
    within = [natural.columns["mask_id"]] if "mask_id" in natural.columns else []
    statement = natural.select(key.label("owner"), *groups).join(owner, key_of(owner) == key)
    return [statement.order_by(key, *groups, *within)], 1 + len(groups)


def _channel_statement(channel: str, names: Sequence[str]) -> AnySelect:
    """Select rows of the view ``cell_channel`` from the cells themselves.

    PostgreSQL reads the whole view before it joins images to it: of 511,200 cells, for 100 images
    700 ms, and this way 25 ms.
    """
    columns = [
        (Cell.mask_id if name == "mask_id" else _raw(channel_column(name, channel))).label(name)
        for name in names
    ]
    statement = select(Cell.image_id.label("owner"), literal(channel).label("channel"), *columns)
    statement = statement.join(Image, Image.id == Cell.image_id)
    has_channel = channel_column("intensity_max", channel).is_not(None)
    return statement.where(has_channel).order_by(Cell.image_id, Cell.mask_id)


@cache
def _model(table: Table) -> Model:
    return next(mapper.class_ for mapper in Base.registry.mappers if mapper.local_table is table)


@cache
def _covered_names(model: Model) -> tuple[str, ...]:
    return tuple(column.name for column in covered_columns(table_of(model)))


def _raw(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return type_coerce(column, NullType())


def _columns_number(values: Sequence[Any], columns: Columns) -> int:
    """Compute the number of values and columns; columns without a value do not matter.

    Bytes and real numbers are hashed as they are: 0.15 ms for an image's cells; as text it takes
    0.4 ms.
    """
    head: list[Any] = list(values)
    blobs: list[bytes] = []
    for name in sorted(columns):
        column = columns[name]
        packed = _packed(column)
        if packed is not None:
            blobs.append(packed)
            head += [name, type(column[0]).__name__, len(packed)]
        elif any(value is not None for value in column):
            head += [name, list(map(int, column)) if isinstance(column[0], bool) else column]
    return _number(head, *blobs)


def _packed(column: Sequence[Any]) -> bytes | None:
    """Pack real numbers without a NULL among them, or the bytes of a single row."""
    if not column:
        return None
    if isinstance(column[0], bytes) and len(column) == 1:
        return column[0]
    if not isinstance(column[0], float):
        return None
    try:
        return struct.pack(f"<{len(column)}d", *column)
    except struct.error:
        return None


def _number(values: Sequence[Any], *more: bytes) -> int:
    """Hash values to 63 bits."""
    digest = hashlib.blake2b(_ENCODER.encode(values).encode("ascii"), digest_size=8)
    for part in more:
        digest.update(part)
    return int.from_bytes(digest.digest()) >> 1


def _text(value: Any) -> Any:
    """Write what JSON has no word for."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")  # as in SQLite's columns
    return {"bytes": bytes(value).hex()}


_ENCODER: Final = json.JSONEncoder(default=_text, sort_keys=True)
