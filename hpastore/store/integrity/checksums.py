"""Checksums of stored rows, so that a byte which a disk changed is noticed.

A seal is a sum modulo 2**63, of one number for each of its rows; for the many rows of an image's cells,
of one for each group of columns.  Who changes a row changes its seal by the difference of the row's two
numbers.  A seal is taken anew of rows that were just written and of no others: it would vouch for what
may be damaged by then.

Keys of images and cells are not known before their rows are written, and are in no seal.  Rows are
found through them, so that one under another image or cell is missed where it was.  NULLs are left out:
a migration that adds a column with nothing in it leaves all seals as they are.  Both databases, and
every copy of a store, have the same seals.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Connection, Integer, and_, case, cast, func, select, true, type_coerce
from sqlalchemy.engine import RowMapping
from sqlalchemy.types import NullType

from hpastore.schema.percentile import AnySelect
from hpastore.schema.tables import (
    Base,
    Cell,
    CellChannel,
    CellMeasure,
    CellOverride,
    CleanRule,
    CleanSet,
    CleanSetCell,
    CleanSetFormer,
    CleanSetThreshold,
    Failure,
    FailureFile,
    Image,
    ImageChannel,
    ImageFile,
    ImageLabel,
    ImageMeasure,
    IngestRun,
    Measure,
    StoredSettings,
)
from hpastore.schema.types import BIGINT

Table = type[Base]
Columns = Mapping[str, Sequence[Any]]

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
}
"""The number of each reason in the seals of verdicts, for ever; 0 is NULL."""

_A_RULES: Final = 30
_ANY_OTHER: Final = 31

_MODULUS: Final = 2**63

_SMALLER: Final = 2**31 - 19
_PRIME: Final = 2**31 - 1
"""Two primes."""

SEALS: Final = frozenset({"checksum", "contents", "verdicts"})
"""Columns that hold a seal."""

_IN_NO_SEAL: Final = SEALS | {"image_id", "cell_id"}

_FAMILIES: Final[Mapping[Table, Mapping[Table, Any]]] = {
    StoredSettings: {},
    IngestRun: {},
    Failure: {FailureFile: FailureFile.image_name},
    CleanSet: {table: table.clean_set_id for table in (CleanRule, CleanSetThreshold, CleanSetFormer)},
    CellOverride: {},
    Measure: {},
    Image: {table: table.image_id for table in (ImageFile, ImageLabel, ImageMeasure)},
}
"""Tables with the column ``checksum``, and what it covers besides, by the columns that refer to the row."""

ROW_NAMES: Final[Mapping[Table, str]] = {
    StoredSettings: "measurement settings {id}",
    IngestRun: "run {id}",
    Failure: "failure of {image_name}",
    CleanSet: "clean set {name}@{version}",
    CellOverride: "override of {image_name}:{mask_id}",
    Measure: "measure {name}",
    Image: "image {name}",
}
"""How rows are named for people."""

_PAGE: Final = 100
"""Images whose cells are read at a time."""


class Channel(NamedTuple):
    """What a seal covers of one channel of an image."""

    background_level: float | None
    histogram: bytes | None
    measures: Columns
    """``mask_id`` and the columns of ``cell_channel``, in ascending mask id."""


class Seal(NamedTuple):
    """A seal as it is stored, and as it would be now."""

    table: Table
    key: Any
    column: str
    name: str
    """The row, for people: ``image a``."""
    stored: int | None
    now: int


def add(seal: int | None, *numbers: int) -> int | None:
    """Add numbers to a seal; one that was never taken stays so."""
    return None if seal is None else (seal + sum(numbers)) % _MODULUS


def of_row(table: Table, values: Mapping[str, Any] | RowMapping) -> int:
    """Number of one row; its values may hold what is in no seal, and NULLs may be missing."""
    row = {name: values[name] for name in _names(table) if values.get(name) is not None}
    flat = {name: int(value) if isinstance(value, bool) else value for name, value in row.items()}
    return _number([table.__tablename__, flat])


def of_contents(cells: Columns, channels: Mapping[str, Channel]) -> int:
    """Seal of an image's cells.

    Parameters
    ----------
    cells
        The columns of ``cell``, in ascending mask id.
    channels
        By their names.
    """
    numbers = [_of_columns("cell", [], cells)]
    for name, channel in channels.items():
        fixed = {column: values for column, values in channel.measures.items() if column != "fraction"}
        numbers.append(_of_columns("channel", [name, channel.histogram], fixed))
        numbers.append(of_fractions(name, channel.background_level, channel.measures))
    return sum(numbers) % _MODULUS


def of_fractions(channel: str, background_level: float | None, measures: Columns) -> int:
    """Number of what measurement settings change in one channel of an image: ``fraction`` by ``mask_id``."""
    columns = {name: measures.get(name, ()) for name in ("mask_id", "fraction")}
    return _of_columns("fraction", [channel, background_level], columns)


def of_own(measures: Mapping[tuple[str, str], Columns]) -> int:
    """Number of an image's values of measures that users added: ``mask_id`` and ``value`` of each channel."""
    return sum(_of_columns("measure", list(key), columns) for key, columns in measures.items()) % _MODULUS


