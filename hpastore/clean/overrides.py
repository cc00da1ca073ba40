"""Overrides: what people decide about cells, which beats the rules.

An override is kept with the cell's mask.  When the mask of an image is replaced, it goes to the cell that
covers the same pixels (intersection over union 0.7 or more); one that fits none stays without a cell, is
listed, and finds its cell again should that come back.
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
from hpastore.errors import InputError, UsageError
from hpastore.reading.files import read_bytes
from hpastore.reading.labels import label_id
from hpastore.reading.table import MAX_TABLE_BYTES, Table, decode_text, open_table
from hpastore.store import overrides
from hpastore.store.engine import Store
from hpastore.text import printable
from hpastore.vocabulary import MAX_MASK_ID, NAME_PATTERN, find_label

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

COLUMNS: Final = ("cell", "label_id", "keep", "score", "author", "comment")
"""Header of the CSV."""

_MORE: Final = ("created_at", "attached")
"""Columns of a list of overrides that are not asked for."""

_ROW_NUMBERS: Final = ("", "Unnamed: 0")
"""What pandas calls the column of its index, which is the first."""

_NEEDED: Final = ("cell", "keep")

_SCORE_LINE: Final = re.compile(r"(?P<name>\S+)_(?P<id>\d+)\s+(?P<score>\S+)")
_TRUTH: Final = {"keep": True, "drop": False, "true": True, "false": False, "1": True, "0": False}


@dataclass(frozen=True)
class Override:
    """What somebody decides about one cell.

    Parameters
    ----------
    cell : str
        ``NAME:ID``.
    keep : bool
        Whether the cell is clean, whatever the rules say.
    label : int or str, optional
        Only for this label, given by id or name; for every label if None.  A decision for one label
        precedes a decision for every label.
    score : float, optional
        How sure its author is, or how good the cell looks, 0..1.
    author, comment : str, optional
        Nobody unless given; the command line gives the user's name.
    """

    cell: str
    keep: bool
    label: int | str | None = None
    score: float | None = None
    author: str | None = None
    comment: str | None = None

    def checked(self) -> overrides.Decision:
        """Return it as the store takes it.

        Raises
        ------
        UsageError
            If the cell's name, the label or the score is none.
        """
        label = None if self.label is None else find_label(self.label)
        if self.score is not None and not 0 <= self.score <= 1:
            raise UsageError(f"a score goes from 0 to 1, not {self.score:g}")
        name, mask_id = parse_cell(self.cell)
        author, comment = _text(self.author, "author"), _text(self.comment, "comment")
        return overrides.Decision(name, mask_id, label, self.keep, self.score, author, comment)


def parse_cell(cell: str) -> tuple[str, int]:
    """Take a cell's name apart.

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
        raise UsageError(f"{printable(cell)!r} is no cell; cells are named NAME:ID")
    return name, number


def override_cells(store: Store, decided: Iterable[Override], *, skip_unknown: bool = False) -> int:
    """Record what was decided about cells, each in place of what was decided before for its label.

    Clean sets that are there stay as they are; `refresh_clean_set` makes a version with the overrides.

    Parameters
    ----------
    store : Store
    decided : iterable of Override
        Written together, or none of them.
    skip_unknown : bool
        Whether those about cells that the store has not are left out; a warning counts them.

    Returns
    -------
    int
        Number of overrides written; of two for one cell and label the last counts.

    Raises
    ------
    UsageError
        If one makes no sense.
    NotFoundError
        If the store has not all of these cells.
    """
    decisions = [one.checked() for one in decided]
    now = datetime.now(UTC)
    return store.write(lambda connection: overrides.write_overrides(connection, decisions, now, skip_unknown))


def undo_overrides(
    store: Store,
    cells: Sequence[str],
    *,
    label: int | str | None = None,
    every: bool = True,
    lost: bool = False,
) -> int:
    """Forget what was decided about cells.

    Parameters
    ----------
    store : Store
    cells : sequence of str
        ``NAME:ID``.  What was decided about a cell that was called so and is lost is forgotten if nothing
        was about one that is there.
    label : int or str, optional
        With `every` false, only what was decided for this label, or for every label if None.
    every : bool
    lost : bool
        Only what was decided about cells that are lost.

    Returns
    -------
    int
        Number of overrides deleted.
    """
    named = [parse_cell(cell) for cell in cells]
    label_id = None if label is None else find_label(label)
    return store.write(lambda c: overrides.delete_overrides(c, named, label_id, every=every, detached=lost))


