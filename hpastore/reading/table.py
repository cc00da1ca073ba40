"""Tables of text, as spreadsheets, scripts and people write them.

Context: tables come as saved by Excel in one country or another, by pandas, or typed by hand.
Decision: a form is read where its meaning is certain, because the columns that are needed stand in
the header; anything else is refused with its cause.  Consequence: there is one reader for all
tables, and no option to describe one.
"""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hpastore.errors import InputError
from hpastore.text import printable

MAX_TABLE_BYTES: Final = 2**28
"""The largest table that is read, unpacked; 100,000 images need 5 MB."""

SEPARATORS: Final = {"\t": "tab", ",": "comma", ";": "semicolon"}

_SEPARATOR_LINE: Final = re.compile('"?sep=([^\r\n])"?[ \t]*(?:\r\n|\n|\r|$)', re.IGNORECASE)
"""What Excel writes in front of the header, and hides when it reads."""

_GZIP: Final = b"\x1f\x8b"
_OTHER_FORMATS: Final = {
    b"PK\3\4": "is an Excel workbook, or another zip archive; save the table as CSV",
    b"\xd0\xcf\x11\xe0": "is an old Excel workbook; save the table as CSV",
    b"PAR1": "is a Parquet file; save the table as CSV",
    b"BZh": "is compressed with bzip2; unpack it, or use gzip",
    b"\xfd7zXZ": "is compressed with xz; unpack it, or use gzip",
    b"\x28\xb5\x2f\xfd": "is compressed with zstd; unpack it, or use gzip",
}
_UTF_16_MARKS: Final = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Table:
    """A table whose header was read.

    Parameters
    ----------
    header
        Names of the columns, without spaces around them; empty for an empty file.
    line
        Number of the header's line, or of its last one.
    separator
        One of `SEPARATORS`.
    rows
        Line and fields of each row, to be read once; blank rows are left out, and each row has as
        many fields as the header.  Raises `InputError` at a row that cannot be read.
    """

    header: tuple[str, ...]
    line: int
    separator: str
    rows: Iterator[tuple[int, list[str]]]


def decode_text(data: bytes, path: Path) -> str:
    """Decode UTF-8, or UTF-16 with a byte order mark, compressed with gzip or not.

    Parameters
    ----------
    data
        The whole file.
    path
        Its name, for the errors.

    Returns
    -------
    str
        Without a byte order mark.

    Raises
    ------
    InputError
        Of a workbook or another compression, with its name; of what is no text, with the line.
    """
    if data.startswith(_GZIP):
        data = _unpack(data, path)
    for magic, reason in _OTHER_FORMATS.items():
        if data.startswith(magic):
            raise InputError(path, reason)
    encoding, name = "utf-8-sig", "UTF-8"
    if data.startswith(_UTF_16_MARKS):
        encoding, name = "utf-16", "UTF-16, as its first bytes say"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(path, f"line {line}: is not {name}; save the table as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(path, f"line {line}: holds a NUL byte; save the table as UTF-8 text")
    return text


def open_table(text: str, path: Path, needed: Sequence[str]) -> Table:
    """Read the header of a table, and find out how its fields are separated.

    The separator is that of a first line ``sep=;``, or the one of tab, comma and semicolon that
    makes the needed columns of the header.

    Parameters
    ----------
    text
    path
        Its name, for the errors.
    needed
        Columns that tell a header.

    Raises
    ------
    InputError
        If the header has broken quotes.
    """
    first_line = 1
    separators = tuple(SEPARATORS)
    if declared := _SEPARATOR_LINE.match(text):
        if declared[1] not in SEPARATORS:
            reason = (
                f"line 1: has the separator {printable(declared[1])!r}; use a comma, a "
                "semicolon or tabs"
            )
            raise InputError(path, reason)
        separators, first_line, text = (declared[1],), 2, text[declared.end() :]
    separator = _find_separator(text, separators, needed)
    # Only where the header shows it: in front of a comment, a space may be meant.
    spaced = any(name.startswith(" ") for name in _first_row(text, separator))
    rows = _rows(text, path, separator, spaced=spaced, first_line=first_line)
    line, header = next(rows, (0, []))
    return Table(tuple(name.strip(" ") for name in header), line, separator, rows)


def _unpack(data: bytes, path: Path) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            unpacked = file.read(MAX_TABLE_BYTES + 1)
    except (EOFError, OSError, zlib.error) as error:
        raise InputError(
            path, "is damaged or cut, and cannot be unpacked; compress it again"
        ) from error
    if len(unpacked) > MAX_TABLE_BYTES:
        raise InputError(
            path, f"unpacks to more than {MAX_TABLE_BYTES:,} bytes; give a smaller table"
        )
    return unpacked


def _find_separator(text: str, separators: Sequence[str], needed: Sequence[str]) -> str:
    """The separator that makes the needed columns, else the one that makes most columns."""
    headers = {separator: _first_row(text, separator) for separator in separators}
    for separator, header in headers.items():
        if {name.strip(' "') for name in header} >= set(needed):
            return separator
    return max(headers, key=lambda separator: (len(headers[separator]), separator == ","))


def _first_row(text: str, separator: str) -> list[str]:
    """Fields of the first row that is not blank; none where its quotes are broken."""
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        return next((row for row in rows if row), [])
    except csv.Error:
        return []


def _rows(
    text: str, path: Path, separator: str, *, spaced: bool, first_line: int
) -> Iterator[tuple[int, list[str]]]:
    """Yield line and fields of each row, header first."""
    lines = io.StringIO(text, newline="")
    rows = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=spaced)
    width = 0
    try:
        for row in rows:
            line = rows.line_num + first_line - 1
            if not any(field.strip(" ") for field in row):
                continue
            width = width or len(row)
            if len(row) != width:
                remedy = f"correct the row; quote a text that holds a {SEPARATORS[separator]}"
                raise InputError(
                    path, f"line {line}: has {len(row)} fields, the header {width}; {remedy}"
                )
            yield line, row
    except csv.Error as error:
        line = rows.line_num + first_line - 1
        message = printable(str(error))
        raise InputError(path, f"line {line}: {message}; correct the quotes of the row") from error