def own_measures(
    connection: Connection, where: ColumnElement[bool]
) -> dict[int, dict[tuple[str, str], Columns]]:
    """Read values of measures that users added, by the image's key, and by measure and channel."""
    keys = (Cell.image_id, Measure.name, CellMeasure.channel)
    statement = select(*keys, Cell.mask_id, CellMeasure.value).join(
        CellMeasure, CellMeasure.cell_id == Cell.id
    )
    statement = statement.join(Measure, Measure.id == CellMeasure.measure_id).where(where)
    found: dict[int, dict[tuple[str, str], Columns]] = defaultdict(dict)
    grouped = _grouped(connection, statement.order_by(*keys, Cell.mask_id), 3)
    for (image_id, measure, channel), columns in grouped.items():
        found[image_id][measure, channel] = columns
    return found


def of_rows(connection: Connection, table: Table, where: ColumnElement[bool]) -> int:
    """Sum of the numbers of stored rows."""
    found = connection.execute(select(*columns(table)).where(where))
    return sum(of_row(table, row) for row in found.mappings())


@cache
def columns(table: Table) -> tuple[Any, ...]:
    """What a seal covers of a row, to be selected as the database has it.

    A flag that is neither 0 nor 1, and a moment that is none, are given as they are.
    """
    return tuple(type_coerce(table.__table__.c[n], NullType()).label(n) for n in _names(table))


def fractions(connection: Connection, images: Sequence[int]) -> dict[int, dict[str, Channel]]:
    """Read what measurement settings change in the channels of images, with the keys of the cells."""
    levels = select(ImageChannel.image_id, ImageChannel.channel, ImageChannel.background_level)
    levels = levels.where(ImageChannel.image_id.in_(images))
    of_cells = select(
        Cell.image_id, CellChannel.channel, CellChannel.cell_id, Cell.mask_id, CellChannel.fraction
    )
    of_cells = of_cells.join(CellChannel, CellChannel.cell_id == Cell.id).where(Cell.image_id.in_(images))
    rows = defaultdict[tuple[int, str], list[Any]](list)
    for row in connection.execute(of_cells.order_by(Cell.image_id, Cell.mask_id)).all():
        rows[row[0], row[1]].append(row)
    found: dict[int, dict[str, Channel]] = {image_id: {} for image_id in images}
    for image_id, channel, level in connection.execute(levels):
        columns = list(zip(*rows[image_id, channel], strict=True))[2:] or [(), (), ()]
        measures = dict(zip(("cell_id", "mask_id", "fraction"), columns, strict=True))
        found[image_id][channel] = Channel(level, None, measures)
    return found


def key_of(table: Table) -> Any:
    """The primary key of a table with seals."""
    return next(iter(table.__table__.primary_key))


