"""Read the table of image labels, strictly."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from hpastore.errors import InputError, RejectedError
from hpastore.model import LABEL_NAMES, NAME_PATTERN, NAME_RULE, Failure, printable
from hpastore.reading.files import read_file

MAX_TABLE_BYTES: Final = 2**28
"""The largest table that is read; 100,000 images need 5 MB."""

_LABEL: Final = re.compile("0*([0-9]{1,2})")
_LABEL_RULE: Final = f"use 0 to {len(LABEL_NAMES) - 1}, several joined as 3|5"


@dataclass(frozen=True)
class LabelTable:
    """What a table says about its images.

    Parameters
    ----------
    labels
        Distinct label ids, ascending, by image name in the order of the file.
    failures
        One for each image that cannot be taken, in the order of the file.
    repeated
        Rows that name a label twice, such as ``13|13``.
    """

    labels: dict[str, tuple[int, ...]]
    failures: tuple[Failure, ...]
    repeated: int


def read_labels(path: Path, id_column: str = "ID", label_column: str = "Label") -> LabelTable:
    """Read a CSV or TSV of image names and labels.

    A bad row fails its image and the others go on.  An image that has two rows with the same
    labels is taken once; with different ones it fails, and so does a name that another name
    equals but for case.

    Parameters
    ----------
    path
        UTF-8 with a header; tabs separate where the header has one, else commas.
    id_column, label_column
        The columns of the names and of the label ids 0..18, joined by ``|``.

    Returns
    -------
    LabelTable

    Raises
    ------
    InputError
        The table as a whole cannot be used: missing, empty, not UTF-8, without the columns, with
        rows of different length or broken quotes.

    Examples
    --------
    >>> read_labels(Path("train.csv")).labels  # doctest: +SKIP
    {'000a6c98-bb9b-11e8-b2b9-ac1f6b6435d0': (0, 1, 2, 7), 'a34d8680-bb99-11e8-b2b9-ac1f6b6435d0': (18,)}
    """
    rows = _rows(path, _text(path))
    _, header = next(rows, (0, []))
    at_name = _column(header, id_column, "--id-column", path)
    at_label = _column(header, label_column, "--label-column", path)
    labels: dict[str, tuple[int, ...]] = {}
    first: dict[str, tuple[str, int]] = {}
    rejected: set[str] = set()
    failures: list[Failure] = []
    line = repeated = 0

    def fail(name: str, code: str, reason: str) -> None:
        rejected.add(name)
        failures.append(Failure(printable(name), path.name, code, f"line {line}: {reason}"))

    for line, row in rows:
        name, text = row[at_name], row[at_label]
        ids, repeats = _ids(text)
        repeated += repeats
        if not NAME_PATTERN.fullmatch(name):
            fail(name, "name", f"the name '{printable(name)}' is not allowed; {NAME_RULE}")
        elif not ids:
            fail(name, "label", f"the label '{printable(text)}' is not allowed; {_LABEL_RULE}")
        else:
            known, at = first.setdefault(name.casefold(), (name, line))
            before = labels.setdefault(name, ids)
            if known != name:
                fail(name, "duplicate", f"the name equals {known} of line {at} but for case; rename one")
            elif before != ids and name not in rejected:
                given = f"its labels are {_joined(ids)}, but {_joined(before)} on line {at}"
                fail(name, "duplicate", f"{given}; keep one of the rows")
    if line == 0:
        raise InputError(path, "has a header but no rows; give a table with one row an image")
    taken = {name: ids for name, ids in labels.items() if name not in rejected}
    return LabelTable(taken, tuple(failures), repeated)


def _text(path: Path) -> str:
    try:
        data, _ = read_file(path, "labels", path.name, MAX_TABLE_BYTES)
        text = data.decode("utf-8-sig")
    except RejectedError as error:
        raise InputError(path, error.reason) from error
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(path, f"line {line}: is not UTF-8; save the table as UTF-8") from error
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise InputError(path, f"line {line}: holds a NUL byte; save the table as UTF-8 text")
    return text


def _rows(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line and fields of each row, header first; blank lines are left out."""
    lines = io.StringIO(text, newline="")
    separator = "\t" if "\t" in lines.readline() else ","
    lines.seek(0)
    rows = csv.reader(lines, delimiter=separator, strict=True)
    width = 0
    try:
        for row in rows:
            width = width or len(row)
            if row and len(row) != width:
                reason = f"line {rows.line_num}: has {len(row)} fields, the header {width}; correct the row"
                raise InputError(path, reason)
            if row:
                yield rows.line_num, row
    except csv.Error as error:
        said = printable(str(error))
        raise InputError(path, f"line {rows.line_num}: {said}; correct the quotes of the row") from error


def _column(header: list[str], name: str, option: str, path: Path) -> int:
    if header.count(name) == 1:
        return header.index(name)
    if not header:
        raise InputError(path, "is empty; give a table with a header and one row an image")
    what = "more than one column" if name in header else "no column"
    found = ", ".join(map(printable, header))[:128]
    raise InputError(path, f"line 1: has {what} '{name}', but {found}; name another with {option}")


@lru_cache(maxsize=1024)
def _ids(text: str) -> tuple[tuple[int, ...], bool]:
    """Return the distinct ids, none where any is not allowed, and whether one is repeated."""
    found = [_LABEL.fullmatch(part) for part in text.split("|")]
    given = [int(label[1]) for label in found if label]
    if len(given) < len(found) or max(given) >= len(LABEL_NAMES):
        return (), False
    ids = tuple(sorted(set(given)))
    return ids, len(ids) < len(given)


def _joined(ids: tuple[int, ...]) -> str:
    return "|".join(map(str, ids))
