"""Overrides: what people decide about single cells, whatever the rules say.

An override is stored with the cell's mask.  When the mask of an image is replaced, the override is
attached to the cell that covers the same pixels (intersection over union 0.7 or more).  One that
fits no cell is detached: it is kept and listed, and attached again should its cell come back.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hpastore.arguments import expanded
from hpastore.classes import DEFAULT_CLASSES, Classes
from hpastore.errors import InputError, UsageError
from hpastore.reading.files import read_bytes
from hpastore.reading.labels import label_number
from hpastore.reading.table import MAX_TABLE_BYTES, Table, decode_text, open_table
from hpastore.store import overrides
from hpastore.store.classes import read_classes
from hpastore.store.engine import Store
from hpastore.text import count_text, printable
from hpastore.vocabulary import MAX_MASK_ID, NAME_PATTERN

if TYPE_CHECKING:
    import pandas as pd
    from sqlalchemy import Connection

logger = logging.getLogger(__name__)

COLUMNS: Final = ("cell", "label_id", "keep", "score", "author", "comment")
"""Header of the CSV."""

_OTHER_COLUMNS: Final = ("created_at", "attached")
"""Columns of an exported list that may be there; ``created_at`` is not read."""

_INDEX_NAMES: Final = ("", "Unnamed: 0")
"""Names that pandas gives the column of its index, the first one."""

_REQUIRED: Final = ("cell", "keep")

_SCORE_LINE: Final = re.compile(r"(?P<name>\S+)_(?P<id>\d+)\s+(?P<score>\S+)")
_KEEP_WORDS: Final = {
    "keep": True,
    "drop": False,
    "true": True,
    "false": False,
    "1": True,
    "0": False,
}


@dataclass(frozen=True)
class Override:
    """A decision about one cell.

    Parameters
    ----------
    cell : str
        ``NAME:ID``.
    keep : bool
        Whether the cell is clean, whatever the rules say.
    label : int or str, optional
        Only for this label, given by id or name; for every label if None.  An override for one
        label takes precedence over one for every label.
    score : float, optional
        How sure its author is, or how good the cell looks, 0..1.
    author, comment : str, optional
        The command line gives the user's name as the author.
    """

    cell: str
    keep: bool
    label: int | str | None = None
    score: float | None = None
    author: str | None = None
    comment: str | None = None

    def to_decision(self, classes: Classes) -> overrides.Decision:
        """Validate the override, and return it as the store takes it.

        Parameters
        ----------
        classes : Classes
            Those of the store.

        Raises
        ------
        UsageError
            If the cell's name, the label, the score or a text is invalid.
        """
        label = None if self.label is None else classes.find(self.label)
        if self.score is not None and not 0 <= self.score <= 1:
            raise UsageError(f"invalid score {self.score:g}; use a number from 0 to 1")
        name, mask_id = parse_cell(self.cell)
        author = _text(self.author, "author")
        comment = _text(self.comment, "comment")
        return overrides.Decision(name, mask_id, label, self.keep, self.score, author, comment)


def parse_cell(cell: str) -> tuple[str, int]:
    """Split a cell's name into image name and mask id.

    Raises
    ------
    UsageError
        If it is not ``NAME:ID``.

    Examples
    --------
    >>> parse_cell("5c27f04c-bb99-11e8-b2b9-ac1f6b6435d0:7")
    ('5c27f04c-bb99-11e8-b2b9-ac1f6b6435d0', 7)
    """
    name, _, mask_id = cell.rpartition(":")
    number = int(mask_id) if mask_id.isdecimal() and len(mask_id) <= 10 else 0
    if not NAME_PATTERN.fullmatch(name) or not 1 <= number <= MAX_MASK_ID:
        raise UsageError(f"invalid cell name {printable(cell)!r}; cells are named NAME:ID")
    return name, number


def override_cells(store: Store, decided: Iterable[Override], *, skip_unknown: bool = False) -> int:
    """Record overrides of cells; each replaces an earlier one of the same cell and label.

    Existing clean sets do not change; `refresh_clean_set` makes a version with the overrides.

    Parameters
    ----------
    store : Store
    decided : iterable of Override
        All of them are written, or none.
    skip_unknown : bool
        Whether overrides of cells that the store does not have are left out; a warning counts them.

    Returns
    -------
    int
        Number of overrides written; of two for the same cell and label, the last one.

    Raises
    ------
    UsageError
        If one is invalid.
    NotFoundError
        If the store does not have all of these cells.
    """
    decided = list(decided)
    now = datetime.now(UTC)

    def write(connection: Connection) -> int:
        classes = read_classes(connection)
        decisions = [override.to_decision(classes) for override in decided]
        return overrides.write_overrides(connection, decisions, now, skip_unknown)

    return store.write(write)


def undo_overrides(
    store: Store,
    cells: Sequence[str],
    *,
    label: int | str | None = None,
    every: bool = True,
    detached: bool = False,
) -> int:
    """Delete overrides of cells.

    Parameters
    ----------
    store : Store
    cells : sequence of str
        ``NAME:ID``.  Detached overrides of this name are deleted if there is no attached one.
    label : int or str, optional
        With `every` false, only overrides for this label, or those for every label if None.
    every : bool
    detached : bool
        Only detached overrides.

    Returns
    -------
    int
        Number of overrides deleted.
    """
    named = [parse_cell(cell) for cell in cells]

    def delete(connection: Connection) -> int:
        label_id = None if label is None else read_classes(connection).find(label)
        return overrides.delete_overrides(
            connection, named, label_id, every=every, detached=detached
        )

    return store.write(delete)


def list_overrides(store: Store, *, detached: bool = False) -> pd.DataFrame:
    """List overrides: ``cell, label_id, keep, score, author, comment, created_at, attached``.

    Parameters
    ----------
    store : Store
    detached : bool
        Only detached ones, whose cell was deleted.
    """
    import pandas as pd

    with store.reading() as connection:
        rows = overrides.overrides(connection)
    found = [
        {
            "cell": f"{row['image_name']}:{row['mask_id']}",
            **{name: row[name] for name in (*COLUMNS[1:], "created_at")},
            "attached": bool(row["attached"]),
        }
        for row in rows
        if not (detached and row["attached"])
    ]
    frame = pd.DataFrame(found, columns=[*COLUMNS, "created_at", "attached"])
    return frame.astype({"label_id": "Int64", "score": "float64"})


def read_overrides(
    path: Path | str,
    *,
    first_id: int = 1,
    keep_from: float = 0.5,
    classes: Classes = DEFAULT_CLASSES,
) -> list[Override]:
    """Read overrides from a table, or from lines of scores, ``IMAGE_CELL SCORE``.

    Parameters
    ----------
    path : Path
        A table, see `hpastore.reading.table`, has columns of `COLUMNS`, at least ``cell`` and
        ``keep``; keep is one of keep, drop, true, false, 1, 0.
    first_id : int
        The number of an image's first cell in lines of scores: with 0, ``a_0`` is the cell ``a:1``.
    keep_from : float
        A cell whose line has this score or a higher one is kept.
    classes : Classes
        Those of the store, by default those of a new one; see `hpastore.store_classes`.

    Raises
    ------
    InputError
        If the file cannot be read; the message names the line and what it may hold.
    """
    path = expanded(path)
    text = decode_text(read_bytes(path, MAX_TABLE_BYTES), path)
    table = open_table(text, path, _REQUIRED)
    if "cell" in map(str.lower, table.header):
        return list(_from_table(path, table, classes))
    first = text.partition("\n")[0].lower()
    is_line = first.lstrip().startswith("#") or _SCORE_LINE.fullmatch(first.strip())
    if not is_line and "cell" in re.split(r"\W+", first):
        shown = printable(text.partition("\n")[0].strip())
        raise InputError(path, f"line 1 is {shown!r}; its columns must be {','.join(COLUMNS)}")
    return [
        _from_line(path, n, line, first_id, keep_from, classes)
        for n, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]


def _from_table(path: Path, table: Table, classes: Classes) -> Iterator[Override]:
    _check_header(path, table)
    detached = 0
    for line, row in table.rows:
        fields = _clean_fields(table, row)
        try:
            keep = _parse_keep(fields["keep"])
            if fields.get("attached", "").lower() == "false":
                # Its cell was in an older mask; the cell that has its name now is another one.
                detached += 1
                continue
            override = _from_fields(fields, keep, classes)
        except (ValueError, UsageError) as error:
            raise InputError(path, f"line {line}: {error}") from error
        yield override
    if detached:
        logger.warning(
            "%s: skipped %s, whose cells were deleted",
            path,
            count_text(detached, "detached override"),
        )


def _check_header(path: Path, table: Table) -> None:
    header = table.header[1:] if table.header[0] in _INDEX_NAMES else table.header
    unknown = [name for name in header if name not in (*COLUMNS, *_OTHER_COLUMNS)]
    missing = [name for name in _REQUIRED if name not in header]
    repeated = [name for name in header if header.count(name) > 1]
    faults = (
        ("unknown column", unknown),
        ("missing column", missing),
        ("repeated column", repeated),
    )
    for fault, names in faults:
        if names:
            allowed = ", ".join(COLUMNS)
            raise InputError(path, f"{fault} {printable(names[0])!r}; its columns may be {allowed}")


def _clean_fields(table: Table, row: Sequence[str]) -> dict[str, str]:
    """Give a row's fields by column, without space around all but the free texts."""
    fields = dict(zip(table.header, row, strict=True))
    for name in fields.keys() - {"author", "comment"}:
        fields[name] = fields[name].strip()
    if table.separator == ";":  # where Excel separates by semicolons, its decimals have a comma
        fields["score"] = fields.get("score", "").replace(",", ".")
    return fields


