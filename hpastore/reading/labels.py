"""Read the table of image labels, strictly."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Final

from hpastore.classes import DEFAULT_CLASSES, Classes
from hpastore.errors import InputError, RejectedError, UsageError
from hpastore.model import Failure
from hpastore.reading.files import read_file
from hpastore.reading.table import MAX_TABLE_BYTES, Table, decode_text, open_table
from hpastore.text import printable
from hpastore.vocabulary import NAME_PATTERN, NAME_RULE

_LABEL: Final = re.compile(r"0*([0-9]{1,10})(?:\.0+)?")
"""As a number, be that written as 16.0: so does pandas where a row of the column was empty."""

MAX_VALUE_LENGTH: Final = 1_000
"""Characters of a value in a kept column."""


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
    columns
        Values of the kept columns, by image name and column; empty texts too.
    """

    labels: dict[str, tuple[int, ...]]
    failures: tuple[Failure, ...]
    repeated: int
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read_labels(
    path: Path,
    id_column: str = "ID",
    label_column: str = "Label",
    keep_columns: Sequence[str] = (),
    classes: Classes = DEFAULT_CLASSES,
) -> LabelTable:
    """Read a CSV or TSV of image names and labels.

    A bad row fails its image and the others go on.  An image that has two rows with the same
    labels and kept columns is taken once; with different ones it fails, and so does a name that
    another name equals but for case.

    Parameters
    ----------
    path
        Text with a header, see `hpastore.reading.table`; gzip is unpacked.
    id_column, label_column
        The columns of the names and of the label ids, joined by ``|``.
    keep_columns
        Other columns whose values are read: as they are written, without spaces around them.
    classes
        Those of the store.

    Returns
    -------
    LabelTable

    Raises
    ------
    InputError
        The table as a whole cannot be used: missing, empty, no text, without the columns, with
        rows of different length or broken quotes.
    UsageError
        If the table lacks a column to keep, or has two of its name, or if it is one of the names
        or of the labels.

    Examples
    --------
    >>> read_labels(Path("train.csv")).labels  # doctest: +SKIP
    {'000a6c98-bb9b-11e8-b2b9-ac1f6b6435d0': (0, 1, 2, 7), 'a34d8680-bb99-11e8-b2b9-ac1f6b6435d0':
    (18,)}
    """
    table = open_table(_text(path), path, (id_column, label_column))
    at_name = _column(table, id_column, "--id-column", path)
    at_label = _column(table, label_column, "--label-column", path)
    kept = _kept_columns(table, keep_columns, {at_name, at_label}, path)
    labels: dict[str, tuple[int, ...]] = {}
    columns: dict[str, dict[str, str]] = {}
    first: dict[str, tuple[str, int]] = {}
    rejected: set[str] = set()
    failures: list[Failure] = []
    line = repeated = 0
    ids_of = lru_cache(maxsize=1024)(partial(_ids, classes=classes))
    label_rule = f"use {classes.ids_text}, several joined by '|'"

    def fail(name: str, code: str, reason: str) -> None:
        rejected.add(name)
        failures.append(Failure(printable(name), path.name, code, f"line {line}: {reason}"))

    for line, row in table.rows:
        name, text = row[at_name].strip(" "), row[at_label]  # no name holds a space
        ids, repeats = ids_of(text)
        values = {column: row[at].strip(" ") for column, at in kept.items()}
        too_long = [c for c, value in values.items() if len(value) > MAX_VALUE_LENGTH]
        repeated += repeats
        if not NAME_PATTERN.fullmatch(name):
            fail(name, "name", f"the name '{printable(name)}' is not allowed; {NAME_RULE}")
        elif not ids:
            fail(name, "label", f"the label '{printable(text)}' is not allowed; {label_rule}")
        elif too_long:
            length = f"{len(values[too_long[0]]):,} characters"
            reason = f"its {too_long[0]} has {length}; use up to {MAX_VALUE_LENGTH:,}"
            fail(name, "column", reason)
        else:
            known, at = first.setdefault(name.casefold(), (name, line))
            before = labels.setdefault(name, ids)
            values_before = columns.setdefault(name, values)
            if known != name:
                fail(
                    name,
                    "duplicate",
                    f"the name equals {known} of line {at} but for case; rename one",
                )
            elif before != ids and name not in rejected:
                given = f"its labels are {_joined(ids)}, but {_joined(before)} on line {at}"
                fail(name, "duplicate", f"{given}; keep one of the rows")
            elif values_before != values and name not in rejected:
                given = _difference(values, values_before, at)
                fail(name, "duplicate", f"{given}; keep one of the rows")
    if line == 0:
        raise InputError(path, "has a header but no rows; give a table with one row an image")
    taken = {name: ids for name, ids in labels.items() if name not in rejected}
    of_taken = {name: columns[name] for name in taken} if kept else {}
    return LabelTable(taken, tuple(failures), repeated, of_taken)


