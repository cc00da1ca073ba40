"""Read a file of numbers about cells, as another program computed them.

Every fault of the file is collected, since whoever wrote it can correct them all at once.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from hpastore.classes import Classes
from hpastore.errors import InputError, UsageError
from hpastore.reading.files import read_bytes
from hpastore.reading.table import MAX_TABLE_BYTES, Table, decode_text, open_table
from hpastore.text import printable
from hpastore.vocabulary import CHANNELS, MAX_MASK_ID

COLUMNS: Final = ("image", "mask_id", "cell", "label", "channel", "value")
"""Columns that a file may have: ``cell`` stands for ``image`` and ``mask_id``."""

MAX_VALUE: Final = 1e300
"""As of values that custom measures compute."""

MAX_PARQUET_ROWS: Final = 10_000_000
"""The longest Parquet file that is read: compressed, a small one may hold any number of rows."""

_PARQUET: Final = b"PAR1"

_INDEX_NAMES: Final = ("", "Unnamed: 0", "__index_level_0__")
"""Names that pandas gives the column of its index."""

_WHOLE: Final = re.compile(r"0*([0-9]{1,10})(?:\.0+)?")
"""A number, be that written as 7.0: so does pandas where a row of the column was empty."""

_EXAMPLE: Final = "image,mask_id,value or cell,value"


class Score(NamedTuple):
    """A number of a cell, or None where the file has none."""

    line: int
    image: str
    mask_id: int
    label: int | None
    """None in a file without labels."""
    channel: str
    """Empty for a number of the whole cell."""
    value: float | None


class Fault(NamedTuple):
    """What is wrong with a line."""

    line: int
    what: str


@dataclass(frozen=True)
class Scores:
    """What a file says about cells.

    Parameters
    ----------
    scores
        In the order of the file; if a label was requested, only those of this label.
    faults
        Of the lines that are not among the scores.
    unit
        What a line is called: ``line``, or ``row`` of a Parquet file.
    has_labels
        Whether the file has a column ``label``.
    """

    scores: Sequence[Score]
    faults: Sequence[Fault]
    unit: str
    has_labels: bool


def read_scores(path: Path, classes: Classes, label: int | None = None) -> Scores:
    """Read a CSV or Parquet of numbers of cells, see `COLUMNS`.

    Parameters
    ----------
    path
        Text with a header, see `hpastore.reading.table`, or Parquet.
    classes
        What a label may be, by its id or its name.
    label
        Leave out the rows of other labels; their other columns are checked nonetheless.

    Raises
    ------
    InputError
        If the file as a whole cannot be used: missing, empty, no text, without the columns, without
        a row of the label.
    UsageError
        If it is Parquet, and the library that reads it is missing.
    """
    data = read_bytes(path, MAX_TABLE_BYTES)
    if data.startswith(_PARQUET):
        header, rows = _parquet(path, data)
        first, unit = 0, "row"
    else:
        table = open_table(decode_text(data, path), path, ("value",))
        header, rows = table.header, _decimal_points(table)
        first, unit = table.line, "line"
    columns = _check_header(path, header, f"{unit} {first}: " if first else "")
    has_labels = "label" in columns
    if label is not None and not has_labels:
        raise InputError(path, "has no column 'label'; leave out --label")
    scores, faults, count = _scores(rows, columns, _ids_by_text(classes), label)
    if not count:
        raise InputError(path, "has a header but no rows; give a row for each cell")
    if label is not None and not scores and not faults:
        raise InputError(path, f"has no row of the label {classes.names[label]!r}")
    return Scores(scores, faults, unit, has_labels)


def _parquet(
    path: Path, data: bytes
) -> tuple[tuple[str, ...], Iterator[tuple[int, Sequence[Any]]]]:
    """Read the columns of a Parquet file; a missing value is an empty text."""
    try:
        from pyarrow.lib import ArrowException
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise UsageError(
            f"{path} is a Parquet file, and reading it needs pyarrow; "
            "install it with: pip install 'hpastore[parquet]', or save the table as CSV"
        ) from None
    # What pyarrow raises of damaged files, truncated pages, bad text and kinds it does not know.
    faults = (ArrowException, OSError, ValueError, NotImplementedError)

    def rows() -> Iterator[tuple[int, Sequence[Any]]]:
        number = 0
        try:
            for batch in file.iter_batches():
                for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    number += 1
                    yield number, ["" if value is None else value for value in row]
        except faults as error:
            raise _unreadable(path, error) from error

    try:
        file = ParquetFile(io.BytesIO(data))
        header = tuple(map(str, file.schema_arrow.names))
    except faults as error:
        raise _unreadable(path, error) from error
    if file.metadata.num_rows > MAX_PARQUET_ROWS:
        raise InputError(path, f"has more than {MAX_PARQUET_ROWS:,} rows; give smaller files")
    return header, rows()


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = printable(str(error).partition("\n")[0])
    return InputError(path, f"cannot be read as Parquet: {reason}")


def _decimal_points(table: Table) -> Iterator[tuple[int, list[str]]]:
    """Write decimal commas as points: where Excel separates by semicolons, decimals have these."""
    at = table.header.index("value") if "value" in table.header else None
    for line, row in table.rows:
        if table.separator == ";" and at is not None:
            row[at] = row[at].replace(",", ".")
        yield line, row


def _check_header(path: Path, header: Sequence[str], where: str) -> Mapping[str, int]:
    """Find the columns by name."""
    if not header:
        raise InputError(path, f"is empty; give a table with the columns {_EXAMPLE}")
    names = [name for name in header if name not in _INDEX_NAMES]
    given = set(names)
    found = ", ".join(printable(name) for name in header)[:128]
    unknown = [name for name in names if name not in COLUMNS]
    repeated = [name for name in names if names.count(name) > 1]
    is_complete = {"cell", "value"} <= given or {"image", "mask_id", "value"} <= given
    if repeated:
        fault = f"has the column {printable(repeated[0])!r} twice"
    elif "cell" in given and given & {"image", "mask_id"}:
        fault = "names cells twice, by 'cell' and by 'image' or 'mask_id'"
    elif not is_complete or unknown:
        fault = f"has the columns {found}"
    else:
        return {name: at for at, name in enumerate(header) if name in COLUMNS}
    raise InputError(
        path, f"{where}{fault}; the columns must be {_EXAMPLE}, and may have a label and a channel"
    )


def _ids_by_text(classes: Classes) -> dict[str, int]:
    """Give the ids of classes by all that a file may call them, in small letters."""
    by_name = {name.casefold(): label for label, name in classes.names.items()}
    return {str(label): label for label in classes.ids} | by_name


def _scores(
    rows: Iterator[tuple[int, Sequence[Any]]],
    columns: Mapping[str, int],
    labels: Mapping[str, int],
    wanted: int | None,
) -> tuple[list[Score], list[Fault], int]:
    """Read rows; give those of the label that is wanted, the faults, and the number of rows."""
    scores: list[Score] = []
    faults: list[Fault] = []
    first: dict[tuple[str, int, int | None, str], int] = {}
    at_value, at_label, at_channel = columns["value"], columns.get("label"), columns.get("channel")
    count = 0
    for line, row in rows:
        count += 1
        try:
            name, mask_id = _cell(row, columns)
            label = None if at_label is None else _label(row[at_label], labels)
            channel = "" if at_channel is None else _channel(row[at_channel])
            value = _value(row[at_value])
        except ValueError as error:
            faults.append(Fault(line, str(error)))
            continue
        if wanted is not None and label != wanted:
            continue
        before = first.setdefault((name, mask_id, label, channel), line)
        if before != line:
            where = f"{printable(name)}:{mask_id}" + (f" in {channel}" if channel else "")
            faults.append(Fault(line, f"{where} is there twice, see {before}"))
        else:
            scores.append(Score(line, name, mask_id, label, channel, value))
    return scores, faults, count


def _cell(row: Sequence[Any], columns: Mapping[str, int]) -> tuple[str, int]:
    if "cell" in columns:
        text = str(row[columns["cell"]]).strip(" ")
        name, colon, mask_id = text.rpartition(":")
        if not colon:
            raise ValueError(f"invalid cell name {printable(text)!r}; cells are named NAME:ID")
    else:
        name = str(row[columns["image"]]).strip(" ")
        mask_id = str(row[columns["mask_id"]]).strip(" ")
    found = _WHOLE.fullmatch(mask_id)
    number = int(found[1]) if found else 0
    if not 1 <= number <= MAX_MASK_ID:
        raise ValueError(f"invalid mask id {printable(mask_id)!r}; use a whole number from 1 on")
    return name, number


def _label(given: Any, labels: Mapping[str, int]) -> int:
    text = str(given).strip(" ")
    number = _WHOLE.fullmatch(text)
    found = labels.get(number[1] if number else text.casefold())
    if found is None:
        raise ValueError(f"the store has no label {printable(text)!r}; use an id or a full name")
    return found


def _channel(text: Any) -> str:
    channel = str(text).strip(" ")
    if channel and channel not in CHANNELS:
        choices = ", ".join(CHANNELS)
        raise ValueError(f"invalid channel {printable(channel)!r} (choose from {choices})")
    return channel


def _value(given: Any) -> float | None:
    """Take a finite number; None for an empty text."""
    text = given.strip(" ") if isinstance(given, str) else given
    if text == "":
        return None
    try:
        # Python would take 1_000, True and the digits of other scripts for numbers.
        is_number = not isinstance(text, bool) and "_" not in str(text) and str(text).isascii()
        value = float(text) if is_number else math.nan
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not abs(value) <= MAX_VALUE:  # not so for NaN
        allowed = f"a number up to {MAX_VALUE:g}, or nothing where there is none"
        raise ValueError(f"invalid value {printable(str(given), 40)!r}; use {allowed}")
    return value + 0.0  # -0.0 becomes 0.0: SQLite would lose the sign
