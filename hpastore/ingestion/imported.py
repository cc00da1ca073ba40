"""Import values that another program computed for cells, as a measure like any other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from sqlalchemy import Connection

from hpastore.arguments import expanded
from hpastore.errors import InputError, UsageError
from hpastore.kernels.custom import ImportedMeasure
from hpastore.kernels.plugins import load_measures
from hpastore.reading.scores import Fault, Scores, read_scores
from hpastore.store import imported_measures
from hpastore.store.engine import Store
from hpastore.text import printable

_MAX_NAMED: Final = 3
"""Faults that a message names."""


def import_measure(
    store: Store,
    path: Path | str,
    name: str,
    version: int,
    *,
    unit: str = "",
    force: bool = False,
) -> int:
    """Import values of cells from a file, as a measure that rules, figures and queries know.

    Parameters
    ----------
    store : Store
    path : Path
        CSV or Parquet with the columns ``image, mask_id, value`` or ``cell, value``, where a cell
        is ``NAME:ID``; a further column ``channel`` says which channel a value is of.  An empty
        value is stored as NULL.
    name : str
        Of the measure: 1 to 63 small letters, digits and ``_``, a letter first.
    version : int
        1 or more.  Values of another version are replaced.  Under the same version values are
        added to cells that have none; other values for a cell that has one are refused.
    unit : str
        Such as ``px``.
    force : bool
        Whether all values of the same version are replaced.

    Returns
    -------
    int
        Number of values in the file.

    Raises
    ------
    InputError
        If the file cannot be read, a line is invalid, or names a cell that the store does not have
        or that another line names.  Nothing is written then.
    UsageError
        If the name is taken by another measure, or cells have other values of this version.

    Examples
    --------
    >>> import_measure(store, "scores.csv", "prob", 1)  # doctest: +SKIP
    500000
    """
    path = expanded(path)
    measure = ImportedMeasure(name, version, unit)
    if any(installed.name == name for installed in load_measures()):
        raise UsageError(f"measure {name!r}: a package defines it; choose another name")
    scores = read_scores(path)

    def write(connection: Connection) -> None:
        values = _values(connection, path, scores)
        imported_measures.write_values(connection, measure, values, force=force)

    store.write(write)
    return len(scores.scores)


def _values(connection: Connection, path: Path, scores: Scores) -> imported_measures.Values:
    """Find the cells that a file names."""
    cells = imported_measures.find_cells(connection, {score.image for score in scores.scores})
    faults = list(scores.faults)
    values: imported_measures.Values = {}
    for score in scores.scores:
        of_image = cells.get(score.image)
        cell = None if of_image is None else of_image.get(score.mask_id)
        if cell is not None:
            values[cell, score.channel] = score.value
        elif of_image is None:
            faults.append(Fault(score.line, f"the store has no image {printable(score.image)!r}"))
        else:
            text = f"{printable(score.image)}:{score.mask_id}"
            faults.append(Fault(score.line, f"the store has no cell {text}"))
    if faults:
        raise InputError(path, _faults_text(sorted(faults), scores.unit))
    return values


def _faults_text(faults: Sequence[Fault], unit: str) -> str:
    """Name the first faults, and count the others."""
    named = "; ".join(f"{unit} {fault.line}: {fault.what}" for fault in faults[:_MAX_NAMED])
    more = len(faults) - _MAX_NAMED
    others = f"; and {more:,} more such {unit}{'s' * (more > 1)}" if more > 0 else ""
    return f"{named}{others}; nothing was written"
