"""Read a table of classes: ids, names, and which one is negative."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from hpastore.arguments import expanded
from hpastore.classes import Classes, check_class, require_number_of_classes
from hpastore.errors import InputError, UsageError
from hpastore.reading.files import read_bytes
from hpastore.reading.labels import label_number
from hpastore.reading.table import Table, decode_text, open_table
from hpastore.text import printable

COLUMNS: Final = ("id", "name", "negative")
"""Header of the table; the last column may be left out."""

_REQUIRED: Final = COLUMNS[:2]

_NEGATIVE_WORDS: Final = {"1": True, "true": True, "0": False, "false": False, "": False}

_MAX_BYTES: Final = 2**20


def load_classes(path: Path | str) -> Classes:
    """Read the classes that a new store shall have.

    Parameters
    ----------
    path : Path
        A table, see `hpastore.reading.table`, with the columns ``id``, ``name`` and, if one class
        is negative, ``negative``: 1 or true for that class, 0, false or nothing for the others.

    Returns
    -------
    Classes

    Raises
    ------
    InputError
        If the file cannot be read or used; the message names the line.

    Examples
    --------
    >>> load_classes("classes.csv").negative  # doctest: +SKIP
    2018
    """
    path = expanded(path)
    table = open_table(decode_text(read_bytes(path, _MAX_BYTES), path), path, _REQUIRED)
    _check_header(path, table)
    names: dict[int, str] = {}
    lines: dict[str, int] = {}
    negative: int | None = None
    for line, row in table.rows:
        fields = {key: text.strip() for key, text in zip(table.header, row, strict=True)}
        try:
            label, name, is_negative = _parse(fields)
            if label in names:
                raise UsageError(f"the id {label} is given twice")
            if name.casefold() in lines:
                raise UsageError(f"the name {name!r} is that of line {lines[name.casefold()]}")
            if is_negative and negative is not None:
                raise UsageError(f"a second negative class, beside {negative}; one at most")
        except UsageError as error:
            raise InputError(path, f"line {line}: {error}") from error
        names[label] = name
        lines[name.casefold()] = line
        negative = label if is_negative else negative
    try:
        require_number_of_classes(len(names))
    except UsageError as error:
        raise InputError(path, f"has {error}") from error
    return Classes(names, negative)


def _check_header(path: Path, table: Table) -> None:
    header = table.header
    if not header:
        raise InputError(path, "is empty; its columns must be id,name or id,name,negative")
    is_complete = set(header) >= set(_REQUIRED) and len(set(header)) == len(header)
    if not is_complete or not set(header) <= set(COLUMNS):
        found = printable(",".join(header))
        reason = f"line {table.line}: its columns must be id,name or id,name,negative, not {found}"
        raise InputError(path, reason)


def _parse(fields: Mapping[str, str]) -> tuple[int, str, bool]:
    """Read the id and the name of a row, and whether its class is the negative one."""
    label = label_number(fields["id"])
    if label is None:
        raise UsageError(f"the id {printable(fields['id'])!r} is not a whole number from 0")
    check_class(label, fields["name"])
    word = fields.get("negative", "").lower()
    if word not in _NEGATIVE_WORDS:
        raise UsageError(f"negative is {printable(word)!r} (choose from 0, 1, true, false)")
    return label, fields["name"], _NEGATIVE_WORDS[word]
