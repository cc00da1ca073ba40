"""Overrides: what people decide about cells, which beats the rules.

An override is kept with the cell's mask.  When the mask of an image is replaced, it goes to the cell that
covers the same pixels (intersection over union 0.7 or more); one that fits none stays without a cell, is
listed, and finds its cell again should that come back.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hpastore.errors import InputError, UsageError
from hpastore.model import MAX_MASK_ID, NAME_PATTERN, printable, require_label
from hpastore.store import overrides
from hpastore.store.engine import Store

if TYPE_CHECKING:
    import pandas as pd

COLUMNS: Final = ("cell", "label_id", "keep", "score", "author", "comment")
"""Header of the CSV."""

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
    label : int, optional
        Only for this label; for every label if None.  What is said for one label counts before what is
        said for every label.
    score : float, optional
        How sure its author is, or how good the cell looks, 0..1.
    author, comment : str, optional
    """

    cell: str
    keep: bool
    label: int | None = None
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
        if self.label is not None:
            require_label(self.label)
        if self.score is not None and not 0 <= self.score <= 1:
            raise UsageError(f"a score goes from 0 to 1, not {self.score:g}")
        name, mask_id = parse_cell(self.cell)
        return overrides.Decision(name, mask_id, self.label, self.keep, self.score, self.author, self.comment)


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


def override_cells(store: Store, decided: Iterable[Override]) -> int:
    """Record what was decided about cells, each in place of what was decided before for its label.

    Clean sets that are there stay as they are; `refresh_clean_set` makes a version with the overrides.

    Parameters
    ----------
    store : Store
    decided : iterable of Override
        Written together, or none of them.

    Returns
    -------
    int
        Number of overrides written; of two for one cell and label the last counts.

    Raises
    ------
    UsageError
        If one makes no sense.
    NotFoundError
        If the store has no such cell.
    """
    decisions = [one.checked() for one in decided]
    now = datetime.now(UTC)
    return store.write(lambda connection: overrides.write_overrides(connection, decisions, now))


def undo_overrides(
    store: Store, cells: Sequence[str], *, label: int | None = None, every: bool = True
) -> int:
    """Forget what was decided about cells, those too that are gone.

    Parameters
    ----------
    store : Store
    cells : sequence of str
        ``NAME:ID``.
    label : int, optional
        With `every` false, only what was decided for this label, or for every label if None.
    every : bool

    Returns
    -------
    int
        Number of overrides deleted.
    """
    named = [parse_cell(cell) for cell in cells]
    return store.write(lambda connection: overrides.delete_overrides(connection, named, label, every=every))


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


def read_overrides(path: Path, *, first_id: int = 1, keep_from: float = 0.5) -> list[Override]:
    """Read overrides from a CSV, or from the lines ``IMAGE_CELL SCORE`` that people have.

    Parameters
    ----------
    path : Path
        A CSV has the header `COLUMNS`, of which ``cell`` and ``keep`` must be there; keep is one of
        keep, drop, true, false, 1, 0.
    first_id : int
        What the first cell of an image is called in lines: with 0, ``a_0`` is the cell ``a:1``.
    keep_from : float
        Score of a line from which on its cell is kept.

    Raises
    ------
    InputError
        If the file cannot be read, with the line that is wrong and what it may be.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise InputError(path, f"cannot be read: {reason}") from error
    header = next(csv.reader(io.StringIO(text, newline="")), [])
    if "cell" in header:
        return list(_from_csv(path, text))
    return [
        _from_line(path, n, line, first_id, keep_from)
        for n, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]


def export_overrides(store: Store, path: Path, *, force: bool = False) -> int:
    """Write all overrides as a CSV that `read_overrides` reads.

    Returns
    -------
    int
        Number of overrides.

    Raises
    ------
    InputError
        If there is such a file, and `force` is false, or it cannot be written.
    """
    frame = list_overrides(store)
    frame["keep"] = frame["keep"].map({True: "keep", False: "drop"})
    try:
        with path.open("w" if force else "x", encoding="utf-8", newline="") as file:
            frame[list(COLUMNS)].to_csv(file, index=False, lineterminator="\n")
    except FileExistsError as error:
        raise InputError(path, "is there already; --force replaces it") from error
    except OSError as error:
        raise InputError(path, f"cannot be written: {error.strerror}") from error
    return len(frame)


def _from_csv(path: Path, text: str) -> Iterable[Override]:
    rows = csv.DictReader(io.StringIO(text, newline=""))
    unknown = [name for name in rows.fieldnames or () if name not in (*COLUMNS, "created_at", "attached")]
    if unknown or "keep" not in (rows.fieldnames or ()):
        what = f"has no column {unknown[0]!r}" if unknown else "needs the column keep"
        raise InputError(path, f"{what}; its header may have {', '.join(COLUMNS)}")
    for row in rows:
        line = rows.line_num
        label, score = row.get("label_id") or None, row.get("score") or None
        keep = _TRUTH.get((row["keep"] or "").strip().lower())
        if keep is None:
            raise InputError(path, f"line {line}: keep is one of {', '.join(_TRUTH)}, not {row['keep']!r}")
        try:
            override = Override(
                (row["cell"] or "").strip(),
                keep,
                None if label is None else int(label),
                None if score is None else float(score),
                row.get("author") or None,
                row.get("comment") or None,
            )
            override.checked()
        except (ValueError, UsageError) as error:
            raise InputError(path, f"line {line}: {error}") from error
        yield override


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