def label_number(text: str) -> int | None:
    """The number that a text is, as an id of a label may be written; None if it is none.

    Examples
    --------
    >>> label_number("16"), label_number(" 3.0"), label_number("3.5")
    (16, 3, None)
    """
    found = _LABEL.fullmatch(text.strip(" "))
    return int(found[1]) if found else None


def _text(path: Path) -> str:
    try:
        data, _ = read_file(path, "labels", path.name, MAX_TABLE_BYTES)
    except RejectedError as error:
        raise InputError(path, error.reason) from error
    return decode_text(data, path)


def _column(table: Table, name: str, option: str, path: Path) -> int:
    header = table.header
    if header.count(name) == 1:
        return header.index(name)
    if not header:
        raise InputError(path, "is empty; give a table with a header and one row an image")
    what = "more than one column" if name in header else "no column"
    found = ", ".join(map(printable, header))[:128]
    remedy = f"name another with {option}"
    if len(header) == 1:
        remedy = f"separate columns by commas, semicolons or tabs, or {remedy}"
    raise InputError(path, f"line {table.line}: has {what} '{name}', but {found}; {remedy}")


def _kept_columns(
    table: Table, names: Sequence[str], others: Collection[int], path: Path
) -> dict[str, int]:
    """Find the columns to keep; `others` are those of the names and of the labels."""
    header = table.header
    places: dict[str, int] = {}
    for name in names:
        found = [at for at, column in enumerate(header) if column == name]
        if len(found) == 1 and found[0] not in others:
            places[name] = found[0]
            continue
        if len(found) > 1:
            raise UsageError(
                f"invalid --keep-column {printable(name)!r}: {path} has {len(found)} columns of "
                "this name; rename one"
            )
        what = "has the names or the labels there" if found else "has no such column"
        columns = [column for at, column in enumerate(header) if at not in others and column]
        listed = ", ".join(map(printable, columns))
        choices = f"choose from {listed}" if columns else "there are no other columns"
        raise UsageError(f"invalid --keep-column {printable(name)!r}: {path} {what} ({choices})")
    return places


def _difference(values: Mapping[str, str], before: Mapping[str, str], line: int) -> str:
    """Say which column of two rows differs first, and how."""
    name = next(name for name, value in values.items() if value != before[name])
    shown, shown_before = (f"'{printable(row[name], 40)}'" for row in (values, before))
    return f"its {name} is {shown}, but {shown_before} on line {line}"


def _ids(text: str, classes: Classes) -> tuple[tuple[int, ...], bool]:
    """Return the distinct ids, none where any is not allowed, and whether one is repeated."""
    given = [label_number(part) for part in text.split("|")]
    sound = [label for label in given if label is not None and label in classes.names]
    if len(sound) < len(given):
        return (), False
    ids = tuple(sorted(set(sound)))
    return ids, len(ids) < len(given)


def _joined(ids: tuple[int, ...]) -> str:
    return "|".join(map(str, ids))