def seals(connection: Connection) -> Generator[Seal]:
    """Take every seal of a store again."""
    for table in (StoredSettings, IngestRun, Failure, CleanSet, CellOverride, Measure):
        yield from checksums(connection, table)
    yield from _verdicts(connection)
    for first, last in pages(connection):
        yield from checksums(connection, Image, Image.id.between(first, last))
        yield from _contents(connection, first, last)


def pages(connection: Connection) -> Iterator[tuple[int, int]]:
    """Cut the images into parts, by their first and last key, so that not all cells are held at once."""
    ids = connection.execute(select(Image.id).order_by(Image.id)).scalars().all()
    return ((ids[i], ids[min(i + _PAGE, len(ids)) - 1]) for i in range(0, len(ids), _PAGE))


def cells(connection: Connection, first: int, last: int) -> dict[int, Columns]:
    """Read the cells of the images between two keys: the columns of ``cell`` in ascending mask id."""
    statement = select(Cell.image_id, *columns(Cell)).where(Cell.image_id.between(first, last))
    found = _grouped(connection, statement.order_by(Cell.image_id, Cell.mask_id), 1)
    return {key: of_image for (key,), of_image in found.items()}


def any_missing(connection: Connection) -> bool:
    """Whether there is a seal that was never taken."""
    columns = (c for table in _FAMILIES for c in table.__table__.c if c.name in SEALS)
    return any(connection.execute(select(c.is_(None)).where(c.is_(None)).limit(1)).first() for c in columns)


def checksums(
    connection: Connection, table: Table, where: ColumnElement[bool] | None = None
) -> Generator[Seal]:
    """Take the column ``checksum`` of a table's rows again."""
    key, where = key_of(table), true() if where is None else where
    numbers = Counter[Any]()
    for child, owner in _FAMILIES[table].items():
        statement = select(owner.label("owner"), *columns(child)).join(table, key == owner).where(where)
        for row in connection.execute(statement).mappings():
            numbers[row["owner"]] += of_row(child, row)
    rows = select(key.label("owner"), table.__table__.c.checksum, *columns(table)).where(where)
    for row in connection.execute(rows.order_by(key)).mappings().all():
        now = (of_row(table, row) + numbers[row["owner"]]) % _MODULUS
        yield Seal(table, row["owner"], "checksum", ROW_NAMES[table].format(**row), row["checksum"], now)


def verdicts(connection: Connection, *where: ColumnElement[bool]) -> dict[int, int]:
    """Sum up chosen verdicts of each clean set, in the database; a set without one is left out.

    Each verdict gives a number from 1 below 2**31, which a change of any one of its values changes: the
    label, whether it is clean and the reason (a rule's by its place in the set) make one factor, the cell
    the other, neither of them zero modulo a prime.  Both databases are exact, up to four billion verdicts.
    """
    return {key: int(total) for key, total in connection.execute(_sums().where(*where))}


@cache
def _sums() -> AnySelect:
    verdict = CleanSetCell
    named = and_(CleanRule.clean_set_id == verdict.clean_set_id, CleanRule.reason == verdict.reason)
    place = select(func.min(CleanRule.position)).where(named).correlate(verdict).scalar_subquery()
    other = func.coalesce(_A_RULES + 2048 * place, _ANY_OTHER)
    reason = case((verdict.reason.is_(None), 0), else_=case(REASONS, value=verdict.reason, else_=other))
    said = cast(verdict.label_id, BIGINT) * 64 + cast(verdict.clean, Integer) * 32 + reason + 1
    number = (cast(verdict.cell_id, BIGINT) % _SMALLER + 1) * said % _PRIME
    return select(verdict.clean_set_id, func.sum(number)).group_by(verdict.clean_set_id)


