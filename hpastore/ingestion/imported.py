"""Import values that another program computed for cells, as a measure like any other."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from hpastore.arguments import expanded
from hpastore.errors import InputError, UsageError
from hpastore.kernels.custom import ImportedMeasure
from hpastore.kernels.plugins import load_measures
from hpastore.reading.scores import Fault, Score, Scores, read_scores
from hpastore.store import imported_measures
from hpastore.store.classes import store_classes
from hpastore.store.engine import Store
from hpastore.text import printable

_MAX_NAMED: Final = 3
"""Faults that a message names."""

_Found = tuple[imported_measures.CellKey, Score]
"""A cell, and a row that names it."""


def import_measure(
    store: Store,
    path: Path | str,
    name: str,
    version: int,
    *,
    unit: str = "",
    label: int | str | None = None,
    force: bool = False,
) -> int:
    """Import values of cells from a file, as a measure that rules, figures and queries know.

    Parameters
    ----------
    store : Store
    path : Path
        CSV or Parquet with the columns ``image, mask_id, value`` or ``cell, value``, where a cell
        is ``NAME:ID``; a further column ``channel`` says which channel a value is of, and a column
        ``label`` which label.  An empty value is stored as NULL.
    name : str
        Of the measure: 1 to 63 small letters, digits and ``_``, a letter first.
    version : int
        1 or more.  Values of another version are replaced.  Under the same version values are
        added to cells that have none; other values for a cell that has one are refused.
    unit : str
        Such as ``px``.
    label : int or str, optional
        Take the rows of this label, an id or a name.  Without it, a file with labels gives each of
        its cells the value in the row of the cell's own label.
    force : bool
        Whether all values of the same version are replaced.

    Returns
    -------
    int
        Number of values that were taken from the file.

    Raises
    ------
    InputError
        If the file cannot be read, a line is invalid, or names a cell that the store does not have
        or that another line names, or a cell has no row of its own label, or several.  Nothing is
        written then.
    UsageError
        If the name is taken by another measure, cells have other values of this version, or there
        is no such label.

    Examples
    --------
    >>> import_measure(store, "scores.csv", "prob", 1)  # doctest: +SKIP
    500000
    """
    path = expanded(path)
    measure = ImportedMeasure(name, version, unit)
    if any(installed.name == name for installed in load_measures()):
        raise UsageError(f"measure {name!r}: a package defines it; choose another name")
    classes = store_classes(store)
    chosen = None if label is None else classes.find(label)
    scores = read_scores(path, classes, chosen)

    def write(connection: Connection) -> int:
        found, faults = _find(connection, scores)
        if scores.has_labels and chosen is None:
            found, of_labels = _of_own_labels(connection, found)
            faults += of_labels
        if faults:
            raise InputError(path, _faults_text(sorted(faults), scores.unit))
        values = {(cell, score.channel): score.value for cell, score in found}
        imported_measures.write_values(connection, measure, values, force=force)
        return len(values)

    return store.write(write)


def _find(connection: Connection, scores: Scores) -> tuple[list[_Found], list[Fault]]:
    """Find the cells that a file names; list all faults."""
    cells = imported_measures.find_cells(connection, {score.image for score in scores.scores})
    faults = list(scores.faults)
    found: list[_Found] = []
    for score in scores.scores:
        of_image = cells.get(score.image)
        cell = None if of_image is None else of_image.get(score.mask_id)
        if cell is not None:
            found.append((cell, score))
        elif of_image is None:
            faults.append(Fault(score.line, f"the store has no image {printable(score.image)!r}"))
        else:
            text = f"{printable(score.image)}:{score.mask_id}"
            faults.append(Fault(score.line, f"the store has no cell {text}"))
    return found, faults


def _of_own_labels(
    connection: Connection, found: Sequence[_Found]
) -> tuple[list[_Found], list[Fault]]:
    """Choose for each cell and channel the row of the cell's own label."""
    labels = imported_measures.read_labels(connection)
    rows: dict[imported_measures.ValueKey, list[Score]] = defaultdict(list)
    for cell, score in found:
        rows[cell, score.channel].append(score)

    own: list[_Found] = []
    faults: list[Fault] = []
    for (cell, _), of_cell in rows.items():
        theirs = labels[cell.cell_id].split("|")  # one empty text where there are none
        chosen = [score for score in of_cell if str(score.label) in theirs]
        if len(chosen) == 1:
            own.append((cell, chosen[0]))
            continue
        first = of_cell[0]
        name = f"{printable(first.image)}:{first.mask_id}"
        what = "has rows of several of its labels" if chosen else "has no row of its own label"
        listed = ", ".join(theirs) or "it has none"
        text = f"{name} {what} ({listed}); choose the rows of one label with --label"
        faults.append(Fault(first.line, text))
    return own, faults


def _faults_text(faults: Sequence[Fault], unit: str) -> str:
    """Name the first faults, and count the others."""
    named = "; ".join(f"{unit} {fault.line}: {fault.what}" for fault in faults[:_MAX_NAMED])
    more = len(faults) - _MAX_NAMED
    others = f"; and {more:,} more such {unit}{'s' * (more > 1)}" if more > 0 else ""
    return f"{named}{others}; nothing was written"
