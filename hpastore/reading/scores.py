"""Read a file of numbers about cells, as another program computed them.

Every fault of the file is collected, since whoever wrote it can correct them all at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from hpastore.errors import InputError, UsageError
from hpastore.reading.files import read_bytes
from hpastore.reading.table import MAX_TABLE_BYTES, Table, decode_text, open_table
from hpastore.text import printable
from hpastore.vocabulary import CHANNELS, MAX_MASK_ID

COLUMNS: Final = ("image", "mask_id", "cell", "channel", "value")
"""Columns that a file may have: ``cell`` stands for ``image`` and ``mask_id``."""

MAX_VALUE: Final = 1e300
"""As of values that custom measures compute."""

_PARQUET: Final = b"PAR1"

_INDEX_NAMES: Final = ("", "Unnamed: 0")
"""Names that pandas gives the column of its index, the first one."""

_MASK_ID: Final = re.compile(r"0*([0-9]{1,10})(?:\.0+)?")
"""As a number, be that written as 7.0: so does pandas where a row of the column was empty."""

_EXAMPLE: Final = "image,mask_id,value or cell,value"


class Score(NamedTuple):
    """A number of a cell, or None where the file has none."""

    line: int
    image: str
    mask_id: int
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
        In the order of the file.
    faults
        Of the lines that are not among the scores.
    unit
        What a line is called: ``line``, or ``row`` of a Parquet file.
    """

    scores: Sequence[Score]
    faults: Sequence[Fault]
    unit: str


def read_scores(path: Path) -> Scores:
    """Read a CSV or Parquet of ``image, mask_id[, channel], value`` or ``cell[, channel], value``.

    Parameters
    ----------
    path
        Text with a header, see `hpastore.reading.table`, or Parquet.

    Raises
    ------
    InputError
        If the file as a whole cannot be used: missing, empty, no text, without the columns.
    UsageError
        If it is Parquet, and the library that reads it is missing.
    """
    data = read_bytes(path, MAX_TABLE_BYTES)
    if data.startswith(_PARQUET):
        header, rows = _parquet(path)
        first, unit = 1, "row"
    else:
        table = open_table(decode_text(data, path), path, ("value",))
        header, rows = table.header, _decimal_points(table)
        first, unit = table.line, "line"
    columns = _check_header(path, header, f"{unit} {first}")
    scores, faults = _scores(rows, columns)
    if not scores and not faults:
        raise InputError(path, "has a header but no rows; give a row for each cell")
    return Scores(scores, faults, unit)


def _parquet(path: Path) -> tuple[tuple[str, ...], Iterator[tuple[int, Sequence[Any]]]]:
    """Read the columns of a Parquet file; a missing value is an empty text."""
    import pandas as pd

    try:
        import pyarrow  # type: ignore[import-not-found] # noqa: F401 an extra
    except ImportError:
        raise UsageError(
            f"{path} is a Parquet file, and reading it needs pyarrow; "
            "install it with: pip install 'hpastore[parquet]', or save the table as CSV"
        ) from None
    try:
        frame = pd.read_parquet(path, engine="pyarrow")
    except (OSError, ValueError) as error:  # pyarrow's errors descend from these
        reason = printable(str(error).partition("\n")[0])
        raise InputError(path, f"cannot be read as Parquet: {reason}") from error
    columns = [
        frame.iloc[:, at].astype(object).where(frame.iloc[:, at].notna(), "").tolist()
        for at in range(frame.shape[1])
    ]
    return tuple(map(str, frame.columns)), enumerate(zip(*columns, strict=True), start=1)


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
    if "label" in given:
        reason = (
            "has a column 'label', but a measure has one value for each cell; import each label "
            "from a file of its own and under a name of its own, such as prob_16"
        )
        raise InputError(path, reason)
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
        path, f"{where}: {fault}; the columns must be {_EXAMPLE}, and may have a channel"
    )


def _scores(
    rows: Iterator[tuple[int, Sequence[Any]]], columns: Mapping[str, int]
) -> tuple[list[Score], list[Fault]]:
    scores: list[Score] = []
    faults: list[Fault] = []
    first: dict[tuple[str, int, str], int] = {}
    at_value, at_channel = columns["value"], columns.get("channel")
    for line, row in rows:
        try:
            name, mask_id = _cell(row, columns)
            channel = "" if at_channel is None else _channel(row[at_channel])
            value = _value(row[at_value])
        except ValueError as error:
            faults.append(Fault(line, str(error)))
            continue
        before = first.setdefault((name, mask_id, channel), line)
        if before != line:
            of_channel = f" in {channel}" if channel else ""
            faults.append(Fault(line, f"{name}:{mask_id}{of_channel} is there twice, see {before}"))
        else:
            scores.append(Score(line, name, mask_id, channel, value))
    return scores, faults


def _cell(row: Sequence[Any], columns: Mapping[str, int]) -> tuple[str, int]:
    if "cell" in columns:
        text = str(row[columns["cell"]]).strip(" ")
        name, colon, mask_id = text.rpartition(":")
        if not colon:
            raise ValueError(f"invalid cell name {printable(text)!r}; cells are named NAME:ID")
    else:
        name = str(row[columns["image"]]).strip(" ")
        mask_id = str(row[columns["mask_id"]]).strip(" ")
    found = _MASK_ID.fullmatch(mask_id)
    number = int(found[1]) if found else 0
    if not 1 <= number <= MAX_MASK_ID:
        raise ValueError(f"invalid mask id {printable(mask_id)!r}; use a whole number from 1 on")
    return name, number


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
        # Python would take 1_000 and True for numbers.
        is_number = not isinstance(text, bool) and "_" not in str(text)
        value = float(text) if is_number else math.nan
    except (TypeError, ValueError, OverflowError):
        value = math.nan
    if not abs(value) <= MAX_VALUE:  # not so for NaN
        allowed = f"a number up to {MAX_VALUE:g}, or nothing where there is none"
        raise ValueError(f"invalid value {printable(str(given), 40)!r}; use {allowed}")
    return value + 0.0  # -0.0 becomes 0.0: SQLite would lose the sign
