"""Verdicts as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Iterable
from pathlib import Path
from typing import Any, BinaryIO, Final, TextIO

from sqlalchemy import Connection

from hpastore.arguments import expanded, require_choice
from hpastore.errors import UsageError
from hpastore.export.manifest import Counts, Written
from hpastore.export.pipeline import export_file
from hpastore.export.selection import ExportOptions, ResolvedOptions
from hpastore.store.clean_sets.live_verdicts import stream_verdicts
from hpastore.store.decoding import image_name as check_image_name
from hpastore.store.engine import Store
from hpastore.vocabulary import CsvLayout

_VERDICT: Final = (
    *("clean_set", "version", "image_name", "mask_id", "label_id", "label"),
    *("measure", "channel", "value", "lower", "upper"),
    *("clean", "reason"),
)
_BOX: Final = ("x", "y", "width", "height")

_COLUMNS: Final[dict[str, tuple[str, ...]]] = {
    "clean_cell": (*_VERDICT, *_BOX),
    "clean_cell_live": (*_VERDICT, "rank", "live", *_BOX),
    "notebook": ("cell_ID", "bbox", "fraction", "Label", "clean"),
}


def export_csv(
    store: Store,
    out: Path | str,
    options: ExportOptions | None = None,
    *,
    layout: CsvLayout = "clean_cell",
    force: bool = False,
) -> Written:
    """Write the verdicts of a clean set, clean or not, one row per cell and label.

    Parameters
    ----------
    store : Store
    out : Path
    options : ExportOptions, optional
        Name a clean set; without one, all cells are written with their green fraction and no
        verdict.
    layout : str
        ``clean_cell``: the columns of that view without the store's internal keys, and the box.
        ``clean_cell_live``: also the cell's rank among its label's and the verdict by the current
        thresholds, which must be computed for all cells.
        ``notebook``: ``cell_ID, bbox, fraction, Label, clean``, where `fraction` is what the
        notebook computes (``fraction_notebook``) and `bbox` is x1, y1, x2, y2.
    force : bool
        Whether an existing file is replaced.

    Returns
    -------
    Written

    Raises
    ------
    ExportError
        If there is nothing to export, or the file exists or cannot be written.
    UsageError, NotFoundError
        If an argument is invalid, or there is no such clean set.
    """
    require_choice(layout, CsvLayout, "layout")
    options = options or ExportOptions()
    if options.multilabel == "multihot":
        raise UsageError("a CSV has a row for each cell and label; use expand or skip")

    def write(file: BinaryIO, rows: Iterable[Any], _: ResolvedOptions) -> Counts:
        with io.TextIOWrapper(file, encoding="utf-8", newline="") as text:
            return _write(text, rows, layout)

    def rows(connection: Connection, resolved: ResolvedOptions) -> Generator[Any]:
        live = layout == "clean_cell_live"
        return stream_verdicts(connection, resolved.selection, resolved.classes, live=live)

    return export_file(
        store, expanded(out), "csv", options, {"layout": layout}, write, rows=rows, force=force
    )


def _write(file: TextIO, rows: Iterable[Any], layout: CsvLayout) -> Counts:
    """Write rows in their order; floats in their shortest form that reads back the same."""
    writer = csv.writer(file, lineterminator="\n")
    names = _COLUMNS[layout]
    writer.writerow(names)
    images = cells = annotations = 0
    last: tuple[str | None, int] = (None, 0)
    for row in rows:
        cell = (row.image_name, row.mask_id)
        if row.image_name != last[0]:
            check_image_name(row.image_name)
            images += 1
        if cell != last:
            cells += 1
        annotations += 1
        last = cell
        if layout == "notebook":
            writer.writerow(_notebook_columns(row))
        else:
            writer.writerow([getattr(row, name) for name in names])
    return Counts(images, cells, annotations)


def _notebook_columns(row: Any) -> list[Any]:
    box = [row.x, row.y, row.x + row.width, row.y + row.height]
    return [f"{row.image_name}:{row.mask_id}", box, row.fraction_notebook, row.label_id, row.clean]