def list_overrides(store: Store, *, lost: bool = False) -> pd.DataFrame:
    """List what was decided: ``cell, label_id, keep, score, author, comment, created_at, attached``.

    Parameters
    ----------
    store : Store
    lost : bool
        Only those whose cell the store has no more.
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
        if not (lost and row["attached"])
    ]
    frame = pd.DataFrame(found, columns=[*COLUMNS, "created_at", "attached"])
    return frame.astype({"label_id": "Int64", "score": "float64"})


def read_overrides(path: Path | str, *, first_id: int = 1, keep_from: float = 0.5) -> list[Override]:
    """Read overrides from a table, or from the lines ``IMAGE_CELL SCORE`` that people have.

    Parameters
    ----------
    path : Path
        A table, see `hpastore.reading.table`, has the header `COLUMNS`, of which ``cell`` and ``keep`` must
        be there; keep is one of keep, drop, true, false, 1, 0.
    first_id : int
        What the first cell of an image is called in lines: with 0, ``a_0`` is the cell ``a:1``.
    keep_from : float
        Score of a line from which on its cell is kept.

    Raises
    ------
    InputError
        If the file cannot be read, with the line that is wrong and what it may be.
    """
    path = expanded(path)
    text = decode_text(read_bytes(path, MAX_TABLE_BYTES), path)
    table = open_table(text, path, _NEEDED)
    if "cell" in map(str.lower, table.header):
        return list(_from_table(path, table))
    first = text.partition("\n")[0].lower()
    is_line = first.lstrip().startswith("#") or _SCORE_LINE.fullmatch(first.strip())
    if not is_line and "cell" in re.split(r"\W+", first):
        shown = printable(text.partition("\n")[0].strip())
        raise InputError(path, f"line 1: is {shown!r}; its columns must be {','.join(COLUMNS)}")
    return [
        _from_line(path, n, line, first_id, keep_from)
        for n, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]


def _from_table(path: Path, table: Table) -> Iterator[Override]:
    header = table.header[1:] if table.header[0] in _ROW_NUMBERS else table.header
    unknown = [name for name in header if name not in (*COLUMNS, *_MORE)]
    missing = [name for name in _NEEDED if name not in header]
    twice = [name for name in header if header.count(name) > 1]
    for names, what in ((unknown, "no column may be"), (missing, "it lacks"), (twice, "there are two of")):
        if names:
            fault = f"{what} {printable(names[0])!r}; its header may have {', '.join(COLUMNS)}"
            raise InputError(path, fault)
    lost = 0
    for line, row in table.rows:
        given = dict(zip(table.header, row, strict=True))
        for name in given.keys() - {"author", "comment"}:
            given[name] = given[name].strip()
        if table.separator == ";":  # where Excel separates by semicolons, its decimals have a comma
            given["score"] = given.get("score", "").replace(",", ".")
        keep = _TRUTH.get(given["keep"].lower())
        if keep is None:
            fault = f"keep is one of {', '.join(_TRUTH)}, not {printable(given['keep'])!r}"
            raise InputError(path, f"line {line}: {fault}")
        if given.get("attached", "").lower() == "false":
            lost += 1  # of a cell of an older mask: what is called so now is another
            continue
        try:
            override = _from_row(given, keep)
        except (ValueError, UsageError) as error:
            raise InputError(path, f"line {line}: {error}") from error
        yield override
    if lost:
        logger.warning("%s: %d decisions about cells that were lost are left out", path, lost)


def _from_row(given: Mapping[str, str], keep: bool) -> Override:
    """Make an override of a row's fields by column."""
    label, score = given.get("label_id"), given.get("score")
    override = Override(
        given["cell"],
        keep,
        _label(label) if label else None,
        float(score) if score else None,
        given.get("author") or None,
        given.get("comment") or None,
    )
    override.checked()
    return override


def _label(text: str) -> int:
    """Find a label by its name or its id, which a table may write as ``16.0``."""
    number = label_id(text)
    return find_label(text) if number is None else number


def _text(text: str | None, what: str) -> str | None:
    """Bring a text to what both databases and a CSV hold: UTF-8 without NUL, lines that end in LF."""
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise UsageError(f"the {what} is not UTF-8") from None
    if "\0" in (text or ""):
        raise UsageError(f"the {what} has a NUL in it")
    return text and text.replace("\r\n", "\n").replace("\r", "\n")


def _from_line(path: Path, n: int, line: str, first_id: int, keep_from: float) -> Override:
    found = _SCORE_LINE.fullmatch(line.strip())
    where = f"line {n}, {printable(line.strip())!r}"
    if found is None:
        raise InputError(path, f"{where}: it is not of the form IMAGE_CELL SCORE")
    try:
        score = float(found["score"])
        cell = f"{found['name']}:{int(found['id']) + 1 - first_id}"
        override = Override(cell, score >= keep_from, score=score)
        override.checked()
    except (ValueError, UsageError) as error:
        raise InputError(path, f"{where}: {error}") from error
    return override