def _parse_keep(text: str) -> bool:
    keep = _KEEP_WORDS.get(text.lower())
    if keep is None:
        raise UsageError(f"invalid keep {printable(text)!r} (choose from {', '.join(_KEEP_WORDS)})")
    return keep


def _from_fields(fields: Mapping[str, str], keep: bool, classes: Classes) -> Override:
    """Make an override of a row's fields by column."""
    label = fields.get("label_id")
    score = fields.get("score")
    override = Override(
        fields["cell"],
        keep,
        _label(label, classes) if label else None,
        float(score) if score else None,
        fields.get("author") or None,
        fields.get("comment") or None,
    )
    override.to_decision(classes)
    return override


def _label(text: str, classes: Classes) -> int:
    """Find a label by its name or its id, which a table may write as ``16.0``."""
    number = label_number(text)
    if number is not None and number in classes.names:
        return number
    return classes.find(text)


def _text(text: str | None, what: str) -> str | None:
    """Normalise a text for both databases and CSV: UTF-8 without NUL, lines that end in LF."""
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise UsageError(f"the {what} is not valid UTF-8") from None
    if "\0" in (text or ""):
        raise UsageError(f"the {what} contains a NUL character")
    return text and text.replace("\r\n", "\n").replace("\r", "\n")


def _from_line(
    path: Path, n: int, line: str, first_id: int, keep_from: float, classes: Classes
) -> Override:
    """Make an override of a line of scores."""
    found = _SCORE_LINE.fullmatch(line.strip())
    where = f"line {n}, {printable(line.strip())!r}"
    if found is None:
        raise InputError(path, f"{where}: not of the form IMAGE_CELL SCORE")
    try:
        score = float(found["score"])
        cell = f"{found['name']}:{int(found['id']) + 1 - first_id}"
        override = Override(cell, score >= keep_from, score=score)
        override.to_decision(classes)
    except (ValueError, UsageError) as error:
        raise InputError(path, f"{where}: {error}") from error
    return override