def _verdicts(connection: Connection) -> Generator[Seal]:
    now = verdicts(connection)
    sets = select(CleanSet.id, CleanSet.name, CleanSet.version, CleanSet.verdicts).order_by(CleanSet.id)
    for row in connection.execute(sets).mappings().all():
        name = ROW_NAMES[CleanSet].format(**row)
        yield Seal(CleanSet, row["id"], "verdicts", name, row["verdicts"], now.get(row["id"], 0))


def _contents(connection: Connection, first: int, last: int) -> Generator[Seal]:
    """Take the column ``contents`` of the images between two keys again."""
    of_cells, channels = cells(connection, first, last), _channels(connection, first, last)
    own = own_measures(connection, Cell.image_id.between(first, last))
    images = select(Image.id, Image.name, Image.contents).where(Image.id.between(first, last))
    for row in connection.execute(images.order_by(Image.id)).mappings().all():
        now = of_contents(of_cells.get(row["id"], {}), channels.get(row["id"], {}))
        now = (now + of_own(own.get(row["id"], {}))) % _MODULUS
        yield Seal(Image, row["id"], "contents", ROW_NAMES[Image].format(**row), row["contents"], now)


def _channels(connection: Connection, first: int, last: int) -> dict[int, dict[str, Channel]]:
    """Channels of images, by the image's key and the channel's name."""
    of_image = select(ImageChannel.image_id, *columns(ImageChannel))
    of_image = of_image.where(ImageChannel.image_id.between(first, last))
    of_cells = select(Cell.image_id, *columns(CellChannel), Cell.mask_id)
    of_cells = of_cells.join(Cell, Cell.id == CellChannel.cell_id).where(Cell.image_id.between(first, last))
    ordered = of_cells.order_by(Cell.image_id, CellChannel.channel, Cell.mask_id)
    found = {(image, channel): rest for image, channel, *rest in connection.execute(of_image)}
    measures = _grouped(connection, ordered, 2)
    channels: dict[int, dict[str, Channel]] = {}
    for image, channel in {**found, **measures}:
        level, histogram = found.get((image, channel), (None, None))
        columns_of = measures.get((image, channel), {})
        channels.setdefault(image, {})[channel] = Channel(level, histogram, columns_of)
    return channels


def _grouped(connection: Connection, statement: AnySelect, keys: int) -> dict[tuple[Any, ...], Columns]:
    """Rows as columns, by the first of their values."""
    found = connection.execute(statement)
    names = list(found.keys())[keys:]
    return {
        key: dict(zip(names, list(zip(*rows, strict=True))[keys:], strict=True))
        for key, rows in groupby(found, lambda row: tuple(row[:keys]))
    }


@cache
def _names(table: Table) -> tuple[str, ...]:
    """The columns that are in a seal."""
    left_out = _IN_NO_SEAL | {"id"} if table in (Image, Cell, CellOverride) else _IN_NO_SEAL
    return tuple(column.name for column in table.__table__.c if column.name not in left_out)


def _of_columns(what: str, values: Sequence[Any], columns: Columns) -> int:
    """Number of values and columns; columns without a value do not matter.

    Bytes and real numbers are hashed as they are: 0.15 ms for an image's cells; as text it takes 0.4 ms.
    """
    blobs = [value for value in values if isinstance(value, bytes)]
    said: list[Any] = [what, *(len(value) if isinstance(value, bytes) else value for value in values)]
    for name in sorted(columns):
        column = columns[name]
        packed = _packed(column)
        if packed is not None:
            blobs.append(packed)
            said += [name, len(packed)]
        elif any(value is not None for value in column):
            said += [name, list(map(int, column)) if isinstance(column[0], bool) else column]
    return _number(said, *blobs)


def _packed(column: Sequence[Any]) -> bytes | None:
    """Real numbers without a NULL among them, as bytes."""
    if not column or not isinstance(column[0], float):
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
    """What JSON has no word for."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="microseconds")  # as in SQLite's columns
    return {"bytes": bytes(value).hex()}


_ENCODER: Final = json.JSONEncoder(default=_text, sort_keys=True)
